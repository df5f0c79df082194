"""A day's budget: exact, shared, kept over restarts, and kept rather than guessed."""

from __future__ import annotations

import logging
import multiprocessing
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.shadowing.budget import Budget
from proxy.shadowing.ledger import Ledger

NOON = 20_000 * 86_400 + 43_200.0
DATE = "2024-10-04"


def spent(budget: Budget, asked: int, now: float = NOON) -> int:
    """How many of so many clones may leave."""
    count = 0
    for _ in range(asked):
        if budget.allows(now):
            budget.spend()
            count += 1
    return count


@pytest.mark.parametrize("limit", [0, 1, 7, 10, 1000, 123_457])
def test_one_worker_spends_exactly_the_budget(tmp_path: Path, limit: int) -> None:
    """Not one less, not one more."""
    budget = Budget(tmp_path, "fraud", limit)
    assert spent(budget, limit + 50) == limit
    assert not budget.allows(NOON + 3600)


def test_a_budget_is_borrowed_a_few_hundred_times(tmp_path: Path) -> None:
    """A million clones a day do not mean a million looks at the file."""
    assert spent(Budget(tmp_path, "fraud", 1_000_000), 1_000_001) == 1_000_000
    assert len((tmp_path / f"fraud.{DATE}").read_bytes().split()) < 400


@pytest.mark.parametrize("limit", [4, 10, 32])
def test_a_small_budget_is_exact_whichever_worker_is_asked(tmp_path: Path, limit: int) -> None:
    """Three that had one request each hold nothing back from the fourth."""
    workers = [Budget(tmp_path, "fraud", limit) for _ in range(4)]
    assert [spent(idle, 1) for idle in workers[1:]] == [1, 1, 1]
    assert spent(workers[0], 2 * limit) == limit - 3


def test_an_idle_worker_holds_back_a_32nd_at_most(tmp_path: Path) -> None:
    """Of what was left when it was asked."""
    idle, busy = Budget(tmp_path, "fraud", 1000), Budget(tmp_path, "fraud", 1000)
    assert spent(idle, 1) == 1
    assert spent(busy, 2000) == 1000 - 1000 // 32
    idle.close()
    assert spent(busy, 2000, NOON + 2) == 1000 // 32 - 1


@settings(max_examples=60, derandomize=True, deadline=None)
@given(limit=st.integers(0, 300), workers=st.integers(1, 5), seed=st.integers(0, 2**32), stops=st.integers(0, 6))
def test_workers_together_never_spend_more(
    tmp_path_factory: pytest.TempPathFactory, limit: int, workers: int, seed: int, stops: int
) -> None:
    """In any order, with clean stops between; and once all have asked enough, nothing is left over."""
    folder = tmp_path_factory.mktemp("budget")
    chance = random.Random(seed)
    now = NOON
    running = [Budget(folder, "fraud", limit) for _ in range(workers)]
    total = 0
    stopping = set(chance.sample(range(200), stops))
    for turn in range(200):
        which = chance.randrange(workers)
        total += spent(running[which], chance.randrange(5), now)
        if turn in stopping:
            running[which].close()
            running[which] = Budget(folder, "fraud", limit)
        assert total <= limit
        now += 0.5
    for budget in running:
        total += spent(budget, limit, now := now + 2)
        budget.close()
    total += spent(Budget(folder, "fraud", limit), limit, now)
    assert total == limit


def test_a_killed_worker_takes_no_more_with_it_than_it_had_borrowed(tmp_path: Path) -> None:
    """It has no chance to give anything back."""
    killed = Budget(tmp_path, "fraud", 1000)
    assert spent(killed, 10) == 10
    assert spent(Budget(tmp_path, "fraud", 1000), 2000) == 1000 - 1000 // 32


def test_a_new_day_is_a_new_budget(tmp_path: Path) -> None:
    """At midnight UTC; what was borrowed before is worth nothing, and old files go."""
    (tmp_path / "fraud.2024-09-01").touch()
    (tmp_path / "fraudulent.2024-09-01").touch()
    budget = Budget(tmp_path, "fraud", 100)
    assert spent(budget, 5) == 5
    midnight = NOON + 43_200
    assert spent(budget, 200, midnight - 0.1) == 95
    assert spent(budget, 200, midnight) == 100
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"fraud.2024-10-04", "fraud.2024-10-05", "fraudulent.2024-09-01"}


def test_a_clock_set_back_by_a_little_does_not_stop_the_clones(tmp_path: Path) -> None:
    """Nor does it give a second budget."""
    budget = Budget(tmp_path, "fraud", 40)
    assert spent(budget, 30) == 30
    assert spent(budget, 30, NOON - 600) == 10


def test_models_have_budgets_of_their_own(tmp_path: Path) -> None:
    """By name."""
    assert spent(Budget(tmp_path, "fraud", 3), 9) == 3
    assert spent(Budget(tmp_path, "churn", 4), 9) == 4


def test_another_limit_counts_what_was_spent(tmp_path: Path) -> None:
    """A restart with more gives the difference, one with less gives nothing; what is given back changes none of it."""
    workers = [Budget(tmp_path, "fraud", 1000) for _ in range(3)]
    assert [spent(worker, 10) for worker in workers] == [10, 10, 10]
    for worker in workers:
        worker.close()
    for limit, expected in ((40, 10), (20, 0), (55, 15), (55, 0)):
        budget = Budget(tmp_path, "fraud", limit)
        assert spent(budget, 99) == expected
        budget.close()


def _spend_in_a_process(folder: Path, limit: int, results: multiprocessing.SimpleQueue[int]) -> None:
    results.put(spent(Budget(folder, "fraud", limit), limit))


def test_processes_at_once_spend_exactly_the_budget(tmp_path: Path) -> None:
    """Four of them that each want all of it, without a lock."""
    limit = 2000
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.SimpleQueue[int] = context.SimpleQueue()
    workers = [context.Process(target=_spend_in_a_process, args=(tmp_path, limit, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert sum(results.get() for _ in workers) == limit


@pytest.fixture
def unusable(tmp_path: Path) -> Path:
    """A folder that cannot be one."""
    path = tmp_path / "budget"
    path.write_text("a file")
    return path


def test_without_a_ledger_no_clone_leaves(unusable: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Told once, looked at once a second, and mended by itself."""
    caplog.set_level(logging.INFO, "shadowdrift.mirror")
    budget = Budget(unusable, "fraud", 10)
    assert spent(budget, 100) == 0
    assert spent(budget, 100, NOON + 2) == 0
    assert [record.message for record in caplog.records] == ["cannot keep the clones' budget, so none is sent"]
    unusable.unlink()
    assert spent(budget, 100, NOON + 2.5) == 0
    assert spent(budget, 100, NOON + 4) == 10
    assert caplog.records[-1].message == "keeps the clones' budget again"


def test_a_line_that_was_cut_spoils_no_other(tmp_path: Path) -> None:
    """The next line counts whole, and what is no line counts nothing."""
    path = tmp_path / "fraud.day"
    ledger = Ledger(path)
    assert ledger.take(10, 100) == 10
    with path.open("ab") as file:
        file.write(b"\n2/1")
    assert ledger.take(10, 100) == 10
    with path.open("ab") as file:
        file.write(b"\n\0\0\xff\n")
    assert ledger.left(100) == 80
    ledger.close()


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    lines=st.lists(st.from_regex(rb"-?[0-9]{1,3}(/[0-9]{1,3})?|[^\n]{0,5}", fullmatch=True)), limit=st.integers(0, 200)
)
def test_whatever_stands_in_a_ledger_no_more_than_the_limit_is_lent(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], limit: int
) -> None:
    """What is left lies between nothing and all."""
    path = tmp_path_factory.mktemp("ledger") / "day"
    path.write_bytes(b"".join(b"\n%s\n" % line for line in lines))
    ledger = Ledger(path)
    left = ledger.left(limit)
    assert 0 <= left <= limit
    assert ledger.take(left + 5, limit) == left
    assert ledger.left(limit) == 0
    ledger.close()
