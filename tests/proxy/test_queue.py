"""One queue's decisions: what is next, what goes to disk, and what each step does to the numbers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration.reading import convert
from proxy.counters import Counters, shared_file
from proxy.emitter.batch import BATCH_BYTES, Batch, joined, records
from proxy.emitter.queue import Budget, EventQueue
from proxy.layout import LOSS_REASONS, Layout
from tests.proxy.planes import document

LABELS = ("fraud", "production")


class Desk:
    """A queue with a clock of its own, a disk that is a list, and a Kafka that is another."""

    def __init__(self, limit: int = 2**30) -> None:
        layout = Layout(convert(document("http://127.0.0.1:1", None), Path("/"), "test"))
        descriptor = shared_file(1, layout)
        self.counters = Counters(descriptor, 0, layout, asyncio.get_running_loop())
        os.close(descriptor)
        self.budget = Budget(limit)
        self.now = 0.0
        self.queue = EventQueue(*LABELS, self.counters, self.budget, lambda: self.now)  # type: ignore[arg-type]
        self.disk: list[Batch] = []
        self.being_written: list[Batch] = []
        self.kafka: list[int] = []
        self.offered = 0

    def number(self, family: str, *reason: str) -> int:
        """One counter."""
        return self.counters.cells[self.counters.layout.place(family, *LABELS, *reason)]

    def offer(self, count: int, size: int = 10) -> None:
        """So many events, numbered."""
        for _ in range(count):
            if self.queue.offer(b"%d" % self.offered + b" " * size, [], 0):
                self.offered += 1
            else:
                self.queue.lose(1, "queue_full")
        self.queue.show()

    def begin(self, older_than: float | None = None) -> None:
        """The spool begins to write."""
        self.being_written = self.queue.begin_writing(older_than)

    def end(self, worked: bool = True) -> None:
        """The spool has written, or has not."""
        if not self.being_written:
            return
        if worked:
            self.disk += self.being_written
            self.queue.written()
        else:
            self.queue.not_written()
        self.being_written = []
        self.remove()

    def head(self) -> Batch | None:
        """What is sent next, loaded from disk where it must be."""
        if not len(self.queue):
            return None
        head = self.queue.head()
        if head is None:
            self.remove()
            self.queue.loaded(joined(self.disk[:2]), len(self.disk[:2]), 0)
            head = self.queue.head()
        return head

    def acknowledge(self, batch: Batch) -> None:
        """Kafka has it."""
        self.kafka += numbers(batch)
        self.queue.delivered(batch)
        if not self.being_written:
            self.remove()

    def remove(self) -> None:
        """The spool removes what is delivered."""
        count, self.queue.removable = self.queue.removable, 0
        del self.disk[:count]


def numbers(batch: Batch) -> list[int]:
    """The events of a batch by their numbers."""
    return [int(value or b"") for _, value, _, _ in records(batch)]


async def test_an_event_goes_to_disk_once_it_is_too_old_and_then_all_that_come_after_it() -> None:
    """What is young and has nothing before it on disk stays in memory."""
    desk = Desk()
    desk.now = 10.0
    desk.offer(5)
    desk.begin(older_than=9.0)
    assert desk.being_written == []
    desk.begin(older_than=10.0)
    desk.end()
    assert (desk.number("events_spooled"), desk.number("events_waiting"), desk.budget.used) == (5, 5, 0)
    desk.now = 20.0
    desk.offer(3)
    desk.begin(older_than=0.0)
    desk.end()
    assert desk.number("events_spooled") == 8


async def test_what_is_under_way_while_it_is_written_is_delivered_once() -> None:
    """Acknowledged before, during or after the write: it leaves memory or disk, whichever has it."""
    for moment in ("before", "during", "after"):
        desk = Desk()
        desk.offer(4)
        head = desk.head()
        assert head is not None
        desk.offer(3)
        if moment == "before":
            desk.acknowledge(head)
        desk.begin()
        if moment == "during":
            desk.acknowledge(head)
        desk.end()
        if moment == "after":
            desk.acknowledge(head)
        assert desk.number("events_waiting") == 3
        rest = desk.head()
        assert rest is not None
        desk.acknowledge(rest)
        assert desk.kafka == list(range(7)), moment
        assert desk.disk == []


async def test_a_write_that_failed_leaves_everything_where_it_was() -> None:
    """In memory, in order, and counted there."""
    desk = Desk()
    desk.offer(4)
    used = desk.budget.used
    desk.begin()
    desk.offer(2)
    desk.end(worked=False)
    assert (desk.number("events_spooled"), desk.number("events_waiting")) == (0, 6)
    assert desk.budget.used > used > 0
    head = desk.head()
    assert head is not None
    assert numbers(head) == [0, 1, 2, 3]


async def test_a_spool_that_opens_late_never_removes_what_it_had_for_what_was_under_way() -> None:
    """The batch under way is written behind the older events, and delivered once more after them."""
    desk = Desk()
    desk.offer(2)
    head = desk.head()
    assert head is not None
    old = Desk()
    old.offer(5)
    desk.disk = [batch for batch in (old.head(),) if batch is not None]
    desk.queue.recovered(5)
    desk.begin()
    desk.acknowledge(head)
    desk.end()
    assert desk.number("events_waiting") == 7
    first = desk.head()
    assert first is not None
    assert len(numbers(first)) == 7


async def test_what_is_refused_as_too_large_is_halved_down_to_the_event_that_is() -> None:
    """Only that one is lost; later batches are smaller from the start."""
    desk = Desk()
    desk.offer(40, size=1000)
    refused = 0
    while (head := desk.head()) is not None:
        if 17 in numbers(head):
            desk.queue.too_large(head)
            refused += 1
        else:
            desk.acknowledge(head)
    assert desk.kafka == [number for number in range(40) if number != 17]
    assert desk.number("events_lost_total", "too_large") == 1
    assert refused < 8
    assert desk.budget.used == 0
    desk.offer(1000, size=1000)
    head = desk.head()
    assert head is not None
    assert head.size < BATCH_BYTES // 8


class Walk(Desk):
    """A desk at which things happen in any order; a step that cannot happen now does not."""

    def __init__(self) -> None:
        super().__init__(limit=300_000)
        self.under_way: Batch | None = None
        self.steps = {
            "offer": lambda: self.offer(3),
            "offer much": lambda: self.offer(300, size=500),
            "send": self.send,
            "acknowledge": self.answer,
            "refuse": self.refuse,
            "begin": lambda: None if self.being_written else self.begin(),
            "end": self.end,
            "fail": lambda: self.end(worked=False),
        }

    def send(self) -> None:
        """One batch at a time."""
        if self.under_way is None:
            self.under_way = self.head()

    def answer(self) -> None:
        """Kafka takes it."""
        if self.under_way is not None:
            self.acknowledge(self.under_way)
            self.under_way = None

    def refuse(self) -> None:
        """Kafka finds it too large."""
        if self.under_way is not None and self.under_way.count > 1:
            self.queue.too_large(self.under_way)
            self.under_way = None


STEPS = ("offer", "offer much", "send", "acknowledge", "refuse", "begin", "end", "fail")


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_in_whatever_order_things_happen_nothing_is_lost_or_overtaken(steps: list[str]) -> None:
    """And at each step received is delivered, lost or waiting, and nothing waits that is not there."""
    asyncio.run(_walk(steps))


async def _walk(steps: list[str]) -> None:
    walk = Walk()
    for step in steps:
        walk.steps[step]()
        _law(walk)
    walk.end()
    walk.answer()
    while (head := walk.head()) is not None:
        walk.acknowledge(head)
        _law(walk)
    assert walk.kafka == list(range(walk.offered))
    assert walk.budget.used == 0
    assert walk.disk == []


def _law(desk: Desk) -> None:
    lost = sum(desk.number("events_lost_total", reason) for reason in LOSS_REASONS)
    waiting, spooled = desk.number("events_waiting"), desk.number("events_spooled")
    assert desk.offered + lost == desk.number("events_delivered_total") + lost + waiting
    assert waiting == len(desk.queue) == desk.queue.held + desk.queue.stored
    assert spooled == desk.queue.stored
    assert desk.queue.filled.is_set() == bool(waiting)
    assert 0 <= desk.budget.used <= desk.budget.limit + 1000


@pytest.mark.parametrize("waits", [True, False])
async def test_the_queue_tells_whether_more_than_a_batch_to_be_filled_waits(waits: bool) -> None:
    """Which decides whether the delivery waits a moment for more."""
    desk = Desk()
    desk.offer(1000 if waits else 10, size=1000)
    assert desk.queue.full.is_set() == waits
