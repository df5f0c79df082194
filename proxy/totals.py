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

    Emitters hand the spool on: what one left waiting when it ended stays waiting until the next has read the spool.
    Then what was not found there is lost, and what was found beyond it are events of an earlier run of the proxy.
    """

    def __init__(self) -> None:
        self.restarts: Counter[Part] = Counter()
        self._kept: Numbers = {}
        self._running: dict[Process, None] = {}
        self._left: Counter[Key] = Counter()

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
        if process.part == "emitter":
            self._find(numbers, self._kept, self._left)
        del self._running[process]
        for key, cells in numbers.items():
            if key[0] in _KEPT:
                _add(self._kept, key, cells)
            elif key[0] == "events_waiting" and process.part == "emitter":
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
        for numbers in emitters:
            self._find(numbers, total, left)
        for numbers in (*emitters, *workers):
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

    def _emitters(self) -> list[Numbers]:
        """Every emitter's numbers, in the order of their start, each read before those of its predecessor.

        One that has read the spool holds its lock, so its predecessors have ended, though nobody may have heard of it.
        """
        found: list[Numbers] = []
        has_spool = False
        for process in [process for process in self._running if process.part == "emitter"][::-1]:
            if has_spool:
                self.end(process)
                continue
            found.append(dict(process.entries()))
            has_spool = any(cells[0] for key, cells in found[-1].items() if key[0] in _OF_THE_SPOOL)
        return found[::-1]

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


def _add(numbers: Numbers, key: Key, cells: list[int]) -> None:
    known = numbers.get(key)
    numbers[key] = list(cells) if known is None else [one + other for one, other in zip(known, cells, strict=True)]
