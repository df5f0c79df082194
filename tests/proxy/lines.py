"""An emitter inside the test's process, from a worker's frame to Kafka, and what then stands in a topic."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient

from configuration.brokers import brokers_of
from configuration.reading import convert
from events.codec import decode_inference
from events.inference import ROLES
from proxy.counters import Counters, shared_file
from proxy.emitter.deliver import Delivery
from proxy.emitter.intake import Intake
from proxy.emitter.main import Streams, WorkerStream
from proxy.emitter.queue import Budget, EventQueue, Queues
from proxy.emitter.spool import Spool
from proxy.frames import Captured
from proxy.layout import FAMILIES, LOSS_REASONS, Layout
from tests.proxy.planes import KEYS, document
from tests.proxy.test_extract import captured
from tests.support.kafka import Kafka
from tests.support.topics import delete_topics
from tests.support.waiting import until

LABELS = ("fraud", "production")


class Line:
    """An emitter without its process: `take` is what a worker's frame does."""

    def __init__(
        self, servers: str, folder: Path, *, limit: int = 2**26, max_bytes: int = 2**32, models: tuple[str, ...] = ()
    ) -> None:
        made = document("http://127.0.0.1:1", "http://127.0.0.1:2", kafka=servers)
        made["models"] += [{**made["models"][0], "name": name, "path_prefix": f"/{name}"} for name in models]
        configuration = convert(made, folder, "test")
        layout = Layout(configuration)
        descriptor = shared_file(1, layout)
        self.counters = Counters(descriptor, 0, layout, asyncio.get_running_loop())
        os.close(descriptor)
        self._stopped = False
        budget = Budget(limit)
        self.brokers = brokers_of(configuration)
        self.queues: Queues = {
            (name, role): EventQueue(name, role, self.counters, budget) for name in ("fraud", *models) for role in ROLES
        }
        self.spool = Spool(folder / "spool", max_bytes, self.queues.values(), budget, self.counters)
        self.intake = Intake(configuration, {}, KEYS, self.counters, self.queues, lambda: self.spool.loss_reason)
        self.delivery = Delivery(self.brokers, self.queues, self.spool, self.counters)

    async def stop(self, within: float = 0) -> None:
        """End it, once."""
        if not self._stopped:
            self._stopped = True
            await self.delivery.stop(within)

    def stream(self) -> WorkerStream:
        """The emitter's end of a worker's connection."""
        return WorkerStream(self.intake, Streams())

    def number(self, family: str, *labels: str) -> int:
        """One counter."""
        if not labels and FAMILIES[family].labels:
            labels = LABELS
        return self.counters.cells[self.counters.layout.place(family, *labels)]

    def take(self, first: int, count: int, **changes: Any) -> None:
        """So many exchanges, numbered."""
        self.intake.take([numbered(index, **changes) for index in range(first, first + count)])
        self.check_law()

    def check_law(self) -> None:
        """Received, and recovered from the spool, is delivered, lost, or waiting."""
        for role in ROLES:
            lost = sum(self.number("events_lost_total", "fraud", role, reason) for reason in LOSS_REASONS)
            rest = self.number("events_delivered_total", "fraud", role) + self.number("events_waiting", "fraud", role)
            received = sum(self.number("events_received", worker, "fraud", role) for worker in "01")
            assert received + self.number("events_recovered", "fraud", role) == lost + rest

    async def delivers(self, count: int, within: float = 30) -> None:
        """Wait until so many are acknowledged."""
        await until(
            lambda: self.check_law() is None and self.number("events_delivered_total") >= count, within, f"{count} sent"
        )


def numbered(index: int, **changes: Any) -> Captured:
    """An exchange that can be told from others."""
    return captured(b'{"n": %d}' % index, id=f"id-{index}", time=1.79e9 + index, **changes)


@asynccontextmanager
async def line(servers: str, folder: Path, **bounds: Any) -> AsyncIterator[Line]:
    """A line that delivers, for one block."""
    made = Line(servers, folder, **bounds)
    made.delivery.start()
    try:
        yield made
    finally:
        await made.stop()
        made.check_law()


async def remove_ours(broker: Kafka) -> None:
    """Delete the topics that a test has made."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        ours = [name for name in await admin.list_topics() if name.startswith(("inference.", "drift."))]
    finally:
        await admin.close()
    if ours:
        await delete_topics(broker, *ours)


async def read(broker: Kafka, topic: str, count: int) -> list[ConsumerRecord]:
    """A topic's first messages."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        records: list[ConsumerRecord] = []
        async with asyncio.timeout(30):
            while len(records) < count:
                for part in (await consumer.getmany(timeout_ms=200)).values():
                    records += part
        return records
    finally:
        await consumer.stop()


def order(records: list[ConsumerRecord]) -> list[int]:
    """The numbers, as they came."""
    return [int(decode_inference(record.value).id.removeprefix("id-")) for record in records]


async def read_all(broker: Kafka, topic: str) -> list[ConsumerRecord]:
    """Every message that a topic has now."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = sum((await consumer.end_offsets(consumer.assignment())).values())
    finally:
        await consumer.stop()
    return await read(broker, topic, ends)
