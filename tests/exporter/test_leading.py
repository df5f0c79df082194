"""Whose answers are shown while versions answer side by side: nothing of a switch is lost, and nothing of a canary."""

import random
from itertools import chain, pairwise, repeat
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.showing.agreement import agreement
from exporter.windows.leading import IN_A_ROW, Leading
from tests.exporter.logs_of_three import through_bytes
from tests.exporter.making import event
from tests.exporter.test_models import feed, held, state

SIZE = 100


def canary(count, share, seed=1, old="v2", new="v3"):
    """So many answers of which a share is the new version's."""
    chance = random.Random(seed)
    return [new if chance.random() < share else old for _ in range(count)]


def shown(versions, size=SIZE):
    """Which version is shown after each answer of one instance."""
    leading, found = Leading(size), []
    for version in versions:
        leading.take(version, 1)
        found.append(leading.version)
    return found


def test_a_plain_switch_shows_the_new_version_from_its_first_answer():
    """And there as well as back: after a window of the other one it is new again, with a period of its own."""
    versions = [*repeat("v2", 150), *repeat("v1", SIZE), *repeat("v2", 50)]
    assert shown(versions) == versions
    leading, periods = Leading(SIZE), set()
    for version in versions:
        leading.take(version, 1)
        periods.add(leading.period)
    assert len(periods) == 3


def test_late_answers_of_the_former_version_do_not_bring_it_back():
    """Requests that were under way at the switch."""
    late = list(chain.from_iterable(("v1", *repeat("v2", number % 7)) for number in range(30)))
    assert set(shown([*repeat("v2", 150), *late, *repeat("v1", 50)])[150:]) == {"v1"}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.2])
def test_a_canary_is_shown_for_a_moment_and_then_the_version_that_has_most_of_the_traffic(share):
    """For good: of 20,000 answers a few hundred at the beginning."""
    found = shown([*repeat("v2", 150), "v3", *canary(20_000, share)], size=1_000)
    assert found[150] == "v3"
    assert set(found[1_000:]) == {"v2"}


def test_where_each_has_half_of_the_traffic_the_one_that_is_shown_stays():
    """The newest, that is; nothing flaps."""
    assert set(shown([*repeat("v2", 150), "v3", *canary(20_000, 0.5)], size=1_000)[150:]) == {"v3"}


def test_a_canary_that_grows_to_all_of_the_traffic_is_shown_before_it_has_all_of_it():
    """One, ten, fifty, ninety percent, all."""
    steps = [canary(2_000, share, seed) for seed, share in enumerate((0.01, 0.1, 0.5, 0.9, 1.0))]
    found = shown([*repeat("v2", 150), *chain(*steps)], size=1_000)
    assert set(found[2_150 - 1_000 : 4_150]) == {"v2"}
    assert set(found[-3_000:]) == {"v3"}


def test_a_rollback_within_a_window_shows_the_former_version_after_some_answers_in_a_row():
    """Its answers before the switch still stand in the window, so late ones cannot be told from a return at once."""
    found = shown([*repeat("v2", 150), *repeat("v3", 50), *repeat("v2", 50)])
    assert found.index("v2", 150) == 200 + IN_A_ROW - 1
    assert set(found[220:]) == {"v2"}


def test_of_three_versions_the_one_with_most_of_the_traffic_is_shown():
    """Two canaries at once, each new one at first."""
    chance = random.Random(3)
    mixed = chance.choices(("v2", "v3", "v4"), (8, 1, 1), k=5_000)
    found = shown([*repeat("v2", 150), *mixed], size=1_000)
    assert {"v3", "v4"} <= set(found)
    assert set(found[3_000:]) == {"v2"}


def test_a_version_that_is_gone_is_shown_no_longer_whoever_took_its_place():
    """Also where no other one gives many answers in a row."""
    found = shown([*repeat("v1", SIZE), *["v2", "v3"] * SIZE])
    assert found[SIZE : SIZE + 2] == ["v2", "v3"]
    found = shown([*repeat("v1", SIZE), "v2", "v3", *repeat("v1", 30), *["v2", "v3"] * SIZE])
    assert "v1" not in found[-SIZE:]


def test_requests_of_many_instances_are_one_answer_each():
    """One late batch is no return, unless it pushes out of the window whatever else there was."""
    leading = Leading(SIZE)
    for version, instances in [("v2", 30), ("v2", 30), ("v1", 10), ("v2", 60), ("v1", 1)]:
        leading.take(version, instances)
    assert leading.version == "v1"
    assert leading.take("v2", 98) is False
    assert leading.take("v2", 2) is True


def test_so_many_versions_as_there_are_instances_cost_no_more_memory_than_the_ring_has_places():
    """Somebody who writes another version into each event."""
    leading = Leading(50)
    for number in range(5_000):
        leading.take(f"v{number}", 1)
    assert len(leading._standing) <= 2 * 50 + 8
    assert len(leading.kept()["standing"]) == 50


def test_nobody_is_shown_once_a_window_was_answered_by_versions_of_which_nothing_enters():
    """And what then enters is new, whichever version it is of."""
    leading = Leading(10)
    assert leading.take("v2", 5)
    assert [leading.take("v1", 3, enters=False) for _ in range(4)] == [False, False, False, True]
    assert (leading.version, leading.steady("v1"), leading.period_of("v2")) == (None, True, -1)
    assert leading.take("v2", 1)
    assert leading.period == 5


VERSIONS = st.lists(st.sampled_from(("v1", "v2", "v2", "v3")), max_size=60)


@settings(deadline=None, max_examples=60)
@given(VERSIONS, st.integers(1, 12), st.integers(0, 60), st.randoms(use_true_random=False))
def test_a_restart_at_any_point_changes_nothing(versions, size, at, chance):
    """Through the bytes that are stored; with answers that enter and such that do not."""
    with patch("exporter.windows.leading.IN_A_ROW", 3):
        whole, parts = Leading(size), Leading(size)
        for number, version in enumerate(versions):
            if number == at:
                kept, parts = through_bytes(parts.kept()), Leading(size)
                parts.restore(kept)
            answer = version, chance.randrange(1, 4)
            enters = chance.random() < 0.7
            assert whole.take(*answer, enters=enters) == parts.take(*answer, enters=enters)
            assert whole.kept() == parts.kept()


@pytest.mark.parametrize("damage", [{"version": 1}, {"period": None}, {"row": "x"}, {"standing": {"v": ["x", 1]}}])
def test_what_nobody_has_kept_is_refused(damage):
    """Whoever keeps it drops it then."""
    with pytest.raises(ValueError, match=r"kept|invalid literal"):
        Leading(10).restore(Leading(10).kept() | damage)


def mixed(count=300, seed=5):
    """Answers of both roles and some tenants, a tenth of them a canary's; one to three instances each."""
    chance = random.Random(seed)
    return [
        event(
            *[{"amount": chance.gauss(0, 1), "country": "DE"}] * chance.choice([1, 1, 3]),
            id=f"mixed-{number}",
            role=chance.choice(["production", "production", "shadow"]),
            tenant=chance.choice([None, "acme", "initech"]),
            version="v3" if chance.random() < 0.1 + 0.8 * (number > count // 2) else "v2",
            prediction=chance.random(),
        )
        for number in range(count)
    ]


def test_windows_beside_a_canary_are_the_same_however_polls_cut_the_log_and_over_restarts():
    """And their running counts those of a recount."""
    with patch("exporter.windows.leading.IN_A_ROW", 4):
        whole, parts, again = state(), state(), state()
        events = mixed()
        feed(whole, events)
        for number, one in enumerate(events):
            feed(parts, [one])
            if number % 37 == 0:
                for role, roles in again.roles.items():
                    roles.restore(through_bytes(parts.roles[role].kept()))
                assert held(again) == held(parts)
        assert held(whole) == held(parts)
        assert whole.early_warning.kept() == parts.early_warning.kept()
        for roles in whole.roles.values():
            for window in roles.windows.values():
                assert (window.counts == window.recount()).all()
        assert {roles.windows["_all"].version for roles in whole.roles.values()} == {"v3"}


@pytest.mark.parametrize("polls", [[3, 4, 5, 6], [3, 5, 6], [6]])
def test_an_answer_without_instances_interrupts_nothing_however_polls_cut_the_log(polls):
    """It enters no window; beside another tenant's instances as little as alone."""
    events = [event({"amount": 1.0}, tenant="acme", version=version) for version in ("v2", "v3", "v2")]
    events += [event(tenant="acme", version="v3"), event({"amount": 1.0}, tenant="initech", version="v3")]
    events += [event({"amount": 1.0}, tenant="acme", version="v2")]
    with patch("exporter.windows.leading.IN_A_ROW", 2):
        of = state()
        for begin, end in pairwise([0, *polls]):
            feed(of, events[begin:end])
    assert of.roles["production"].windows["acme"].version == "v2"


def predictions(of, tenant="_all"):
    """How many predictions production's window shows."""
    window, columns = of.roles["production"].windows[tenant], of.measured.columns
    return window.filled - int(window.counts[columns.layout.absent[columns.index["prediction"]]])


def test_beside_a_canary_the_window_shows_the_predictions_of_most_of_its_instances():
    """Features are of all of them."""
    of = state(tenants=())
    feed(of, [event({"amount": 1.0}, version="v3" if number % 10 == 9 else "v2") for number in range(70)])
    window = of.roles["production"].windows["_all"]
    assert (window.version, window.filled, predictions(of)) == ("v3", 20, 2)
    feed(of, [event({"amount": 1.0}, version="v2") for _ in range(IN_A_ROW)])
    assert (window.version, predictions(of)) == ("v2", 20)


def test_pairs_and_labels_fill_beside_a_canary():
    """Before, each of its answers began them anew."""
    of = state(tenants=(), size=100)
    for number in range(400):
        version = "v3" if number % 25 == 24 else "v2"
        answers = [event({}, id=f"p{number}", sampled=True, version=version, prediction=0.5)]
        answers.append(event({}, id=f"p{number}", role="shadow", version="v1", prediction=0.9))
        feed(of, answers)
    found = agreement(of)
    assert of.shadowed.version("production") == "v2"
    assert (found.pairs, found.sampled, found.completeness) == (96, 96, 1.0)
    assert np.allclose(list(found.delta.values()), 0.4)
