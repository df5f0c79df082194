"""What stays of processes that end: counters add up, gauges become losses, and the laws hold at every look."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration.reading import convert
from proxy.counters import Counters, SharedCounters, shared_file
from proxy.layout import Layout, worker_slots
from proxy.supervision.totals import Numbers, Process, Totals
from tests.proxy.planes import document

LABELS = ("fraud", "production")


class House:
    """Totals, and processes that count in memory alone."""

    def __init__(self, made: dict[str, object] | None = None, totals: Totals | None = None) -> None:
        configuration = convert(made or document("http://127.0.0.1:1", "http://127.0.0.1:2"), Path("/"), "test")
        self.layout = Layout(configuration)
        self.emitter_slot = worker_slots(configuration)
        self._file = shared_file(self.emitter_slot + 1, self.layout)
        self.shared = SharedCounters(self._file, self.emitter_slot + 1, self.layout)
        self.totals = totals or Totals()
        self._loop = asyncio.new_event_loop()

    def worker(self, slot: int = 0) -> Part:
        """A worker that begins."""
        return Part(self, Process("worker", self.shared, slot))

    def emitter(self) -> Part:
        """An emitter that begins."""
        return Part(self, Process("emitter", self.shared, self.emitter_slot))

    def close(self) -> None:
        """Give the memory back."""
        self._loop.close()
        os.close(self._file)

    def counters(self, slot: int) -> Counters:
        """What the process in a slot counts in."""
        return Counters(self._file, slot, self.layout, self._loop)

    def number(self, family: str, *labels: str) -> int:
        """One number of the totals now."""
        return self.totals.numbers()[(family, *labels)][0]


class Part:
    """One process."""

    def __init__(self, house: House, process: Process) -> None:
        self._house = house
        self.process = process
        house.shared.clear(process.slot)
        self._counters = house.counters(process.slot)
        house.totals.begin(process)

    def prepares(self, *labels: str, **numbers: int) -> None:
        """Add to some of its numbers."""
        for family, number in numbers.items():
            self._counters.cells[self._house.layout.place(family, *labels)] += number

    def counts(self, *labels: str, **numbers: int) -> None:
        """Add to some of its numbers, and publish."""
        self.prepares(*labels, **numbers)
        self._counters.publish()

    def ends(self) -> None:
        """It does, however."""
        self._house.totals.end(self.process)


@pytest.fixture
def house() -> Iterator[House]:
    """One for the test."""
    made = House()
    yield made
    made.close()


def check_laws(numbers: Numbers) -> None:
    """For every model and role."""

    def total(family: str, *labels: str) -> int:
        return sum(
            cells[0] for key, cells in numbers.items() if key[0] == family and key[1 : 1 + len(labels)] == labels
        )

    for key in [key for key in numbers if key[0] == "events_captured_total"]:
        labels = key[1:]
        waiting = total("events_waiting", *labels)
        assert waiting >= 0
        assert (
            numbers[key][0] == total("events_delivered_total", *labels) + total("events_lost_total", *labels) + waiting
        )
    sent = total("mirror_sent_total")
    dropped = total("mirror_dropped_total") + total("mirror_log_only_total")
    assert total("mirror_sampled_total") == sent + dropped + total("mirror_waiting")
    assert sent == total("mirror_completed_total") + total("mirror_failed_total") + total("mirror_in_flight")


def test_what_is_between_two_processes_is_waiting(house: House) -> None:
    """Handed over by a worker and not yet received: in the socket, and in the gauge."""
    worker, emitter = house.worker(), house.emitter()
    worker.counts(*LABELS, events_captured_total=10, events_handed=7, events_waiting=3)
    emitter.counts("0", *LABELS, events_received=5)
    emitter.counts(*LABELS, events_waiting=4, events_delivered_total=1)
    assert house.number("events_waiting", *LABELS) == 3 + 4 + 2
    check_laws(house.totals.numbers())


def test_a_dead_workers_counters_stay_and_its_gauges_become_losses(house: House) -> None:
    """Whatever it held nobody can account for; what another counts is added."""
    worker = house.worker()
    worker.counts("fraud", mirror_sampled_total=9, mirror_sent_total=6, mirror_completed_total=4, mirror_in_flight=2)
    worker.counts("fraud", mirror_waiting=3)
    worker.counts(*LABELS, events_captured_total=5, events_waiting=5)
    worker.counts("fraud", "v2", "production", inference_in_flight=3)
    before = house.totals.numbers()
    worker.ends()
    after = house.totals.numbers()
    check_laws(after)
    assert after[("mirror_dropped_total", "fraud", "crash")] == [3]
    assert after[("mirror_failed_total", "fraud", "crash")] == [2]
    assert after[("events_lost_total", *LABELS, "crash")] == [5]
    assert after[("inference_in_flight", "fraud", "v2", "production")] == [0]
    assert before.keys() == after.keys()
    again = house.worker()
    again.counts("fraud", mirror_sampled_total=1, mirror_waiting=1)
    assert house.number("mirror_sampled_total", "fraud") == 10
    check_laws(house.totals.numbers())


def test_a_histogram_of_the_dead_stays(house: House) -> None:
    """Bucket by bucket, and the sum."""
    process = Process("worker", house.shared, 0)
    house.shared.clear(0)
    house.totals.begin(process)
    counters = house.counters(0)
    place = house.layout.place("inference_latency_seconds", "fraud", "v2", "production")
    counters.observe(place, 0.002)
    counters.publish()
    before = house.totals.numbers()
    house.totals.end(process)
    key = ("inference_latency_seconds", "fraud", "v2", "production")
    assert house.totals.numbers()[key] == before[key]
    assert sum(before[key]) == 1 + 2_000_000


RECOVERIES = {"all of it": 7, "a part of it": 4, "none": 0, "more, of an earlier run": 12}


@pytest.mark.parametrize("recovered", RECOVERIES.values(), ids=RECOVERIES)
def test_what_an_emitter_left_waits_until_the_next_has_read_the_spool(house: House, recovered: int) -> None:
    """Then what was not found is lost, and what is found beyond it is captured anew."""
    worker, emitter = house.worker(), house.emitter()
    worker.counts(*LABELS, events_captured_total=10, events_handed=10)
    emitter.counts("0", *LABELS, events_received=10)
    emitter.prepares(spool_read=1)
    emitter.counts(*LABELS, events_waiting=7, events_delivered_total=3)
    emitter.ends()
    assert house.number("events_waiting", *LABELS) == 7
    following = house.emitter()
    assert house.number("events_waiting", *LABELS) == 7
    following.counts(*LABELS, events_recovered=recovered, events_waiting=recovered)
    check_laws(house.totals.numbers())
    following.counts(spool_read=1)
    numbers = house.totals.numbers()
    check_laws(numbers)
    assert numbers[("events_waiting", *LABELS)] == [recovered]
    assert numbers[("events_lost_total", *LABELS, "crash")] == [max(0, 7 - recovered)]
    assert numbers[("events_captured_total", *LABELS)] == [max(10, 3 + recovered)]
    following.counts(*LABELS, events_waiting=-recovered, events_delivered_total=recovered)
    following.ends()
    check_laws(house.totals.numbers())
    assert house.number("events_waiting", *LABELS) == 0


def test_an_emitter_that_has_the_spool_tells_that_its_predecessor_has_ended(house: House) -> None:
    """The kernel has let the lock go before anybody has heard of the end: nothing counts twice meanwhile."""
    other = House(totals=house.totals)
    former = house.emitter()
    house.worker().counts(*LABELS, events_captured_total=6, events_handed=6)
    former.prepares(spool_read=1)
    former.counts("0", *LABELS, events_received=6)
    former.counts(*LABELS, events_waiting=6)
    following = other.emitter()
    assert house.number("events_waiting", *LABELS) == 6
    following.counts(*LABELS, events_recovered=6, events_waiting=6)
    following.counts(spool_read=1)
    assert house.number("events_captured_total", *LABELS) == 6
    assert house.number("events_waiting", *LABELS) == 6
    former.ends()
    check_laws(house.totals.numbers())
    assert house.number("events_captured_total", *LABELS) == 6
    other.close()


def test_an_emitter_that_waits_for_the_spool_runs_on_whoever_has_it(house: House) -> None:
    """Also when one that was started after it was first to get the lock; it goes on delivering, and dies as it does."""
    other = House(totals=house.totals)
    house.worker().counts(*LABELS, events_captured_total=9, events_handed=9)
    waiting = house.emitter()
    waiting.counts("0", *LABELS, events_received=9)
    waiting.counts(*LABELS, events_waiting=9)
    holder = other.emitter()
    holder.prepares(spool_read=1)
    holder.counts(*LABELS, events_recovered=2, events_waiting=2)
    assert house.number("events_waiting", *LABELS) == 9 + 2
    waiting.counts(*LABELS, events_waiting=-4, events_delivered_total=4)
    check_laws(house.totals.numbers())
    assert house.number("events_waiting", *LABELS) == 5 + 2
    waiting.ends()
    check_laws(house.totals.numbers())
    assert house.number("events_lost_total", *LABELS, "crash") == 5
    assert house.number("events_captured_total", *LABELS) == 9 + 2
    assert house.number("events_waiting", *LABELS) == 2
    other.close()


def test_series_of_a_version_that_has_gone_stay_as_they_were(house: House) -> None:
    """So that sums never fall; another generation's new ones stand beside them."""
    house.worker().counts("fraud", "v1", "shadow", "2xx", "ok", inference_requests_total=5)
    other = House(document("http://127.0.0.1:1", None), house.totals)
    other.worker().counts("fraud", "v2", "production", "2xx", "ok", inference_requests_total=2)
    house.totals.end(Process("worker", house.shared, 0))
    assert house.number("inference_requests_total", "fraud", "v1", "shadow", "2xx", "ok") == 5
    assert house.number("inference_requests_total", "fraud", "v2", "production", "2xx", "ok") == 2
    other.close()


class Life:
    """A random history of workers and emitters, each step keeping each process's own law."""

    def __init__(self) -> None:
        self.house = House()
        self.workers = {0: self.house.worker(0)}
        self.emitter = self.house.emitter()
        self.emitter.counts(spool_read=1)
        self.socket = 0
        self.queued = 0

    def step(self, what: str, count: int) -> None:
        """One thing happens."""
        if what == "capture":
            self.workers[0].counts(*LABELS, events_captured_total=count, events_handed=count)
            self.socket += count
        elif what == "receive":
            received = min(count, self.socket)
            self.emitter.prepares("0", *LABELS, events_received=received)
            self.emitter.counts(*LABELS, events_waiting=received)
            self.socket -= received
            self.queued += received
        elif what == "deliver":
            delivered = min(count, self.queued)
            self.emitter.counts(*LABELS, events_waiting=-delivered, events_delivered_total=delivered)
            self.queued -= delivered
        elif what == "worker dies":
            self.workers[0].ends()
            self.workers[0] = self.house.worker(0)
        else:
            self.emitter.ends()
            self.emitter = self.house.emitter()
            recovered = max(0, self.queued + count - 10)
            self.emitter.prepares(spool_read=1)
            self.emitter.counts(*LABELS, events_recovered=recovered, events_waiting=recovered)
            self.queued = recovered


STEPS = st.tuples(st.sampled_from(["capture", "receive", "deliver", "worker dies", "emitter dies"]), st.integers(0, 20))


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_no_history_breaks_a_law_or_takes_a_counter_back(steps: list[tuple[str, int]]) -> None:
    """Captured, delivered, recovered, lost: whatever dies when."""
    life = Life()
    before = life.house.totals.numbers()
    for what, count in steps:
        life.step(what, count)
        now = life.house.totals.numbers()
        check_laws(now)
        for key in now:
            if key[0].endswith("_total"):
                assert now[key] >= before[key], key
        before = now
    life.house.close()
