"""Kafka away for an hour at 500 exchanges/s, or as many events in less time: what is lost, and how quick is the replay.

`make spool-hour`. A real emitter process, a real Apache Kafka that is stopped while 1.8 million events come and started
again while more do, and a consumer that looks at every message of both topics. Results: `bench/results/spool.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

from configuration.brokers import brokers_of
from events.topics import PRODUCTION, SHADOW, create
from proxy.frames import Captured, encode_frame
from tests.support import kafka as real_kafka
from tests.support.played_worker import PlayedWorker, exchange

RESULTS = Path(__file__).parent / "results" / "spool.json"
FRAME_EVENTS = 200
TEMPLATES = 1_000
LIVE_FRAMES_A_SECOND = 10
"""2,000 events/s come while the spool is replayed."""

UNSPOOLED_EVENTS = 100_000
"""Fed and not on disk yet at most: the feeder is quicker than any number of workers, and memory has its bound."""


async def bench(events: int, folder: Path) -> dict[str, Any]:
    """The whole run."""
    broker = real_kafka.Kafka(folder / "kafka")
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, broker.start)
    worker = PlayedWorker(folder, broker.bootstrap_servers)
    source = Frames()
    try:
        await create(brokers_of(worker.configuration), 4, 1)
        await worker.start()
        await _feed(worker, source, 10_000)
        await worker.reaches("events_delivered_total", source.events, 60)
        await loop.run_in_executor(None, broker.stop)
        away = await _away(worker, source, events)
        await loop.run_in_executor(None, broker.start)
        back = await _back(worker, source)
        lost = worker.losses()
        await worker.stop()
        counted = {topic: await _look(broker, topic, count) for topic, count in source.by_topic().items()}
    finally:
        await worker.stop()
        await loop.run_in_executor(None, broker.stop)
    return {
        "events": source.events,
        "away": away,
        "back": back,
        "lost_by_the_emitters_count": lost,
        "topics": counted,
        "lost": sum(one["missing"] for one in counted.values()),
        "duplicated": sum(one["duplicated"] for one in counted.values()),
        "out_of_order": sum(one["out_of_order"] for one in counted.values()),
        "setting": {
            "kafka": real_kafka.VERSION,
            "python": platform.python_version(),
            "aiokafka": version("aiokafka"),
            "cores": os.cpu_count(),
        },
    }


class Frames:
    """Frames of exchanges with a running number in their id; every twentieth is the shadow's."""

    def __init__(self) -> None:
        rows = random.Random(11)
        self._templates = [exchange(rows, n, "shadow" if n % 20 == 19 else "production") for n in range(TEMPLATES)]
        self.events = 0
        # An hour, which has just ended: a broker takes no event from the future, and drops those of the last months.
        self._began = time.time() - 4000

    def next(self) -> bytes:
        """The next frame."""
        first, self.events = self.events, self.events + FRAME_EVENTS
        return encode_frame([self._numbered(number) for number in range(first, self.events)])

    def _numbered(self, number: int) -> Captured:
        one = self._templates[number % TEMPLATES]
        one.id = f"{number:036d}"
        one.time = self._began + number / 500
        return one

    def by_topic(self) -> dict[str, int]:
        """How many events each topic must hold."""
        shadow = self.events // 20
        return {PRODUCTION: self.events - shadow, SHADOW: shadow}


async def _feed(worker: PlayedWorker, source: Frames, events: int) -> None:
    ends = source.events + events
    while source.events < ends:
        await worker.feed(source.next())


async def _away(worker: PlayedWorker, source: Frames, events: int) -> dict[str, Any]:
    """Kafka is stopped: so many events come, as quick as they are taken."""
    before, cpu, began = source.events, worker.cpu_seconds(), time.perf_counter()
    while source.events < before + events:
        await _feed(worker, source, FRAME_EVENTS * 50)
        while source.events - before - worker.total("events_spooled") > UNSPOOLED_EVENTS:  # noqa: ASYNC110 - of a process
            await asyncio.sleep(0.005)
        _say(
            f"Kafka away: {source.events - before:>9,} events came, {worker.total('events_spooled'):>9,} on disk", "\r"
        )
    await worker.reaches("events_spooled", source.events - before, 60)
    seconds, cpu = time.perf_counter() - began, worker.cpu_seconds() - cpu
    result = {
        "events": source.events - before,
        "seconds": round(seconds, 1),
        "events_a_second": round((source.events - before) / seconds),
        "cpu_microseconds_an_event": round(cpu / (source.events - before) * 1e6, 2),
        "spooled_bytes": worker.total("events_spooled_bytes"),
        "resident_bytes": worker.resident_bytes(),
    }
    _say(f"Kafka away: {result}")
    return result


async def _back(worker: PlayedWorker, source: Frames) -> dict[str, Any]:
    """Kafka is there again: the spool is replayed, and more events come meanwhile."""
    fed, before = source.events, worker.total("events_delivered_total")
    while worker.total("events_delivered_total") == before:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.01)
    cpu, began = worker.cpu_seconds(), time.perf_counter()
    while worker.total("events_spooled"):
        await worker.feed(source.next())
        await asyncio.sleep(1 / LIVE_FRAMES_A_SECOND)
        _say(f"Kafka back: {worker.total('events_spooled'):>9,} still on disk", "\r")
    await worker.reaches("events_delivered_total", source.events, 60)
    seconds, cpu = time.perf_counter() - began, worker.cpu_seconds() - cpu
    delivered = source.events - before
    result = {
        "delivered": delivered,
        "of_which_live": source.events - fed,
        "seconds": round(seconds, 1),
        "events_a_second": round(delivered / seconds),
        "cpu_microseconds_an_event": round(cpu / delivered * 1e6, 2),
        "spooled_bytes_left": worker.total("events_spooled_bytes"),
        "resident_bytes": worker.resident_bytes(),
    }
    _say(f"Kafka back: {result}")
    return result


async def _look(broker: real_kafka.Kafka, topic: str, expected: int) -> dict[str, int]:
    """Every message of a topic: which numbers are missing, come twice, or first come behind a greater one."""
    mine = set(_numbers(topic, expected))
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    messages = duplicated = disordered = 0
    greatest = -1
    try:
        ends = sum((await consumer.end_offsets(consumer.assignment())).values())
        while messages < ends:
            for records in (await consumer.getmany(timeout_ms=1000, max_records=20_000)).values():
                for record in records:
                    messages += 1
                    number = int(dict(record.headers)["ce_id"])
                    if number not in mine:
                        duplicated += 1
                    else:
                        mine.discard(number)
                        disordered += number < greatest
                        greatest = max(greatest, number)
            _say(f"looking at {topic}: {messages:>9,} of {ends:,}", "\r")
    finally:
        await consumer.stop()
    result = {"messages": messages, "missing": len(mine), "duplicated": duplicated, "out_of_order": disordered}
    _say(f"{topic}: {result}")
    return result


def _numbers(topic: str, expected: int) -> Iterator[int]:
    """The numbers that a topic must hold, as `Frames` gives them."""
    total = expected * 20 // (1 if topic == SHADOW else 19)
    return (number for number in range(total) if (number % 20 == 19) == (topic == SHADOW))


def _say(text: str, end: str = "\n") -> None:
    if end == "\n" or sys.stdout.isatty():
        sys.stdout.write(text + end)
        sys.stdout.flush()


def main() -> int:
    """Run it, tell what became of every event, write the results; 1 if any is lost or out of order."""
    parser = argparse.ArgumentParser(prog="bench.spool", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_800_000, help="while Kafka is away (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: bench/results/spool.json")
    given = parser.parse_args()
    if (missing := real_kafka.missing()) is not None:
        sys.stderr.write(f"spool-hour: {missing}; `python -m tests.support.real_parts` fetches what is missing\n")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="bench-spool-"))
    try:
        results = asyncio.run(bench(given.events, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _say(f"lost {results['lost']}, duplicated {results['duplicated']}, out of order {results['out_of_order']}")
    given.output.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if results["lost"] or results["out_of_order"] else 0


if __name__ == "__main__":
    sys.exit(main())
