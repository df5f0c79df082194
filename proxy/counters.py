"""Counters in shared memory: each process writes its own slot, the supervisor reads them all.

A process counts in an array of its own, which costs no more than a list, and copies it to its slot once an event-loop
turn in which something changed. A turn is where every transition is whole (a clone that left `waiting` is `in flight`),
so whatever the supervisor reads obeys the conservation laws. A sequence number in front of the slot, odd while the
copy runs, tells the reader to read again.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import tempfile
import time
from array import array
from bisect import bisect_left
from typing import Final

from proxy.layout import LATENCY_EDGES, Layout

_CELL: Final = 8
_ATTEMPTS: Final = 1000
_OVERFLOW: Final = len(LATENCY_EDGES)
_SUM: Final = len(LATENCY_EDGES) + 1


def shared_file(slots: int, layout: Layout) -> int:
    """A new file in memory with room for that many slots; its descriptor, for the processes to inherit."""
    length = slots * (layout.size + 1) * _CELL
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
    width = layout.size + 1
    return memory[index * width : (index + 1) * width]


class Counters:
    """One process's numbers. Change `cells` at places of the layout, then call `changed()` once."""

    def __init__(self, descriptor: int, index: int, layout: Layout, loop: asyncio.AbstractEventLoop) -> None:
        self.cells = array("q", bytes(layout.size * _CELL))
        self.layout = layout
        self._shared = _slot(descriptor, index, layout)
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
        """Copy all numbers to shared memory."""
        self._scheduled = False
        shared = self._shared
        shared[0] += 1
        shared[1:] = memoryview(self.cells)
        shared[0] += 1


class SharedCounters:
    """The supervisor's view of every slot."""

    def __init__(self, descriptor: int, slots: int, layout: Layout) -> None:
        self._slots = [_slot(descriptor, index, layout) for index in range(slots)]
        self._last = [[0] * layout.size for _ in range(slots)]

    def read(self, index: int) -> list[int]:
        """One slot's numbers as its process published them last, never half of one publication."""
        slot = self._slots[index]
        for _ in range(_ATTEMPTS):
            before = slot[0]
            numbers = array("q", slot.tobytes())
            if before % 2 == 0 and slot[0] == before:
                self._last[index] = numbers.tolist()[1:]
                break
            time.sleep(0.0001)  # the writer was preempted in the middle of its copy, or killed: then it stays so
        return self._last[index]


def buckets(numbers: list[int], place: int) -> tuple[list[int], float]:
    """A histogram's cumulative counts (one an edge, then all) and the sum in seconds."""
    counts = numbers[place : place + _OVERFLOW + 1]
    cumulative = [sum(counts[: index + 1]) for index in range(len(counts))]
    return cumulative, numbers[place + _SUM] / 1e9
