"""The counters that processes share: whole or not at all."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from configuration.reading import convert
from proxy.counters import Counters, SharedCounters, buckets, shared_file
from proxy.layout import FAMILIES, LATENCY_EDGES, Layout
from tests.proxy.planes import document

MADE = document("http://127.0.0.1:1", "http://127.0.0.1:2")
CONFIGURATION = convert(MADE, Path("/"), "test")

HAMMER = """
import asyncio, os, sys
from pathlib import Path
from configuration.reading import convert
from proxy.counters import Counters
from proxy.layout import Layout
from tests.proxy.test_counters import CONFIGURATION
loop = asyncio.new_event_loop()
counters = Counters(int(sys.argv[1]), int(sys.argv[2]), Layout(CONFIGURATION), loop)
size = len(counters.cells)
for number in range(1, 30_001):
    counters.cells[:] = type(counters.cells)("q", [number]) * size
    counters.publish()
"""


def test_a_reader_never_sees_half_a_publication() -> None:
    """Two processes publish as fast as they can, every cell the same number; so is every cell that is read."""
    layout = Layout(CONFIGURATION)
    descriptor = shared_file(2, layout)
    shared = SharedCounters(descriptor, 2, layout)
    processes = [
        subprocess.Popen([sys.executable, "-c", HAMMER, str(descriptor), str(slot)], pass_fds=[descriptor])
        for slot in range(2)
    ]
    seen: list[set[int]] = [set(), set()]
    while any(process.poll() is None for process in processes):
        for slot in range(2):
            numbers = shared.read(slot)
            assert len(set(numbers)) == 1
            seen[slot].add(numbers[0])
    assert [process.wait() for process in processes] == [0, 0]
    assert [set(shared.read(slot)) for slot in range(2)] == [{30_000}] * 2
    assert min(map(len, seen)) > 1
    os.close(descriptor)


KILLED = """
import asyncio, os, signal, sys
from proxy.counters import Counters
from proxy.layout import Layout
from tests.proxy.test_counters import CONFIGURATION

loop = asyncio.new_event_loop()
counters = Counters(int(sys.argv[1]), 0, Layout(CONFIGURATION), loop)
for number in range(1, int(sys.argv[2]) + 1):
    counters.cells[:] = type(counters.cells)("q", [number]) * len(counters.cells)
    counters.publish()
# The next publication, as far as half of its copy.
counters.cells[:] = type(counters.cells)("q", [-1]) * len(counters.cells)
half = len(counters.cells) // 2
counters._copies[counters._published + 1 & 1][:half] = memoryview(counters.cells)[:half]
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("publications", [0, 1, 2, 7])
def test_a_writer_killed_in_the_middle_leaves_its_last_whole_publication(publications: int) -> None:
    """For whoever reads it afterwards for the first time, too: nothing waits, nothing is half."""
    layout = Layout(CONFIGURATION)
    descriptor = shared_file(1, layout)
    writer = subprocess.run(
        [sys.executable, "-c", KILLED, str(descriptor), str(publications)], pass_fds=[descriptor], check=False
    )
    assert writer.returncode == -signal.SIGKILL
    shared = SharedCounters(descriptor, 1, layout)
    assert set(shared.read(0)) == {publications}
    shared.clear(0)
    assert set(shared.read(0)) == {0}
    os.close(descriptor)


async def test_what_changed_is_published_once_a_turn() -> None:
    """And not before the turn's end, where every transition is whole."""
    layout = Layout(CONFIGURATION)
    descriptor = shared_file(1, layout)
    counters = Counters(descriptor, 0, layout, asyncio.get_running_loop())
    shared = SharedCounters(descriptor, 1, layout)
    counters.cells[0] += 1
    counters.changed()
    counters.cells[1] += 1
    assert shared.read(0)[:2] == [0, 0]
    await asyncio.sleep(0)
    assert shared.read(0)[:2] == [1, 1]
    os.close(descriptor)


DURATIONS = {0.0: 0, 0.001: 0, 0.0011: 1, 0.5: LATENCY_EDGES.index(0.5), 31.0: len(LATENCY_EDGES)}


@pytest.mark.parametrize("seconds", DURATIONS)
async def test_a_duration_counts_in_every_bucket_it_is_not_above(seconds: float) -> None:
    """An edge belongs to its own bucket; the sum is in seconds."""
    layout = Layout(CONFIGURATION)
    descriptor = shared_file(1, layout)
    counters = Counters(descriptor, 0, layout, asyncio.get_running_loop())
    place = layout.place("inference_latency_seconds", "fraud", "v2", "production")
    counters.observe(place, seconds)
    counts, total = buckets(counters.cells.tolist(), place)
    assert counts == [int(index >= DURATIONS[seconds]) for index in range(len(LATENCY_EDGES) + 1)]
    assert total == pytest.approx(seconds)
    os.close(descriptor)


def test_every_series_has_places_of_its_own() -> None:
    """No two overlap, and none lies outside."""
    layout = Layout(CONFIGURATION)
    taken: list[int] = []
    for family in FAMILIES.values():
        for _, place in layout.series(family.name):
            taken += range(place, place + family.cells)
    assert sorted(taken) == list(range(layout.size))
