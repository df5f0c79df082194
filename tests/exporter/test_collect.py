"""What a scrape holds, and that it always parses."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.showing.collect import Collector
from exporter.showing.exposition import Family, exposition
from tests.exporter.making import PARTITIONS, Desk, event, model, profile, record

GOOD = {"amount": 0.5, "country": "DE"}
HOSTILE = st.text(st.characters(exclude_categories=()), max_size=20)
NAMES = st.text(max_size=20).filter("prediction".__ne__)


class Log:
    """What stands in Kafka and is not read yet, with nothing in the way."""

    obstacle = None

    def __init__(self, lag):
        self._lag = lag

    def lag(self):
        """As given."""
        return self._lag

    def certain(self):
        """Nobody else can own what we own."""
        return True


class Clock:
    """A time that stands still until it is told."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        """The time."""
        return self.now


def scrape(desk, lag=None, now=1_790_000_000.0):
    """The samples of one scrape by name and labels."""
    text = Collector(desk.intake, Log(lag or {}), Clock(0.0), Clock(now)).metrics().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples, name, **labels):
    """The values of a metric whose labels include these."""
    return [value for key, value in samples.items() if key[0] == name and labels.items() <= dict(key[1:]).items()]


def test_gauges_of_a_model_end_when_another_process_owns_it():
    """One owner for each series; counters stay, since they tell what this process has done."""
    desk = Desk()
    desk.take(record(event(GOOD)))
    assert of(scrape(desk), "drift_last_event_timestamp_seconds")
    for partition in range(PARTITIONS):
        desk.intake.disown(partition)
    samples = scrape(desk)
    assert not of(samples, "drift_last_event_timestamp_seconds")
    assert not of(samples, "drift_window_instances")
    assert of(samples, "drift_events_total", role="production") == [1.0]


def test_counters_of_configured_models_stand_at_zero_from_the_start():
    """A rate over a counter that appears with its first event would miss it."""
    samples = scrape(Desk())
    for role in ("production", "shadow"):
        assert of(samples, "drift_events_total", model="fraud", role=role) == [0.0]
        assert of(samples, "drift_events_duplicate_total", model="fraud", role=role) == [0.0]
    assert of(samples, "drift_events_rejected_total", reason="json") == [0.0]
    assert of(samples, "drift_events_foreign_total", topic="inference.shadow") == [0.0]
    assert of(samples, "drift_series_dropped_total", model="fraud", reason="not_in_reference") == [0.0]


def test_an_empty_window_has_no_drift():
    """No series rather than a zero that would look like health."""
    samples = scrape(Desk())
    assert of(samples, "drift_psi") == of(samples, "drift_js_divergence") == []
    assert of(samples, "drift_features", against="reference") == [0.0]
    assert of(samples, "drift_window_instances", tenant="_all") == [0.0, 0.0]
    assert of(samples, "drift_window_age_seconds") == []
    assert of(samples, "drift_window_warming", role="production") == [1.0]


def test_a_full_window_shows_its_drift_and_its_age():
    """Every column against both."""
    desk = Desk(model(size=20))
    desk.take(
        *(record(event(GOOD, role=role, time=1_789_999_990.0)) for _ in range(20) for role in ("production", "shadow"))
    )
    samples = scrape(desk)
    for against in ("reference", "shadow"):
        for feature in ("amount", "country", "prediction"):
            labels = {"model": "fraud", "tenant": "_all", "feature": feature, "against": against}
            assert len(of(samples, "drift_psi", **labels)) == len(of(samples, "drift_js_divergence", **labels)) == 1
        assert of(samples, "drift_features", against=against) == [3.0]
    assert of(samples, "drift_psi", against="shadow") == [0.0, 0.0, 0.0]
    assert of(samples, "drift_window_warming", role="production") == [0.0]
    assert of(samples, "drift_window_age_seconds", role="production") == [10.0]
    assert of(samples, "drift_last_event_timestamp_seconds", role="shadow") == [1_789_999_990.0]


def test_each_drift_value_stands_beside_what_it_takes_to_judge_it():
    """A critical value, a p-value, and for each level whether it is reached, of every column that is compared."""
    desk = Desk(model(size=200, tenants=["acme"]))
    for number in range(150):
        score = number / 150
        desk.take(record(event({"amount": 3.0, "country": "DE"}, tenant="acme", prediction=score)))
    samples = scrape(desk)
    labels = {"tenant": "acme", "against": "reference"}
    for feature, reached in (("amount", 1.0), ("prediction", 0.0)):
        mine = labels | {"feature": feature}
        assert of(samples, "drift_psi_critical", **mine)[0] > 0
        assert (of(samples, "drift_psi_pvalue", **mine)[0] < 1e-6) == bool(reached)
        levels = [
            of(samples, "drift_feature_drifted", **mine, level=level) for level in ("moderate", "large", "severe")
        ]
        assert levels == [[reached]] * 3
    assert of(samples, "drift_features_drifted", **labels, level="severe") == [2.0]
    assert of(samples, "drift_tenants_drifted", model="fraud") == [1.0]
    assert of(samples, "drift_design_effect", **labels) == [1.0]
    assert of(samples, "drift_early_warning_ratio", feature="amount")[0] > 1


def test_the_bins_that_moved_most_are_few_and_their_shares_are_those_of_the_windows():
    """Five columns of a tenant, three bins of each, in both windows and in the reference."""
    names = [f"number-{place}" for place in range(20)]
    reference = profile(1_000, names=("amount", "country"))
    columns = dict.fromkeys(names, reference.features["amount"])
    desk = Desk(model(size=50), profiles=[msgspec.structs.replace(reference, features=columns, prediction=None)])
    for number in range(20):
        moved = {name: 50.0 if place < 3 else (number - 10) / 8 for place, name in enumerate(names)}
        for role in ("production", "shadow"):
            desk.take(record(event(moved, role=role, id=f"bins-{number}")))
    samples = scrape(desk)
    shown = {key for key in samples if key[0] == "drift_bin_ratio"}
    assert len(shown) == 5 * 3 * 3
    features = {dict(key[1:])["feature"] for key in shown}
    assert {"number-0", "number-1", "number-2"} <= features
    for role in ("production", "shadow"):
        assert 1.0 in of(samples, "drift_bin_ratio", feature="number-0", role=role)
    above = [key for key in shown if dict(key[1:])["bin"].endswith("+inf)") and ("role", "reference") in key]
    assert [samples[key] for key in above if ("feature", "number-0") in key] == [0.05]


def test_predictions_are_counted_by_class_and_numbers_in_a_histogram():
    """For each version and role; buckets add up, as Prometheus wants them."""
    desk = Desk()
    for value in (0.1, 0.5, 0.9, 7.0):
        desk.take(record(event(GOOD, prediction=value)))
    desk.take(record(event(GOOD, prediction="yes", role="shadow", version="v1")))
    samples = scrape(desk)
    mine = {"model": "fraud", "version": "v2", "role": "production"}
    assert of(samples, "drift_prediction_value_count", **mine) == [4.0]
    assert of(samples, "drift_prediction_value_sum", **mine) == [8.5]
    assert of(samples, "drift_prediction_value_bucket", **mine, le="+Inf") == [4.0]
    buckets = of(samples, "drift_prediction_value_bucket", **mine)
    assert buckets == sorted(buckets)
    assert of(samples, "drift_predictions_total", version="v1", role="shadow") == [1.0]


def test_a_model_without_a_shadow_is_compared_with_its_reference_alone():
    """And shows no windows of one."""
    desk = Desk(model(shadow=None))
    desk.take(record(event(GOOD)))
    samples = scrape(desk)
    assert of(samples, "drift_psi", against="shadow") == of(samples, "drift_window_instances", role="shadow") == []


def test_a_model_without_a_reference_has_no_drift_series():
    """Until its own traffic has become one; it is counted, and its windows fill."""
    desk = Desk(profiles=[None])
    desk.take(record(event(GOOD)))
    samples = scrape(desk)
    assert of(samples, "drift_psi") == of(samples, "drift_features") == []
    assert of(samples, "drift_reference_info", source="warmup", state="collecting", hash="") == [1.0]
    assert of(samples, "drift_window_instances", role="production") == [1.0]


def test_thresholds_stand_for_every_tenant_with_its_own_over_the_models():
    """One place for alerts, the page and the rollback."""
    desk = Desk(model(tenants=["acme", "initech"], thresholds={"acme": {"large": 0.3}}))
    samples = scrape(desk)
    levels = {
        (tenant, level): of(samples, "drift_psi_threshold", model="fraud", tenant=tenant, level=level)
        for tenant in ("_all", "acme", "initech")
        for level in ("moderate", "large", "severe")
    }
    assert levels["acme", "large"] == [0.3]
    assert levels["_all", "large"] == levels["initech", "large"] == [0.2]
    assert levels["acme", "severe"] == [0.35]
    assert levels["acme", "moderate"] == [0.1]


@pytest.mark.parametrize(
    ("own", "all_three"),
    [
        ({"severe": 0.15}, (0.1, 0.15, 0.15)),
        ({"large": 0.05}, (0.05, 0.05, 0.35)),
        ({"moderate": 0.5}, (0.5, 0.5, 0.5)),
        ({"moderate": 0.3, "severe": 0.32}, (0.3, 0.3, 0.32)),
    ],
)
def test_a_tenants_own_threshold_moves_those_that_it_passes(own, all_three):
    """Levels rise, so that each includes those above it: a severe drift of a strict tenant is one."""
    samples = scrape(Desk(model(tenants=["acme"], thresholds={"acme": own})))
    found = [
        of(samples, "drift_psi_threshold", model="fraud", tenant="acme", level=level)
        for level in ("moderate", "large", "severe")
    ]
    assert found == [[at] for at in all_three]


def test_the_reference_is_named_by_its_hash():
    """So that a changed one can be seen."""
    reference = profile()
    samples = scrape(Desk(profiles=[reference]))
    assert of(samples, "drift_reference_info", hash=reference.hash, source="profile", state="ready") == [1.0]


def test_lag_stands_by_topic_and_partition():
    """As the consumer tells it."""
    samples = scrape(Desk(), lag={("inference.production", 2): 17})
    assert of(samples, "drift_consumer_lag_events", topic="inference.production", partition="2") == [17.0]


def test_a_scrape_is_at_most_a_second_old_and_not_made_anew_within_it():
    """Twenty scrapes a second cost one."""
    desk, clock = Desk(), Clock(100.0)
    collector = Collector(desk.intake, Log({}), clock, Clock(0.0))
    before = collector.metrics()
    desk.take(record(event(GOOD)))
    clock.now += 0.9
    assert collector.metrics() is before
    clock.now += 0.2
    assert collector.metrics() != before


def test_nothing_is_shown_of_a_model_whose_partition_has_gone():
    """Each series has one owner."""
    desk = Desk()
    desk.take(record(event(GOOD)))
    for partition in range(4):
        desk.intake.disown(partition)
    samples = scrape(desk)
    assert of(samples, "drift_psi") == of(samples, "drift_window_instances") == []
    assert of(samples, "drift_events_total", role="production") == [1.0]


@settings(deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_every_scrape_parses_whatever_the_features_are_called(names):
    """Quotes, backslashes, newlines, separators of every alphabet; a lone surrogate is in no file."""
    desk = Desk(profiles=[profile(100, names=names)])
    desk.take(record(event({})))
    collector = Collector(desk.intake, Log({}), Clock(0.0), Clock(0.0))
    families = {family.name: family for family in text_string_to_metric_families(collector.metrics().decode())}
    found = {sample.labels["feature"] for sample in families["drift_feature_missing_ratio"].samples}
    assert found >= set(names)


@given(HOSTILE, HOSTILE, st.floats())
def test_any_label_and_any_help_comes_back_as_it_was(label, text, value):
    """Our formatter against Prometheus' own parser."""
    made = exposition([Family("drift_x", "gauge", text, [((("a", label), ("b", "c")), value)])]).decode()
    (family,) = text_string_to_metric_families(made)
    (sample,) = family.samples
    assert sample.labels == {"a": label.encode("utf-8", "replace").decode(), "b": "c"}
    assert sample.value == pytest.approx(value, nan_ok=True)
