"""What an event costs the emitter: captured exchanges over its socket, events acknowledged by a real Apache Kafka.

`make bench-emitter`. The emitter is the process that the proxy starts; only the worker is played. CPU is the emitter's
own, by its accounting, so that other load on the machine moves the rate and hardly the cost. The rounds of both ways to
feed it are interleaved: `full`, as much as it takes, and `paced`, 2,000 exchanges/s as from workers under usual load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from configuration.brokers import brokers_of
from events.topics import create
from proxy.frames import encode_frame
from tests.support import kafka as real_kafka
from tests.support.played_worker import PlayedWorker, exchange

RESULTS = Path(__file__).parent / "results" / "emitter.json"
FRAME_EVENTS = 200
WINDOW_EVENTS = 6_000
"""Under way at most, so that a broker that gets less of the machine than the emitter does not bring the spool in."""

PACED_EVENTS_A_SECOND = 2_000
PACED_FRAMES_A_SECOND = 100
"""A worker hands over every 10 ms."""


async def bench(events: int, paced_seconds: float, rounds: int) -> dict[str, Any]:
    """All rounds, against one broker."""
    with tempfile.TemporaryDirectory(prefix="bench-emitter-") as name:
        folder = Path(name)
        with real_kafka.Kafka(folder / "kafka") as broker:
            worker = PlayedWorker(folder, broker.bootstrap_servers)
            await create(brokers_of(worker.configuration), 4, 1)
            await worker.start()
            frames = _frames(events, FRAME_EVENTS)
            size = PACED_EVENTS_A_SECOND // PACED_FRAMES_A_SECOND
            paced = _frames(int(paced_seconds * PACED_EVENTS_A_SECOND), size)
            await _round(worker, frames[:100], None)  # what is compiled and connected once
            seen: dict[str, list[dict[str, float]]] = {"full": [], "paced": []}
            for number in range(rounds):
                for kind, what, pause in (("full", frames, None), ("paced", paced, 1 / PACED_FRAMES_A_SECOND)):
                    result = await _round(worker, what, pause)
                    seen[kind].append(result)
                    _say(f"round {number + 1} {kind:5}", result)
            lost, resident = worker.losses(), worker.resident_bytes()
            await worker.stop()
    results = {kind: _middle(values) | {"rounds": values} for kind, values in seen.items()}
    return {**results, "lost": lost, "resident_bytes": resident, "setting": _setting(events, rounds)}


async def _round(worker: PlayedWorker, frames: list[tuple[bytes, int]], pause: float | None) -> dict[str, float]:
    """Feed the frames, and wait for Kafka's acknowledgement of all of them."""
    count = sum(events for _, events in frames)
    before, cpu, began = worker.total("events_delivered_total"), worker.cpu_seconds(), time.perf_counter()
    fed = before
    for index, (frame, size) in enumerate(frames):
        await worker.feed(frame)
        fed += size
        while fed - worker.total("events_delivered_total") > WINDOW_EVENTS:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.001)
        if pause is not None:
            await asyncio.sleep(max(0.0, began + (index + 1) * pause - time.perf_counter()))
    await worker.reaches("events_delivered_total", before + count, 120)
    seconds, cpu = time.perf_counter() - began, worker.cpu_seconds() - cpu
    return {
        "events": count,
        "events_a_second": round(count / seconds),
        "cpu_microseconds_an_event": round(cpu / count * 1e6, 2),
        "events_a_cpu_second": round(count / cpu),
    }


def _frames(events: int, size: int) -> list[tuple[bytes, int]]:
    """Encoded beforehand: 19 of production and then one of the shadow, over and over."""
    source = random.Random(5)
    exchanges = [exchange(source, number, "shadow" if number % 20 == 19 else "production") for number in range(events)]
    parts = [exchanges[first : first + size] for first in range(0, events, size)]
    return [(encode_frame(part), len(part)) for part in parts]


def _middle(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def _setting(events: int, rounds: int) -> dict[str, Any]:
    return {
        "events": events,
        "rounds": rounds,
        "features": 20,
        "kafka": real_kafka.VERSION,
        "python": platform.python_version(),
        **{name: version(name) for name in ("aiokafka", "msgspec", "uvloop")},
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }


def _say(name: str, result: dict[str, float]) -> None:
    sys.stdout.write(
        f"{name}  {result['events']:>8,.0f} events  {result['events_a_second']:>8,.0f}/s  "
        f"{result['cpu_microseconds_an_event']:>6.2f} us of CPU an event  "
        f"{result['events_a_cpu_second']:>8,.0f} events a CPU second\n"
    )
    sys.stdout.flush()


def main() -> int:
    """Run it, print a table, write the results."""
    parser = argparse.ArgumentParser(prog="bench.emitter", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000, help="in each full round (default: %(default)s)")
    parser.add_argument("--paced-seconds", type=float, default=5.0, help="of each paced round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: bench/results/emitter.json")
    given = parser.parse_args()
    if (missing := real_kafka.missing()) is not None:
        sys.stderr.write(f"bench-emitter: {missing}; `python -m tests.support.real_parts` fetches what is missing\n")
        return 2
    results = asyncio.run(bench(given.events, given.paced_seconds, given.rounds))
    for kind in ("full", "paced"):
        _say(f"median  {kind:5}", results[kind])
    sys.stdout.write(
        f"lost: {results['lost'] or 'none'}; resident at most {results['resident_bytes'] / 2**20:.0f} MiB\n"
    )
    given.output.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
