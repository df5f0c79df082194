"""What becomes of each message, and that every one is accounted for."""

from itertools import chain, repeat

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import encode
from events.headers import header
from events.partitions import partition_of
from exporter.showing.comparisons import Comparer
from exporter.showing.quality import ratios
from exporter.statistics.divergence import js_divergence, psi
from exporter.windows.leading import IN_A_ROW
from exporter.windows.models import ModelState
from tests.exporter.making import PARTITIONS, Desk, Record, event, model, profile, record

GOOD = {"amount": 0.5, "country": "DE"}


def counters(desk):
    """The intake's counters, having checked the law."""
    assert desk.intake.counters.conserved()
    return desk.intake.counters


def plain(made):
    """An event as a dictionary to damage."""
    return msgspec.json.decode(encode(made))


def test_an_event_enters_the_window_of_its_role():
    """One instance, one row."""
    desk = Desk()
    desk.take(record(event(GOOD)), record(event(GOOD, GOOD, role="shadow")))
    assert desk.window().filled == 1
    assert desk.window(role="shadow").filled == 2
    assert counters(desk).events == {("fraud", "production"): 1, ("fraud", "shadow"): 1}


@pytest.mark.parametrize("outcome", ["error", "timeout", "client_closed", "truncated", "fallback"])
def test_an_answer_that_is_not_ok_is_counted_and_enters_no_window(outcome):
    """Only `ok` does, and of `log_only` the features."""
    desk = Desk()
    desk.take(record(event(GOOD, outcome=outcome)))
    assert counters(desk).events["fraud", "production"] == 1
    assert desk.window().filled == 0


def test_log_only_has_features_and_no_prediction_that_could_be_missing():
    """Nobody was asked for one."""
    desk = Desk()
    desk.take(record(event(GOOD, role="shadow", outcome="log_only", prediction=msgspec.UNSET)))
    window = desk.window(role="shadow")
    found = dict(ratios(desk.intake.models["fraud"].columns, window))
    assert window.filled == 1
    assert set(found) == {"amount", "country"}


def test_an_ok_answer_without_a_prediction_is_missing_one():
    """Somebody was asked, and said nothing usable."""
    desk = Desk()
    desk.take(record(event(GOOD, prediction=msgspec.UNSET)), record(event(GOOD, prediction=None)))
    found = dict(ratios(desk.intake.models["fraud"].columns, desk.window()))
    assert found["prediction"].missing == 1.0


def test_ratios_are_over_the_instances_of_the_window():
    """Missing, invalid, out of range and unseen, each apart."""
    desk = Desk()
    rows = [
        {"amount": None, "country": "DE"},
        {"amount": "12", "country": "XX"},
        {"amount": 99.0, "country": ["DE"]},
        {"country": 5},
    ]
    desk.take(record(event(*rows)))
    found = dict(ratios(desk.intake.models["fraud"].columns, desk.window()))
    assert found["amount"] == (0.5, 0.25, 0.25, None)
    assert found["country"] == (0.0, 0.25, None, 0.5)


def test_a_null_that_is_named_invalid_is_invalid():
    """JSON cannot carry what is not finite, a list was not carried."""
    desk = Desk()
    made = event({"amount": None, "country": None})
    made.instances[0].invalid = ["amount", "nobody's"]
    desk.take(record(made))
    found = dict(ratios(desk.intake.models["fraud"].columns, desk.window()))
    assert (found["amount"].missing, found["amount"].invalid) == (0.0, 1.0)
    assert (found["country"].missing, found["country"].invalid) == (1.0, 0.0)


def test_values_under_names_that_the_profile_lacks_are_counted():
    """They become no series, whatever they are called."""
    desk = Desk()
    desk.take(record(event({**GOOD, "more": 1, '"}\n': 2}, {"amount": 1.0})), record(event({"more": None})))
    assert counters(desk).left_out["fraud", "not_in_reference"] == 3


def test_duplicates_do_not_count_twice():
    """The same id in the same role; production's event and its shadow's carry the same id."""
    desk = Desk()
    first, shadow = event(GOOD, id="a"), event(GOOD, id="a", role="shadow")
    desk.take(record(first), record(first), record(shadow), record(event(GOOD)), record(first))
    assert desk.window().filled == 2
    assert counters(desk).duplicate == {("fraud", "production"): 2, ("fraud", "shadow"): 0}
    assert counters(desk).events == {("fraud", "production"): 2, ("fraud", "shadow"): 1}


def test_a_duplicate_is_known_for_four_windows_of_events():
    """And forgotten after them."""
    desk = Desk(model(size=10))
    desk.take(record(event(GOOD, id="a")), *(record(event(GOOD)) for _ in range(39)), record(event(GOOD, id="a")))
    assert counters(desk).duplicate["fraud", "production"] == 1
    desk.take(record(event(GOOD)), record(event(GOOD, id="a")))
    assert counters(desk).duplicate["fraud", "production"] == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=120), st.integers(0, 2**32 - 1))
def test_repeated_deliveries_leave_the_windows_as_they_were(repeats, seed):
    """At-least-once delivery, in any mixture, is as good as once."""
    chance = np.random.default_rng(seed)
    made = [event({"amount": float(chance.normal()), "country": "DE"}, id=f"{number}") for number in range(31)]
    once, often = Desk(), Desk()
    once.take(*map(record, made))
    often.take(
        *(
            record(each)
            for number, each in enumerate(made)
            for each in (each, *(made[r] for r in repeats if r < number))
        )
    )
    assert (once.window().counts == often.window().counts).all()


def test_a_tenant_has_a_window_of_its_own_when_it_is_allowed():
    """And every event counts in `_all`."""
    desk = Desk(model(tenants=["acme"]))
    for tenant in ("acme", "_other", "_all", None, "evil"):
        desk.take(record(event(GOOD, tenant=tenant)))
    assert desk.window().filled == 5
    assert desk.window("acme").filled == 1
    assert desk.window("_other").filled == 3
    assert set(desk.intake.owned["fraud"].roles["production"].windows) == {"_all", "acme", "_other"}


def test_predictions_start_again_at_a_switch_and_features_do_not():
    """A window never mixes the predictions of two versions."""
    desk = Desk()
    versions = ["v1"] * 5 + ["v2"] * 3
    desk.take(*(record(event(GOOD, version=version)) for version in versions))
    window = desk.window()
    assert predictions(desk) == 3
    assert window.filled == 8
    desk.take(record(event(GOOD, version="v2")))
    assert predictions(desk) == 4
    desk.take(record(event(GOOD, version="v1")))
    assert predictions(desk) == 4  # a late answer; more of them, and v1 serves again
    desk.take(*(record(event(GOOD, version="v1")) for _ in range(IN_A_ROW - 1)))
    assert predictions(desk) == 5 + IN_A_ROW
    assert (window.counts == window.recount()).all()


RUN = st.tuples(st.sampled_from(["v1", "v2", "v3"]), st.sampled_from([1, 2, IN_A_ROW]))


@given(st.lists(RUN, min_size=1, max_size=5), st.integers(0, 60))
def test_where_a_poll_cuts_the_stream_does_not_matter_at_a_switch(runs, cut):
    """A version that is new is shown, and one that was there before after so many answers in a row."""
    versions = list(chain.from_iterable(repeat(version, count) for version, count in runs))
    made = [event(GOOD, version=version) for version in versions]
    whole, parts = Desk(), Desk()
    whole.take(*map(record, made))
    parts.take(*map(record, made[:cut]))
    parts.take(*map(record, made[cut:]))
    shown = ""
    for at, version in enumerate(versions):
        if version not in versions[:at] or versions[: at + 1][-IN_A_ROW:] == [version] * IN_A_ROW:
            shown = version
    assert whole.window().version == shown
    assert predictions(whole) == predictions(parts) == versions.count(shown)
    assert (whole.window().counts == parts.window().counts).all()


def predictions(desk):
    """How many predictions the production window holds."""
    window = desk.window()
    return int(window.bins()[window.layout.bin_starts[-1] :].sum())


def test_the_values_are_those_of_the_formulas_over_the_windows_values():
    """Against a count by hand, for the reference and for the shadow."""
    desk = Desk(profiles=[profile(5_000)])
    columns = desk.intake.models["fraud"].columns
    desk.take(*(record(event({"amount": 1.5, "country": "DE"})) for _ in range(60)))
    desk.take(*(record(event({"amount": -1.5, "country": "FR"}, role="shadow")) for _ in range(40)))
    reference, shadow = Comparer().of(desk.intake.owned["fraud"])
    assert (reference.against, shadow.against) == ("reference", "shadow")
    assert reference.columns.tolist() == shadow.columns.tolist() == [0, 1, 2]
    country = columns.bins[1].reference
    live = [
        60 if name == "DE" else 0 for name in (*desk.intake.models["fraud"].profile.features["country"].monitored, "")
    ]
    assert reference.psi[1] == pytest.approx(psi(live, country))
    assert reference.js[1] == pytest.approx(js_divergence(live, country))
    other = [
        40 if name == "FR" else 0 for name in (*desk.intake.models["fraud"].profile.features["country"].monitored, "")
    ]
    assert shadow.psi[1] == pytest.approx(psi(live, other))
    assert shadow.psi[2] == pytest.approx(psi([60] + [0] * 11, [40] + [0] * 11))


def test_a_column_without_a_valid_value_is_not_compared():
    """Neither missing nor invalid values are drift by themselves."""
    desk = Desk()
    desk.take(record(event({"amount": None, "country": "DE"}, prediction=msgspec.UNSET)))
    reference, shadow = Comparer().of(desk.intake.owned["fraud"])
    assert reference.columns.tolist() == [1]
    assert shadow.columns.tolist() == []


def test_an_event_on_a_foreign_partition_is_sent_on_once():
    """Another client's partitioner put it there."""
    desk = Desk()
    right = partition_of("fraud", PARTITIONS)
    wrong = (right + 1) % PARTITIONS
    desk.take(record(event(GOOD), partition=wrong))
    (message,) = desk.sent
    assert (message.topic, message.key, message.partition) == ("inference.production", b"fraud", right)
    assert counters(desk).foreign["inference.production"] == 1
    assert desk.window().filled == 0
    desk.take(Record(message.value, partition=right, headers=message.headers))
    assert desk.window().filled == 1
    desk.take(Record(message.value, partition=wrong, headers=message.headers))
    assert counters(desk).rejected["foreign_twice"] == 1
    assert desk.sent[-1].topic == "inference.rejected"


def test_what_an_earlier_run_has_sent_on_is_not_sent_again():
    """A restart reads the same messages again; they are counted again, and kept aside once."""
    desk = Desk()
    bad, foreign = Record(b"{", offset=7), record(event(GOOD), partition=3 - partition_of("fraud", 4), offset=7)
    desk.take(bad, sent_below=8)
    desk.take(foreign, sent_below=8)
    assert desk.sent == []
    assert counters(desk).rejected["json"] == 1
    desk.take(bad, sent_below=7)
    assert len(desk.sent) == 1


def test_what_cannot_be_kept_is_counted():
    """A full outbox stops nothing."""
    desk = Desk()
    desk.full = True
    desk.take(Record(b"{"), record(event(GOOD)))
    assert counters(desk).unkept["inference.rejected"] == 1
    assert desk.window().filled == 1


def test_work_stops_at_its_budget_and_goes_on_where_it_stopped():
    """A few small messages each time, or one large one; so that it always goes on."""
    desk = Desk()
    records = [record(event({**GOOD, "note": "n" * 70_000 if number == 20 else ""})) for number in range(40)]
    reached = [0]
    while reached[-1] < len(records):
        reached.append(desk.intake.take(records, reached[-1], 0, 0.0))
        assert desk.window().filled == reached[-1]
    assert 0 < max(np.diff(reached)) <= 16
    assert 21 in reached


def damaged(**changes):
    """An event with some fields replaced."""
    return msgspec.json.encode(plain(event(GOOD)) | changes)


def without(name):
    """An event without one field."""
    return msgspec.json.encode({key: value for key, value in plain(event(GOOD)).items() if key != name})


def with_value(text):
    """An event whose amount is that text."""
    return encode(event({"amount": 0.0})).replace(b'"amount":0.0', b'"amount":' + text)


POISON = {
    "nothing": (None, "json"),
    "no bytes": (b"", "json"),
    "no JSON": (b"{", "json"),
    "NaN": (with_value(b"NaN"), "json"),
    "infinity": (with_value(b"-Infinity"), "json"),
    "a float beyond all floats": (with_value(b"1e999"), "wrong_value"),
    "an integer of 5,000 digits": (with_value(b"1" * 5_000), "wrong_value"),
    "100,000 levels of nesting": (with_value(b"[" * 100_000 + b"]" * 100_000), "depth"),
    "a lone surrogate": (with_value(b'"\\ud800"'), "json"),
    "not UTF-8": (with_value(b'"\xff"'), "encoding"),
    "10 MB": (with_value(b'"' + b"x" * 10_000_000 + b'"'), "too_large"),
    "a list": (b"[]", "wrong_type"),
    "a wrong type": (damaged(version=5), "wrong_type"),
    "features that are a list": (damaged(instances=[{"features": []}]), "wrong_type"),
    "an unknown role": (damaged(role="canary"), "wrong_value"),
    "a time in milliseconds": (damaged(time=1_790_000_000_000_000), "wrong_value"),
    "no id": (without("id"), "missing_field"),
    "an unknown model": (damaged(model="nobody"), "unknown_model"),
    "a shadow's event in production's topic": (damaged(role="shadow"), "wrong_topic"),
}


@pytest.mark.parametrize(("value", "reason"), POISON.values(), ids=POISON.keys())
def test_poison_is_counted_kept_aside_and_stops_nothing(value, reason):
    """Whatever it is, between two good events; what a broker would not take in one message is kept by its beginning."""
    desk = Desk()
    desk.take(record(event(GOOD)), Record(value, offset=41), record(event(GOOD)))
    assert desk.window().filled == 2
    assert counters(desk).rejected.total() == counters(desk).rejected[reason] == 1
    (kept,) = desk.sent
    assert (kept.topic, kept.key) == ("inference.rejected", b"fraud")
    most = 512 * 1024
    assert kept.value == (value if value is None else value[:most])
    cut = str(len(value)) if value is not None and len(value) > most else None
    assert header(kept.headers, "shadowdrift_cut") == cut
    assert header(kept.headers, "shadowdrift_reason") == reason
    assert header(kept.headers, "shadowdrift_source") == f"inference.production/{partition_of('fraud', 4)}/41"


def test_an_event_of_another_version_is_not_read():
    """Its type stands in the header."""
    desk = Desk()
    desk.take(record(event(GOOD), headers=(("ce_type", b"shadowdrift.inference.v2"),)), record(event(GOOD), headers=()))
    assert counters(desk).rejected["event_type"] == 1
    assert desk.window().filled == 1


ODD = {
    "duplicate keys": b'1,"amount":0.25',
    "an integer beyond every float": b"1" * 400,
    "an object": b'{"a": [1]}',
    "a boolean": b"true",
    "a text": b'"__proto__"',
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_values_are_events_all_the_same(text):
    """Whatever they are, they fall into a cell of their column."""
    desk = Desk()
    desk.take(Record(with_value(text)))
    window = desk.window()
    assert (window.filled, counters(desk).rejected.total()) == (1, 0)
    assert (window.counts == window.recount()).all()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["amount", "country", "other"]), JSON),
            st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
        ),
        max_size=8,
    )
)
def test_no_value_stops_it(rows):
    """Any JSON in any column; every instance keeps its place."""
    desk = Desk()
    for number, (features, prediction) in enumerate(rows):
        instances = [{"features": features, "prediction": prediction}]
        desk.take(Record(damaged(id=str(number), instances=instances)))
    assert desk.window().filled + counters(desk).rejected.total() == len(rows)
    assert (desk.window().counts == desk.window().recount()).all()


def test_a_model_without_a_reference_is_counted_and_fills_its_windows():
    """Drift needs `reference:`; everything else does not."""
    desk = Desk(profiles=[None])
    desk.take(record(event(GOOD)))
    assert desk.window().filled == 1
    assert counters(desk).events["fraud", "production"] == 1
    assert counters(desk).left_out["fraud", "not_in_reference"] == 0


def test_a_partition_that_goes_takes_its_models_with_it():
    """And comes back empty: its new owner reads it again."""
    desk = Desk()
    desk.take(record(event(GOOD)))
    partition = partition_of("fraud", PARTITIONS)
    desk.intake.disown(partition)
    assert desk.intake.owned == {}
    desk.intake.own(ModelState(desk.intake.models["fraud"]))
    assert desk.window().filled == 0
