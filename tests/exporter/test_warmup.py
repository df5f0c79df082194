"""Without a profile the first of production's traffic becomes the reference."""

import msgspec
import numpy as np
import pytest

from exporter.showing.references import reference_families
from exporter.windows import warmup
from exporter.windows.measured import Measured
from exporter.windows.models import ModelState
from exporter.windows.warmup import WarmUp
from reference.columns import column_of
from reference.profile import Binning
from tests.exporter.making import Desk, event, model, record
from tests.exporter.test_models import held

SIZE = 12
TENANTS = ("acme", "initech")


def settings(**more):
    """A model without a profile."""
    return model(size=SIZE, tenants=TENANTS, **more)


def begun():
    """Its state at the start."""
    return ModelState(Measured(settings(), None))


def stream(role, count, seed):
    """Events of one role, one to three instances each, of tenants and versions, some of them no answers."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(count):
        rows = [
            {
                "amount": float(chance.normal()),
                "country": str(chance.choice(["DE", "FR"])),
                "few": int(chance.integers(3)),
            }
            for _ in range(chance.integers(1, 4))
        ]
        made.append(
            event(
                *rows,
                id=f"{role}-{seed}-{number}",
                role=role,
                tenant=chance.choice([None, "acme", "initech", "somebody"], p=[0.5, 0.4, 0.02, 0.08]),
                version="v1" if number < count // 2 else "v2",
                outcome=str(chance.choice(["ok", "ok", "error"] if role == "production" else ["ok", "log_only"])),
                prediction=float(chance.random()),
            )
        )
    return made


PRODUCTION, SHADOW = stream("production", 300, 1), stream("shadow", 200, 2)
ANSWERED = [each for each in PRODUCTION if each.outcome == "ok"]


def merged(seed):
    """Both topics, each in its own order, in an interleaving of its own."""
    chance, waiting = np.random.default_rng(seed), [list(PRODUCTION), list(SHADOW)]
    events = []
    while any(waiting):
        events.append(waiting[chance.integers(2)][:1])
        for queue in waiting:
            if queue[:1] == events[-1] and queue:
                del queue[0]
                break
    return [each for part in events for each in part]


def feed(state, events, slices):
    """Take them in slices."""
    for part in np.array_split(np.arange(len(events)), slices):
        for position in part:
            state.take(msgspec.convert(msgspec.to_builtins(events[position]), type(events[position])))
        state.flush()
    return state


def first_rows():
    """The first 10 W instances, and how many events they are of."""
    rows, events = [], 0
    for each in ANSWERED:
        events += 1
        rows += [{**instance.features, "prediction": instance.prediction} for instance in each.instances]
        if len(rows) >= 10 * SIZE:
            break
    return rows[: 10 * SIZE], events


def test_the_first_ten_windows_of_production_become_the_reference():
    """Kinds, bins and categories by the rules of a profile; only what was answered counts."""
    state = feed(begun(), PRODUCTION, 40)
    profile, (rows, _) = state.measured.profile, first_rows()
    assert profile.rows == 10 * SIZE
    for name in ("amount", "country", "few"):
        assert profile.features[name] == column_of([row[name] for row in rows], Binning())
    assert profile.prediction == column_of([row["prediction"] for row in rows], Binning())
    assert state.measured.source == "warmup"


@pytest.mark.parametrize(("seed", "slices"), [(1, 1), (2, 7), (3, 60), (4, 499)])
def test_windows_are_those_of_a_model_that_knew_the_reference_from_the_start(seed, slices):
    """Of both roles and of every tenant, however the topics interleave and polls cut them."""
    warmed = feed(begun(), merged(seed), slices)
    told = feed(ModelState(Measured(settings(), warmed.measured.profile)), [*SHADOW, *PRODUCTION], 3)
    assert held(warmed) == held(told)


@pytest.mark.parametrize("slices", [1, 7, 60, 300])
def test_the_early_warning_starts_after(slices):
    """What the reference is made of cannot be tested against it."""
    warmed, (_, events) = feed(begun(), PRODUCTION, slices), first_rows()
    after = ModelState(Measured(settings(), warmed.measured.profile))
    feed(after, ANSWERED[events:], 1)
    assert warmed.early_warning.ratios().tolist() == after.early_warning.ratios().tolist()


@pytest.mark.parametrize("cut", [0, 1, 50, 150, 250, 400])
def test_restored_and_continued_is_as_uninterrupted(cut):
    """Before there is a reference, and after."""
    events = merged(5)
    whole, first, second = feed(begun(), events, 20), feed(begun(), events[:cut], 3), begun()
    reference = msgspec.msgpack.decode(msgspec.msgpack.encode(first.reference_kept()))
    recent = None if first.warm_up is None else first.recent.kept()
    roles = {role: state.kept() for role, state in first.roles.items()}
    second.restore_reference(reference)
    if recent is not None:
        second.recent.restore(recent)
    for role, state in second.roles.items():
        state.restore(roles[role])
    second.early_warning.restore(first.early_warning.kept())
    feed(second, events[cut:], 9)
    assert second.measured.profile == whole.measured.profile
    assert held(second) == held(whole)
    assert second.early_warning.ratios().tolist() == whole.early_warning.ratios().tolist()


def test_what_is_remembered_of_the_shadow_is_bounded():
    """By what its windows hold: nobody knows how long production takes."""
    state = begun()
    for number in range(40):
        feed(state, stream("shadow", 100, 100 + number), 1)
    state.recent.kept()
    assert len(list(state.recent.latest())) < 4 * 3 * SIZE


def test_traffic_that_says_nothing_is_no_reference():
    """Then the first that says something is."""
    state = begun()
    for number in range(20 * SIZE):
        state.take(event({}, id=f"empty-{number}", prediction=None))
        state.flush()
    assert state.measured.profile is None
    feed(state, PRODUCTION, 30)
    assert "amount" in state.measured.profile.features


@pytest.mark.parametrize("slices", [1, 2, 3, 40])
def test_where_a_poll_was_cut_does_not_tell_what_becomes_the_reference(slices):
    """Also behind traffic that says nothing: the reference is a function of the log."""
    events = [event({}, id=f"nothing-{number}", prediction=None) for number in range(150)] + PRODUCTION
    singly, sliced = feed(begun(), events, len(events)), feed(begun(), events, slices)
    assert sliced.measured.reference_hash == singly.measured.reference_hash != ""
    assert held(sliced) == held(singly)


def test_names_without_end_make_no_columns_without_end(monkeypatch):
    """The first ones are columns; what is remembered has a bound as well."""
    monkeypatch.setattr(warmup, "MAX_FEATURES", 50)
    warm = WarmUp(10, str, settings().drift)
    assert warm.take([event({f"k{number}-{each}": 1.5 for each in range(30)}) for number in range(200)]) == 100
    assert len(warm.profile().features) == 50
    monkeypatch.setattr(warmup, "MAX_BYTES", 10_000)
    warm.restart()
    assert warm.take([event({"text": "x" * 1_000}) for _ in range(100)]) < 12
    assert warm.complete


def test_the_exporter_tells_that_it_collects_and_then_what_it_compares_with():
    """`drift_reference_info`, and PSI only once there is something to compare with."""
    desk = Desk(settings(), profiles=[None])
    assert reference(desk) == [("warmup", "collecting")]
    desk.take(*(record(each) for each in PRODUCTION[:20]))
    assert reference(desk) == [("warmup", "collecting")]
    assert desk.window().filled == SIZE
    desk.take(*(record(each) for each in PRODUCTION[20:]))
    assert reference(desk) == [("warmup", "ready")]
    assert desk.window().bins().sum() > 0
    desk.intake.disown(desk.intake.partition("fraud"))
    assert reference(desk) == []


def reference(desk):
    """Source and state of what `drift_reference_info` shows."""
    info, *_ = reference_families(desk.intake)
    return [(dict(labels)["source"], dict(labels)["state"]) for labels, _ in info.samples]
