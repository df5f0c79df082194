"""`make kill-exporter`: a hundred kills of exporters on a real Kafka, each followed by a comparison of every gauge.

Each of the named points in turn, while a process begins, and at random moments; events come at 1,000 a second and all
exporters are scraped twenty times a second throughout. After each kill a new exporter starts, catches up, and its
gauges are compared with those of an intake that has read the same topics without interruption. Every tenth kill is one
of three exporters. Results: `bench/results/kills.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.exporters import Fleet, Process
from tests.support.kafka import Kafka
from tests.support.mortal_exporter import AT_START, POINTS

RESULTS = Path(__file__).parent / "results" / "kills.json"
EVENTS_A_SECOND = 1_000
RANDOM = "random"
SESSION_SECONDS = 6.0


class Kills:
    """The run and what it has found."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self.by_point: Counter[str] = Counter()
        self.restarts: list[float] = []
        """Seconds from a process's start until it is ready, after another was killed."""
        self.differing: list[str] = []
        """What was compared and was not the same."""
        self._chance = random.Random(seed)

    async def compare(self) -> None:
        """Every gauge with the uninterrupted run's."""
        try:
            await self.fleet.same()
        except AssertionError as error:
            self.differing.append(str(error))

    async def kill(self, point: str) -> None:
        """Start an exporter, and have it die at a point."""
        passes = 1 if point in {"rebalance", "first state"} else self._chance.randrange(1, 5)
        process = await self.fleet.start(point, passes, armed=point in AT_START)
        async with self.fleet.fed_and_scraped(EVENTS_A_SECOND):
            await self._die(process, point)
            await self._back()
        await self.compare()
        for each in self.fleet.processes:
            await each.end(signal.SIGKILL)
        self.by_point[point] += 1

    async def kill_one_of_three(self) -> None:
        """One dies at random; the others take over, and are stopped in order."""
        three = [await self.fleet.start() for _ in range(3)]
        for each in three:
            await self.fleet.ready(each)
        async with self.fleet.fed_and_scraped(EVENTS_A_SECOND):
            await asyncio.sleep(self._chance.uniform(0, 3))
            await self._chance.choice(three).end(signal.SIGKILL)
            await asyncio.sleep(SESSION_SECONDS)
        await self.compare()
        for each in self.fleet.processes:
            if each.alive:
                await each.end()
        self.by_point["one of three"] += 1

    async def _die(self, process: Process, point: str) -> None:
        if point not in AT_START:
            await self.fleet.ready(process)
            if point == RANDOM:
                await asyncio.sleep(self._chance.uniform(0, 2))
                process.send(signal.SIGKILL)
            else:
                process.send(signal.SIGUSR1)
            if point == "reload":
                self.fleet.describe(f"as of kill {self.by_point.total()}")
            if point == "rebalance":  # a second one comes
                other = await self.fleet.start()
                await asyncio.wait_for(process.process.wait(), 60)
                await other.end(signal.SIGKILL)
        await asyncio.wait_for(process.process.wait(), 60)

    async def _back(self) -> None:
        process = await self.fleet.start()
        self.restarts.append(await self.fleet.ready(process))


async def bench(kills: int, folder: Path, seed: int) -> dict[str, Any]:
    """So many kills."""
    # A real broker's bound on sessions, not the tests' shorter one.
    broker = Kafka(folder / "kafka", {"group.min.session.timeout.ms": "6000"})
    await asyncio.to_thread(broker.start)
    try:
        async with aiohttp.ClientSession() as http:
            fleet = Fleet(folder, broker.bootstrap_servers, http, seed)
            await fleet.open()
            try:
                run = Kills(fleet, seed)
                points = (*POINTS, *AT_START, RANDOM)
                for number in range(kills):
                    if number % 10 == 9:
                        await run.kill_one_of_three()
                    else:
                        await run.kill(points[number % len(points)])
                    sys.stderr.write(f"\r{number + 1} kills, {len(fleet.watch.faults)} faults ")
            finally:
                await fleet.close()
    finally:
        broker.kill()
    restarts = sorted(run.restarts)
    return {
        "kills": run.by_point.total(),
        "by_point": dict(sorted(run.by_point.items())),
        "comparisons_that_differ": run.differing,
        "scrapes": fleet.watch.scrapes,
        "faults_of_scrapes": fleet.watch.faults,
        "events_a_second": EVENTS_A_SECOND,
        "restart_seconds": {
            "median": round(statistics.median(restarts), 2),
            "p95": round(restarts[int(0.95 * (len(restarts) - 1))], 2),
            "max": round(restarts[-1], 2),
        },
    }


def main() -> int:
    """Run, print, keep."""
    parser = argparse.ArgumentParser(prog="make kill-exporter", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(bench(options.kills, Path(folder), options.seed))
    options.output.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(f"\n{json.dumps(found, indent=1)}\n")
    return 1 if found["faults_of_scrapes"] or found["comparisons_that_differ"] else 0


if __name__ == "__main__":
    sys.exit(main())
