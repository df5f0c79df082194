"""What the exporter makes of texts that the emitter has told of, and of values that were hashed under another key."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from configuration import Privacy, Texts
from events.inference import InferenceEvent
from exporter.showing.references import reference_of
from privacy.keyed import KeyedHash
from reference.columns import column_of
from reference.draft import Draft
from reference.profile import Binning, Profile
from tests.exporter.making import Desk, event, model, profile, record
from tests.exporter.test_collect import scrape

HASH = KeyedHash(b"k")


ORDER = ("model", "tenant", "feature", "against", "role", "pattern", "source", "hash", "state", "reason")


def samples(desk: Desk, family: str) -> dict[tuple[str, ...], float]:
    """A family's samples by their labels' values, in the order above."""
    found = scrape(desk)  # type: ignore[no-untyped-call] # of a module that has no types
    by_labels = {frozenset(key[1:]): value for key, value in found.items() if key[0] == family}
    return {
        tuple(value for name in ORDER for label, value in labels if label == name): number
        for labels, number in by_labels.items()
    }


def hashed() -> Profile:
    """A profile whose countries were hashed under k1."""
    countries = column_of([HASH(name) for name in ("DE", "FR", "US")] * 400, Binning())
    plans = column_of(["a", "b"] * 600, Binning())
    assert countries is not None
    assert plans is not None
    return msgspec.structs.replace(
        profile(), features={"country": countries, "plan": plans}, key_id="k1", hashed=("country",)
    )


def events(key_id: str | None, count: int = 60) -> Iterator[InferenceEvent]:
    """Events whose countries were hashed under a key."""
    hash_ = HASH if key_id == "k1" else KeyedHash(str(key_id).encode())
    for number in range(count):
        country = hash_(("DE", "FR", "US")[number % 3])
        yield event({"country": country, "plan": "ab"[number % 2]}, key_id=key_id)


def test_under_its_own_key_a_hashed_column_is_compared_like_any_other() -> None:
    """Its categories are the hashes."""
    desk = Desk(model(), profiles=[hashed()])
    desk.take(*map(record, events("k1")))
    assert samples(desk, "drift_psi")["fraud", "_all", "country", "reference"] < 0.1
    assert samples(desk, "drift_reference_info") == {("fraud", "profile", hashed().hash, "ready"): 1}


@pytest.mark.parametrize("key_id", ["k2", None])
def test_under_another_key_a_hashed_column_is_not_compared(key_id: str | None) -> None:
    """No drift that is none, no unseen value; the reference says why; other columns are compared as ever."""
    desk = Desk(model(), profiles=[hashed()])
    desk.take(*map(record, events(key_id)))
    compared = samples(desk, "drift_psi")
    assert ("fraud", "_all", "country", "reference") not in compared
    assert compared["fraud", "_all", "plan", "reference"] < 0.1
    unseen = samples(desk, "drift_feature_unseen_ratio")
    assert unseen.get(("fraud", "_all", "country", "production"), 0) == 0
    assert samples(desk, "drift_reference_info") == {("fraud", "profile", hashed().hash, "key_mismatch"): 1}
    assert reference_of(desk.intake, desk.intake.models["fraud"]).state == "key_mismatch"


def test_after_a_rotation_the_column_is_compared_again() -> None:
    """Once events come under the profile's key; those of before are as if nobody had been asked."""
    desk = Desk(model(), profiles=[hashed()])
    for slice_ in (list(events("k2", 30)) + list(events("k1", 30)), events("k1", 30)):
        desk.take(*map(record, slice_))
        assert samples(desk, "drift_psi")["fraud", "_all", "country", "reference"] < 0.2
        assert samples(desk, "drift_reference_info") == {("fraud", "profile", hashed().hash, "ready"): 1}


def noted() -> Profile:
    """A profile with a text."""
    draft = Draft("rows", {"note": "text"})
    draft.add_rows([{"note": f"the printer is late {number % 7}", "amount": number + 0.5} for number in range(200)])
    return draft.finished(Binning()).profile


def told(patterns: dict[str, dict[str, int]], role: str = "production", **features: Any) -> InferenceEvent:
    """An event of a text, as the emitter makes it."""
    row = {"note": "#0123456789abcdef", "note.length": 20, "note.words": 5, "note.unseen_ratio": 0.4, "amount": 3.5}
    made = event({**row, **features}, role=role)
    made.instances[0].patterns = patterns
    return made


def test_what_is_told_of_a_text_is_compared_and_the_text_itself_is_no_stranger() -> None:
    """Its numeric columns are columns; its hash is no name that the profile lacks."""
    desk = Desk(model(), profiles=[noted()])
    desk.take(*(record(told({}, extra=1)) for _ in range(60)))
    compared = {labels[2] for labels in samples(desk, "drift_psi") if labels[3] == "reference"}
    assert compared == {"note.length", "note.words", "note.unseen_ratio", "amount"}
    assert samples(desk, "drift_psi")["fraud", "_all", "note.unseen_ratio", "reference"] > 1
    assert samples(desk, "drift_series_dropped_total")["fraud", "not_in_reference"] == 60
    assert list(desk.intake.owned["fraud"].measured.columns.unknown) == ["extra"]


def test_patterns_are_counted_by_text_and_pattern() -> None:
    """Of production alone, once for each event; names that neither configuration nor profile has are `_other`."""
    texts = Texts(fields=("remark",), patterns={"slang": "kaput"})
    desk = Desk(model(text=texts, privacy=Privacy(patterns={"staff": "E-"})), profiles=[noted()])
    first = told({"note": {"slang": 2, "email": 1}, "remark": {"staff": 1}})
    hostile = told({'x"} 1\n': {"slang": 1}, "note": {"evil": 3, "slang": -7}})
    desk.take(record(first), record(first), record(hostile))
    desk.take(record(told({"note": {"slang": 50}}, role="shadow")))
    counted = samples(desk, "drift_text_pattern_total")
    assert {labels[1:]: count for labels, count in counted.items() if count} == {
        ("note", "slang"): 2,
        ("note", "email"): 1,
        ("remark", "staff"): 1,
        ("_other", "slang"): 1,
        ("note", "_other"): 3,
    }
    assert counted["fraud", "remark", "phone"] == 0
    assert samples(Desk(), "drift_text_pattern_total") == {}


def test_a_reference_out_of_the_traffic_knows_the_key_of_its_hashes() -> None:
    """So a rotation is no drift there either."""
    desk = Desk(model(size=10), profiles=[None])
    desk.take(*map(record, events("k1", 120)))
    known = desk.intake.owned["fraud"].measured.profile
    assert known is not None
    assert (known.key_id, known.hashed, known.texts) == ("k1", ("country",), {})
    assert ("fraud", "_all", "country", "reference") in samples(desk, "drift_psi")
    desk.take(*map(record, events("k2", 30)))
    assert ("fraud", "_all", "country", "reference") not in samples(desk, "drift_psi")
    [labels] = samples(desk, "drift_reference_info")
    assert labels[1:2] + labels[3:] == ("warmup", "key_mismatch")
