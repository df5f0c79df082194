"""What the proxy has counted since its start: by the processes that run, and what stays of those that have ended.

A counter never decreases: the last publication of a process that has ended is added to what is kept. Its gauges vanish,
and what stood in them, clones and events that nobody can bring to an end any more, becomes a loss with the reason
`crash`; so the conservation laws hold over every crash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from proxy.counters import SharedCounters
from proxy.layout import FAMILIES, Key

Part = Literal["worker", "emitter"]
PARTS: Final[tuple[Part, ...]] = ("worker", "emitter")

Numbers: TypeAlias = dict[Key, list[int]]
"""The cells of every series."""

_CRASH: Final = "crash"
_OF_THE_SPOOL: Final = frozenset({"spool_read", "events_recovered"})
_KEPT: Final = frozenset(family.name for family in FAMILIES.values() if family.kind in {"counter", "histogram"}) | {
    "events_handed",
    "events_received",
}


@dataclass(frozen=True)
class Process:
    """A worker or an emitter, and where it publishes what it counts."""

    part: Part
    shared: SharedCounters
    slot: int

    def cells(self) -> list[int]:
        """Its numbers as it published them last."""
        return self.shared.read(self.slot)

    def entries(self) -> Iterator[tuple[Key, list[int]]]:
        """Every series with its cells, all of one publication."""
        cells = self.cells()
        for key, family, place in self.shared.layout.entries():
            yield key, cells[place : place + family.cells]


class Totals:
    """The sums, over processes and over generations of them; series are told apart by their labels alone.

    Emitters hand the spool on: what its holder left waiting when it ended stays waiting until the next has read it.
    Then what was not found there is lost, and what was found beyond it are events of an earlier run of the proxy. What
    an emitter held that never had the spool is lost when it dies.
    """

    def __init__(self) -> None:
        self.restarts: Counter[Part] = Counter()
        self._kept: Numbers = {}
        self._running: dict[Process, None] = {}
        self._left: Counter[Key] = Counter()
        self._settled: set[Process] = set()
        """Emitters whose reading of the spool is accounted for."""

    def begin(self, process: Process) -> None:
        """Count what this process counts; its slot is empty."""
        self._running[process] = None
        for key, cells in process.entries():  # a series stands from its first appearance
            self._kept.setdefault(key, [0] * len(cells))

    def end(self, process: Process) -> None:
        """A process has ended: keep its counters, and make what it held a loss, or what is left in the spool."""
        if process not in self._running:
            return
        numbers = dict(process.entries())
        had_spool = process.part == "emitter" and self._settle(process, numbers)
        del self._running[process]
        self._settled.discard(process)
        for key, cells in numbers.items():
            if key[0] in _KEPT:
                _add(self._kept, key, cells)
            elif key[0] == "events_waiting" and had_spool:
                self._left[key[1:]] += cells[0]
            elif key[0] == "events_waiting":
                self._lose("events_lost_total", key[1:], cells[0])
            elif key[0] == "mirror_waiting":
                self._lose("mirror_dropped_total", key[1:], cells[0])
            elif key[0] == "mirror_in_flight":
                self._lose("mirror_failed_total", key[1:], cells[0])

    def lose_handed(self, labels: Key, count: int) -> None:
        """So many that workers handed over no emitter has received, or ever will; a worker or an emitter has died."""
        _add(self._kept, ("events_handed", *labels), [-count])
        self._lose("events_lost_total", labels, count)

    def numbers(self) -> Numbers:
        """Everything in one instant.

        The emitters are read before the workers: so the sockets between them, measured by their two ends, never hold
        less than nothing. What a worker has handed over after the emitter was read counts as being on the way.
        """
        emitters = self._emitters()
        workers = [dict(process.entries()) for process in self._running if process.part == "worker"]
        total = {key: list(cells) for key, cells in self._kept.items()}
        left = self._left.copy()
        for process, numbers in emitters.items():
            if process not in self._settled:
                self._find(numbers, total, left)
        for numbers in (*emitters.values(), *workers):
            for key, cells in numbers.items():
                _add(total, key, cells)
        for labels, count in left.items():
            _add(total, ("events_waiting", *labels), [count])
        for key in [key for key in total if key[0] == "events_handed"]:
            _add(total, ("events_waiting", *key[1:]), total[key])
        for key in [key for key in total if key[0] == "events_received"]:
            _add(total, ("events_waiting", *key[2:]), [-total[key][0]])
        return total

    def sum(self, family: str) -> int:
        """One family over all its labels."""
        return sum(cells[0] for key, cells in self.numbers().items() if key[0] == family)

    def _emitters(self) -> dict[Process, Numbers]:
        """Every emitter's numbers.

        One that has the spool holds its lock, so whichever had it before has ended, though nobody may have heard of it:
        the lock is the kernel's. One that never had the spool may well run on.
        """
        found = {process: dict(process.entries()) for process in self._running if process.part == "emitter"}
        holders = [process for process, numbers in found.items() if _has_spool(numbers)]
        holders.sort(key=lambda process: process not in self._settled)  # whose reading is known had it first
        for former in holders[:-1]:
            self.end(former)
            del found[former]
        for holder in holders[-1:]:
            if found[holder][("spool_read",)][0]:
                self._settle(holder, found[holder])
        return found

    def _settle(self, process: Process, numbers: Numbers) -> bool:
        """Account for what an emitter found in the spool, for good: it has read it, or has ended. Whether it had it."""
        if process not in self._settled:
            self._find(numbers, self._kept, self._left)
            self._settled.add(process)
        return _has_spool(numbers)

    @staticmethod
    def _find(numbers: Numbers, total: Numbers, left: Counter[Key]) -> None:
        """Set what an emitter has found in the spool against what its predecessors left there."""
        read = numbers[("spool_read",)][0]
        for key, (found,) in ((key, cells) for key, cells in numbers.items() if key[0] == "events_recovered"):
            labels = key[1:]
            _add(total, ("events_captured_total", *labels), [max(0, found - left[labels])])
            left[labels] = max(0, left[labels] - found)
            if read:
                _add(total, ("events_lost_total", *labels, _CRASH), [left[labels]])
                left[labels] = 0

    def _lose(self, family: str, labels: Key, count: int) -> None:
        _add(self._kept, (family, *labels, _CRASH), [count])


def _has_spool(numbers: Numbers) -> bool:
    return any(cells[0] for key, cells in numbers.items() if key[0] in _OF_THE_SPOOL)


def _add(numbers: Numbers, key: Key, cells: list[int]) -> None:
    known = numbers.get(key)
    numbers[key] = list(cells) if known is None else [one + other for one, other in zip(known, cells, strict=True)]
