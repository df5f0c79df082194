"""Counters in shared memory: each process writes its own slot, the supervisor reads them all.

A process counts in an array of its own, which costs no more than a list, and copies it to its slot once an event-loop
turn in which something changed. A turn is where every transition is whole (a clone that left `waiting` is `in flight`),
so whatever the supervisor reads obeys the conservation laws.

A slot holds two copies, written in turn, and in front of them the number of the last whole publication, whose last bit
says which copy that is. So a process that is killed in the middle of a publication leaves the one before it readable,
and a reader sees by the number whether its copy was overwritten under it.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import tempfile
from array import array
from bisect import bisect_left
from typing import Final

from proxy.layout import LATENCY_EDGES, Layout

_CELL: Final = 8
_OVERFLOW: Final = len(LATENCY_EDGES)
_SUM: Final = len(LATENCY_EDGES) + 1


def shared_file(slots: int, layout: Layout) -> int:
    """A new file in memory with room for that many slots; its descriptor, for the processes to inherit."""
    length = slots * _width(layout) * _CELL
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("shadowdrift-counters", 0)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, length)
    os.set_inheritable(descriptor, True)
    return descriptor


def _slot(descriptor: int, index: int, layout: Layout) -> memoryview[int]:
    memory = memoryview(mmap.mmap(descriptor, 0)).cast("q")
    width = _width(layout)
    return memory[index * width : (index + 1) * width]


def _width(layout: Layout) -> int:
    return 1 + 2 * layout.size


def _copies(slot: memoryview[int], layout: Layout) -> tuple[memoryview[int], memoryview[int]]:
    return slot[1 : 1 + layout.size], slot[1 + layout.size :]


class Counters:
    """One process's numbers. Change `cells` at places of the layout, then call `changed()` once."""

    def __init__(self, descriptor: int, index: int, layout: Layout, loop: asyncio.AbstractEventLoop) -> None:
        self.cells = array("q", bytes(layout.size * _CELL))
        self.layout = layout
        self._own = memoryview(self.cells)
        self._shared = _slot(descriptor, index, layout)
        self._copies = _copies(self._shared, layout)
        self._published = self._shared[0]
        self._loop = loop
        self._scheduled = False

    def changed(self) -> None:
        """Publish at the end of this turn of the event loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.publish)

    def observe(self, place: int, seconds: float) -> None:
        """Count one duration in the histogram at `place`."""
        self.cells[place + bisect_left(LATENCY_EDGES, seconds)] += 1
        self.cells[place + _SUM] += int(seconds * 1e9)

    def publish(self) -> None:
        """Copy all numbers to shared memory: first the copy that nobody reads, then the number that turns to it."""
        self._scheduled = False
        self._published += 1
        self._copies[self._published & 1][:] = self._own
        self._shared[0] = self._published


class SharedCounters:
    """The supervisor's view of every slot."""

    def __init__(self, descriptor: int, slots: int, layout: Layout) -> None:
        self.layout = layout
        self._slots = [_slot(descriptor, index, layout) for index in range(slots)]
        self._copies = [_copies(slot, layout) for slot in self._slots]

    def read(self, index: int) -> list[int]:
        """One slot's numbers as its process published them last, never half of one publication."""
        slot, copies = self._slots[index], self._copies[index]
        while True:
            published = slot[0]
            numbers = copies[published & 1].tolist()
            if slot[0] == published:  # else the writer may have come round to this copy again
                return numbers

    def clear(self, index: int) -> None:
        """Make a slot ready for another process; the one that wrote it has ended."""
        for copy in self._copies[index]:
            copy[:] = memoryview(array("q", bytes(self.layout.size * _CELL)))


def buckets(numbers: list[int], place: int) -> tuple[list[int], float]:
    """A histogram's cumulative counts (one an edge, then all) and the sum in seconds."""
    counts = numbers[place : place + _OVERFLOW + 1]
    cumulative = [sum(counts[: index + 1]) for index in range(len(counts))]
    return cumulative, numbers[place + _SUM] / 1e9
