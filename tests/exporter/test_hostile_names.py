"""A hundred thousand names made up by somebody: caps hold, what is beyond them is counted, every scrape parses."""

import random

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from evidence.document import decode, encode
from exporter.showing.collect import Collector
from exporter.showing.comparisons import Comparer
from exporter.showing.evidence import Witness
from exporter.windows.measured import MAX_TENANT_COLUMNS, MAX_TENANTS
from exporter.windows.rows import MAX_FEATURES, MAX_UNKNOWN
from reference.columns import column_of
from reference.profile import Binning, Profile
from tests.exporter.making import Desk, event, model, profile, record
from tests.exporter.test_collect import Clock, Log

MANY = 100_000
PIECES = [
    '"',
    "\\",
    "\n",
    "\r",
    "{",
    "}",
    ",",
    "=",
    " ",
    "\u2028",
    "é",
    "漢",
    "\U0001f642",
    "\0",
    "__proto__",
    "#",
    "<!--",
]
CHANCE = random.Random(7)


def name(number: int) -> str:
    """One that nobody else has, and that is hard to write down."""
    return "".join(CHANCE.choices(PIECES, k=4)) + str(number)


def samples(desk: Desk) -> list:
    """Those of a scrape, as Prometheus' own parser reads them."""
    text = Collector(desk.intake, Log({}), Clock(0.0), Clock(0.0)).metrics().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def told(found: list, metric: str, **labels: str) -> float:
    """One sample's value."""
    (value,) = [each.value for each in found if each.name == metric and labels.items() <= each.labels.items()]
    return value


def values_of(found: list, label: str) -> set[str]:
    """All that a label is anywhere."""
    return {each.labels[label] for each in found if label in each.labels}


@pytest.fixture(scope="module")
def desk() -> Desk:
    """A model that has met them all: as tenants, as features, as categories and as classes."""
    plain = profile()
    desk = Desk(model(tenants=["acme"]), profiles=[changed(plain, prediction=None)])
    records = []
    for number in range(0, MANY, 20):
        names = [name(number + place) for place in range(20)]
        row = {"amount": 1.0, "country": names[0], **dict.fromkeys(names, 1.0)}
        records.append(record(event(row, tenant=names[1], version=names[2], prediction=names[3])))
    records += [
        record(event({"country": name(number)}, tenant=name(number), prediction=name(number)))
        for number in range(MANY, MANY + 1_000)
    ]
    for first in range(0, len(records), 200):
        desk.take(*records[first : first + 200])
    return desk


def changed(struct: Profile, **changes: object) -> Profile:
    """A profile with something else in it."""
    return msgspec.structs.replace(struct, **changes)


def test_a_scrape_stays_small_and_parses(desk: Desk) -> None:
    """Whatever the names are."""
    found = samples(desk)
    assert len(found) < 3_000
    assert values_of(found, "tenant") == {"_all", "acme", "_other"}
    assert values_of(found, "feature") == {"amount", "country"}
    assert len(values_of(found, "version")) < 50
    assert len(values_of(found, "class")) <= 51


def test_what_is_beyond_the_caps_is_counted(desk: Desk) -> None:
    """With its reason, and as one of the others."""
    found = samples(desk)
    assert told(found, "drift_series_dropped_total", reason="not_in_reference") == MANY
    assert told(found, "drift_series_dropped_total", reason="versions") > 4_000
    assert told(found, "drift_series_dropped_total", reason="classes") > 5_000
    assert told(found, "drift_window_instances", tenant="_other", role="production") == 100.0
    assert told(found, "drift_feature_unseen_ratio", feature="country", tenant="_all", role="production") == 1.0


def test_the_evidence_names_a_few_of_them_and_is_read_again(desk: Desk) -> None:
    """Fifty, as they are."""
    evidence = Witness(desk.intake, Log({}), Comparer(), Clock(0.0)).of("fraud")
    assert evidence is not None
    assert decode(encode(evidence)) == evidence
    assert len(evidence.unknown_features) == MAX_UNKNOWN
    assert len(encode(evidence)) < 100_000


@pytest.mark.parametrize("columns", [1, 150])
def test_a_configuration_of_too_many_tenants_has_so_many_windows(columns: int) -> None:
    """The rest count as the others."""
    amount = column_of([float(number) for number in range(100)], Binning())
    reference = Profile(1, 100, Binning(), {f"amount-{number}": amount for number in range(columns)})
    tenants = [f"tenant-{number}" for number in range(1_000)]
    desk = Desk(model(tenants=tenants, size=10), profiles=[reference])
    most = min(MAX_TENANTS, MAX_TENANT_COLUMNS // columns)
    for tenant in (tenants[most - 1], tenants[most], tenants[-1], "nobody"):
        desk.take(record(event({"amount-0": 1.0}, tenant=tenant)))
    found = samples(desk)
    assert len(values_of(found, "tenant")) == most + 2
    assert told(found, "drift_series_dropped_total", reason="tenants") == 2
    assert told(found, "drift_window_instances", tenant="_other", role="production") == 3
    assert told(found, "drift_window_instances", tenant=tenants[most - 1], role="production") == 1


def test_a_profile_of_too_many_features_has_so_many_columns() -> None:
    """The first of them by name; values of the others are counted, and the prediction is always there."""
    amount = column_of([float(number) for number in range(100)], Binning())
    names = sorted(name(number) for number in range(MANY))
    desk = Desk(profiles=[Profile(1, 100, Binning(), dict.fromkeys(names, amount), amount)])
    desk.take(record(event({names[0]: 1.0, names[MAX_FEATURES - 1]: 2.0, names[MAX_FEATURES]: 3.0, "new": 4.0})))
    found = samples(desk)
    assert len(values_of(found, "feature")) == MAX_FEATURES + 1
    assert "prediction" in values_of(found, "feature")
    assert told(found, "drift_series_dropped_total", reason="features") == 1
    assert told(found, "drift_series_dropped_total", reason="not_in_reference") == 1


def test_a_category_with_the_others_name_is_told_from_them():
    """No two samples of a scrape have the same labels."""
    country = column_of(["_other"] * 400 + ["DE"] * 400 + ["rare"] * 10, Binning())
    plain = profile()
    desk = Desk(profiles=[changed(plain, features={"amount": plain.features["amount"], "country": country})])
    desk.take(*(record(event({"amount": 1.0, "country": name})) for name in ["_other", "DE", "new", "DE"]))
    found = [each for each in samples(desk) if each.name == "drift_bin_ratio"]
    labels = [frozenset(each.labels.items()) for each in found]
    assert len(set(labels)) == len(labels)
    told_of = {each.labels["bin"]: each.value for each in found if each.labels["role"] == "production"}
    assert told_of["_other"] == 0.25


def test_names_of_megabytes_fill_neither_a_scrape_nor_the_evidence():
    """The rollback reads no document without end."""
    desk = Desk(profiles=[changed(profile(), prediction=None)])
    long = [f"{number}" + "x" * 1_000_000 for number in range(3)]
    desk.take(*(record(event({each: 1.0}, prediction=each)) for each in long))
    text = Collector(desk.intake, Log({}), Clock(0.0), Clock(0.0)).metrics()
    document = encode(Witness(desk.intake, Log({}), Comparer(), Clock(0.0)).of("fraud"))
    assert len(text) < 100_000
    assert len(document) < 100_000
    assert len(decode(document).unknown_features) == 3
    assert told(samples(desk), "drift_predictions_total", **{"class": "_other"}) == 3
    assert told(samples(desk), "drift_series_dropped_total", reason="classes") == 3
