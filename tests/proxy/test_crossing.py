"""What is lost in a socket when one of its ends dies, and when that is known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.supervision.crossing import ACCEPT_SECONDS, READ_SECONDS, SHOW_SECONDS, Crossing
from tests.proxy.test_totals import LABELS, House, Part, check_laws


class Way:
    """One emitter and its workers, with a clock in hand."""

    def __init__(self) -> None:
        self.house = House()
        self.crossing = Crossing(self.house.shared, self.house.emitter_slot, self.house.totals)
        self.emitter = self.emitter_begins()

    def emitter_begins(self, ready: float = 0.0) -> Part:
        """An emitter that accepts streams from then on."""
        self.crossing.emitter_began()
        emitter = self.house.emitter()
        self.crossing.emitter_ready(ready)
        return emitter

    def emitter_dies(self) -> None:
        """It does, and the supervisor hears of it."""
        self.crossing.emitter_ended()
        self.emitter.ends()

    def worker_begins(self, slot: int = 0, link: int = 1) -> Part:
        """A worker that is connected to the emitter, which has heard of it."""
        worker = self.house.worker(slot)
        self.crossing.worker_began(slot)
        self.crossing.worker_ready(slot)
        worker.counts(emitter_link=link)
        self.emitter.counts(str(slot), emitter_streams=1)
        return worker

    def worker_dies(self, worker: Part, slot: int = 0, now: float = 100.0) -> None:
        """It does, and the supervisor hears of it."""
        self.crossing.worker_ended(slot, now)
        worker.ends()

    def lost(self) -> int:
        """What is counted as lost by a crash, with the laws looked at."""
        check_laws(self.house.totals.numbers())
        return self.house.number("events_lost_total", *LABELS, "crash")

    def waiting(self) -> int:
        """What is on its way."""
        return self.house.number("events_waiting", *LABELS)


@pytest.fixture
def way() -> Iterator[Way]:
    """One."""
    made = Way()
    yield made
    made.house.close()


def hands(worker: Part, count: int) -> None:
    """A worker captures so many and hands them over."""
    worker.counts(*LABELS, events_captured_total=count, events_handed=count)


def receives(emitter: Part, count: int, slot: int = 0) -> None:
    """The emitter receives and delivers so many of one worker's."""
    emitter.prepares(str(slot), *LABELS, events_received=count)
    emitter.counts(*LABELS, events_delivered_total=count)


def test_what_a_dead_worker_handed_over_is_lost_once_its_stream_is_read_to_its_end(way: Way) -> None:
    """Not before: the emitter may still read it."""
    worker = way.worker_begins()
    hands(worker, 10)
    receives(way.emitter, 6)
    way.worker_dies(worker)
    assert way.crossing.look(200.0) == []
    assert (way.lost(), way.waiting()) == (0, 4)
    receives(way.emitter, 1)
    way.emitter.counts("0", emitter_streams=-1)
    assert way.crossing.look(200.0) == []
    assert (way.lost(), way.waiting()) == (3, 0)
    assert not way.crossing.unsettled


def test_a_slot_is_free_again_when_its_lane_is_accounted_for(way: Way) -> None:
    """The next worker in it begins with nothing outstanding, whatever the emitter received of the last."""
    worker = way.worker_begins()
    hands(worker, 5)
    receives(way.emitter, 5)
    assert way.crossing.free_slot() == 1
    way.worker_dies(worker)
    way.crossing.look(100.0)
    assert way.crossing.free_slot() == 0
    again = way.worker_begins()
    hands(again, 3)
    assert way.waiting() == 3
    receives(way.emitter, 3)
    way.worker_dies(again)
    way.crossing.look(100.0)
    assert (way.lost(), way.waiting()) == (0, 0)


def test_a_stream_that_the_emitter_has_not_accepted_yet_is_waited_for(way: Way) -> None:
    """A new emitter finds in its socket what was handed over before it began, by workers that died since too."""
    way.emitter_dies()
    worker = way.house.worker(0)
    way.crossing.worker_began(0)
    worker.counts(emitter_link=2)
    hands(worker, 4)
    way.worker_dies(worker, now=100.0)
    way.crossing.look(150.0)
    assert (way.lost(), way.waiting()) == (0, 4)
    way.emitter = way.emitter_begins(ready=151.0)
    way.crossing.look(151.0 + ACCEPT_SECONDS / 2)
    assert way.waiting() == 4
    receives(way.emitter, 4)
    way.crossing.look(151.0 + ACCEPT_SECONDS / 2)
    assert (way.lost(), way.waiting(), way.crossing.unsettled) == (0, 0, False)


def test_a_stream_that_nobody_accepts_is_lost_in_the_end(way: Way) -> None:
    """It died with an emitter that had accepted it and told nobody."""
    worker = way.house.worker(0)
    way.crossing.worker_began(0)
    hands(worker, 4)
    way.worker_dies(worker, now=100.0)
    way.crossing.look(100.0 + READ_SECONDS / 2)
    assert way.waiting() == 4
    way.crossing.look(100.0 + READ_SECONDS)
    assert (way.lost(), way.waiting()) == (4, 0)


def test_what_a_dead_emitter_did_not_receive_is_lost_when_its_workers_have_noticed(way: Way) -> None:
    """From then on they hand nothing over; only then are they shown the next one."""
    worker = way.worker_begins()
    hands(worker, 10)
    receives(way.emitter, 6)
    way.emitter_dies()
    hands(worker, 2)
    assert way.crossing.look(100.0) == []
    assert (way.lost(), way.waiting()) == (0, 6)
    worker.counts(emitter_link=-1)
    assert way.crossing.look(100.0) == [0]
    assert (way.lost(), way.waiting()) == (6, 0)
    assert way.crossing.look(100.0 + SHOW_SECONDS / 2) == []
    assert way.crossing.look(100.0 + SHOW_SECONDS) == [0]
    way.emitter = way.emitter_begins()
    worker.counts(emitter_link=2)
    hands(worker, 3)
    assert way.crossing.look(200.0) == []
    assert (way.lost(), way.waiting()) == (6, 3)


def test_a_worker_that_waits_for_the_next_emitter_hands_over_meanwhile(way: Way) -> None:
    """Its stream stands in the socket that both emitters share, and nothing of it is lost."""
    worker = way.worker_begins()
    way.emitter_dies()
    worker.counts(emitter_link=-1)
    way.crossing.look(100.0)
    worker.counts(emitter_link=2)
    hands(worker, 8)
    way.crossing.look(100.1)
    way.emitter = way.emitter_begins(ready=100.2)
    receives(way.emitter, 8)
    way.crossing.look(100.3)
    assert (way.lost(), way.waiting()) == (0, 0)


def test_when_all_have_ended_what_is_outstanding_is_lost(way: Way) -> None:
    """A stop that killed both."""
    worker, other = way.worker_begins(0), way.worker_begins(1)
    hands(worker, 7)
    hands(other, 2)
    receives(way.emitter, 2, slot=1)
    way.worker_dies(worker, 0)
    way.worker_dies(other, 1)
    way.emitter_dies()
    way.crossing.close()
    assert (way.lost(), way.waiting()) == (7, 0)
