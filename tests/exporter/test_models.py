"""What is kept of one model: whose instance enters which window, and that it comes back as it was."""

import msgspec
import numpy as np
import pytest

from exporter.showing.comparisons import Comparer
from exporter.windows.duplicates import RecentIds, event_key
from exporter.windows.measured import Measured, measured_models
from exporter.windows.models import ModelState
from tests.exporter.making import event, model, profile

TENANTS = ("acme", "initech")


def state(size=20, tenants=TENANTS):
    """A model's state, empty."""
    (measured,) = measured_models([model(size=size, tenants=tenants)], [profile()])
    return ModelState(measured)


def stream(count, seed=1):
    """Events of both roles, of some tenants and versions, one to three instances each; some come twice."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(count):
        rows = [{"amount": float(chance.normal()), "country": "DE"} for _ in range(chance.integers(1, 4))]
        made.append(
            event(
                *rows,
                id=f"stream-{number}",
                role=str(chance.choice(["production", "shadow"])),
                tenant=chance.choice([None, "acme", "initech", "_other", "somebody"]),
                version="v1" if number < count // 2 else "v2",
                outcome=str(chance.choice(["ok", "ok", "ok", "log_only", "error"])),
            )
        )
        if number % 7 == 0:
            made.append(made[int(chance.integers(0, len(made)))])
    return made


def feed(into, events, slices=1):
    """Take them in so many slices."""
    for part in np.array_split(np.arange(len(events)), slices):
        for position in part:
            into.take(events[position])
        into.flush()


def held(of):
    """All that the windows hold, as plain values."""
    return {
        (role, tenant): ([part.tolist() for part in window.rows()], window.counts.tolist(), window.version)
        for role, state in of.roles.items()
        for tenant, window in state.windows.items()
    }


def test_how_the_log_is_cut_into_polls_leaves_no_trace():
    """Nor where a version changes within one."""
    whole, parts = state(), state()
    events = stream(120)
    feed(whole, events)
    feed(parts, events, slices=23)
    assert held(whole) == held(parts)


@pytest.mark.parametrize("cut", [0, 1, 40, 61, 119])
def test_restored_and_continued_equals_uninterrupted(cut):
    """Windows, versions and the ids that tell duplicates, through the bytes that are stored."""
    whole, first, second = state(), state(), state()
    events = stream(120)
    feed(whole, events)
    feed(first, events[:cut])
    for role, roles in first.roles.items():
        second.roles[role].restore(msgspec.msgpack.decode(msgspec.msgpack.encode(roles.kept())))
    feed(second, events[max(0, cut - 5) :])  # what was read again counts once
    assert held(whole) == held(second)


def test_a_tenant_counts_in_its_own_window_and_in_the_whole():
    """One that the configuration does not name is one of the others; a request without one counts in the whole."""
    of = state()
    for tenant in ("acme", "somebody", "_other", None, "_all"):
        of.take(event({"amount": 1.0}, {"amount": 2.0}, tenant=tenant))
    of.flush()
    filled = {tenant: window.filled for tenant, window in of.roles["production"].windows.items()}
    assert filled == {"_all": 10, "acme": 2, "initech": 0, "_other": 6}


def test_a_model_without_tenants_has_one_window():
    """Whatever its events say."""
    of = state(tenants=())
    of.take(event({"amount": 1.0}, tenant="acme"))
    of.flush()
    assert {tenant: window.filled for tenant, window in of.roles["production"].windows.items()} == {"_all": 1}


def test_a_switch_of_versions_restarts_each_tenants_predictions_alone():
    """Features go on; a tenant that has not met the new version yet keeps the old one's."""
    of = state()
    for tenant in TENANTS:
        of.take(event({"amount": 1.0, "country": "DE"}, tenant=tenant, version="v1"))
    of.take(event({"amount": 1.0, "country": "DE"}, tenant="acme", version="v2"))
    of.flush()
    windows = of.roles["production"].windows
    absent = of.measured.columns.layout.absent[of.measured.columns.index["prediction"]]
    asked = {tenant: windows[tenant].filled - windows[tenant].counts[absent] for tenant in ("_all", *TENANTS)}
    assert asked == {"_all": 1, "acme": 1, "initech": 1}
    assert {tenant: windows[tenant].version for tenant in TENANTS} == {"acme": "v2", "initech": "v1"}
    assert windows["_all"].filled == 3


def test_an_instance_has_the_same_identity_in_both_roles_and_another_than_any_other():
    """By the exchange's id and its place among the request's instances."""
    of = state()
    for role in ("production", "shadow"):
        of.take(event({}, {}, {}, id="one", role=role))
        of.take(event({}, id="two", role=role))
    of.flush()
    production, shadow = (of.roles[role].windows["_all"].rows() for role in ("production", "shadow"))
    assert production.identities().tolist() == shadow.identities().tolist()
    assert len(set(production.identities().tolist())) == 4
    assert production.places.tolist() == [0, 1, 2, 0]
    assert len(set(production.requests.tolist())) == 2


def test_only_so_many_ids_are_remembered():
    """The oldest is forgotten, and a repeated one does not become younger by it."""
    ids = RecentIds(3)
    assert [ids.seen(event_key(name)) for name in ("a", "b", "c", "a", "d", "a", "c")] == [
        *(False, False, False, True),
        *(False, False, True),
    ]


def test_an_ids_key_is_the_same_in_every_process():
    """It is kept in Kafka, where another process reads it."""
    assert event_key("0190d0a0-0000-7000-8000-000000000000") == KNOWN
    assert event_key("\ud800") != event_key("")


KNOWN = 2_460_789_652_094_889_676


def test_the_order_of_the_profiles_columns_changes_no_number():
    """It is no part of the hash by which what was kept goes on, nor of what a description's change restarts."""
    plain = profile(names=("b", "a"))
    turned = msgspec.structs.replace(plain, features=dict(reversed(plain.features.items())), description="turned")
    assert turned.hash == plain.hash
    first, second = (ModelState(Measured(model(), each)) for each in (plain, turned))
    for number in range(60):
        first.take(event({"b": number / 60, "a": "DE" if number % 2 else "other", "new": 1}))
    first.flush()
    for role, state in second.roles.items():
        state.restore(first.roles[role].kept())
    told = [compared_of(state) for state in (first, second)]
    assert told[0] == told[1] != {}
    first.refer(Measured(model(), turned))
    first.take(event({"b": 0.5, "a": "DE", "newer": 1}))
    first.flush()
    second.take(event({"b": 0.5, "a": "DE", "newer": 1}))
    second.flush()
    assert compared_of(first) == compared_of(second)
    assert "newer" in first.measured.columns.unknown


def compared_of(state):
    """The PSI of each column by its name."""
    (found,) = [each for each in Comparer().of(state) if each.against == "reference"]
    return {state.measured.columns.names[at]: psi for at, psi in zip(found.columns, found.psi.tolist(), strict=True)}
