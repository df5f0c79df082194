"""Queues to Kafka: batches of our own making, one under way for each model and role, acknowledged by all replicas.

A batch stays in its queue until Kafka has acknowledged it, so that a broker that goes away costs time and no event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from events.ids import partition_of
from events.inference import Role
from events.topics import TOPIC_OF_ROLE
from proxy.counters import Counters
from proxy.emitter.link import BATCH_BYTES, Link
from proxy.emitter.queue import EventQueue, Queues

RETRY_SECONDS: Final = 1.0

_log = logging.getLogger("shadowdrift.emitter")


class Delivery:
    """Keeps a producer, and a task for each queue."""

    def __init__(
        self,
        bootstrap_servers: str,
        queues: Queues,
        counters: Counters,
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._queues = queues
        self._counters = counters
        self._link: Link | None = None
        self._changing = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._told = ""

    def start(self) -> None:
        """Deliver from now on."""
        self._tasks = [
            asyncio.create_task(self._deliver(model, role, queue)) for (model, role), queue in self._queues.items()
        ]

    async def stop(self, within: float) -> None:
        """Deliver what is queued, for at most `within` seconds; the rest is lost, and counted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                for queue in self._queues.values():
                    await queue.emptied.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for (model, role), queue in self._queues.items():
            if len(queue):
                fields = {"model": model, "role": role, "lost": len(queue)}
                _log.error("Kafka did not take every event before the stop", extra={"fields": fields})
                self._lose(model, role, queue, len(queue), "shutdown")
        await self._unlink(self._link)

    async def _deliver(self, model: str, role: Role, queue: EventQueue) -> None:
        topic = TOPIC_OF_ROLE[role]
        largest = BATCH_BYTES
        while True:
            await queue.filled.wait()
            link = await self._linked()
            try:
                batch, count = _fill(link.producer, queue, model.encode(), largest)
                partition = partition_of(model, link.partitions)
                await link.outcome(await link.producer.send_batch(batch, topic, partition=partition))
            except (MessageSizeTooLargeError, RecordListTooLargeError):
                # The broker's bound is below ours: one event at a time shows which one is too large.
                if largest == 0:
                    self._lose(model, role, queue, 1, "too_large")
                largest = 0
                await self._unlink(link)
            except (KafkaError, OSError, AssertionError) as error:
                # The assertion is aiokafka's, about a partition that it does not know (any more).
                if link is self._link:
                    self._tell(f"{topic}: {error or type(error).__name__}", "Kafka refused a batch; it is sent again")
                    await self._unlink(link)
                    await asyncio.sleep(RETRY_SECONDS)
            else:
                largest = BATCH_BYTES
                queue.remove(count)
                self._count(model, role, queue, "events_delivered_total", count=count)

    async def _linked(self) -> Link:
        """The link to Kafka, once the brokers answer and the topics are there."""
        async with self._changing:
            while self._link is None:
                link = Link(self._bootstrap_servers)
                obstacle = await link.start()
                if obstacle is None:
                    self._link = link
                    self._tell("", "Kafka takes events")
                else:
                    self._tell(obstacle, "Kafka does not take events; they wait")
                    await link.close()
                    await asyncio.sleep(RETRY_SECONDS)
            return self._link

    async def _unlink(self, link: Link | None) -> None:
        """Give a link up, unless another queue was first: after one failed batch its sequence numbers are wrong."""
        async with self._changing:
            if link is not None and link is self._link:
                self._link = None
                await link.close()

    def _tell(self, obstacle: str, message: str) -> None:
        """Log a change, once."""
        if obstacle != self._told:
            self._told = obstacle
            _log.log(logging.WARNING if obstacle else logging.INFO, message, extra={"fields": {"why": obstacle}})

    def _lose(self, model: str, role: Role, queue: EventQueue, count: int, reason: str) -> None:
        queue.remove(count)
        self._count(model, role, queue, "events_lost_total", reason, count=count)

    def _count(self, model: str, role: Role, queue: EventQueue, family: str, *reason: str, count: int) -> None:
        cells, layout = self._counters.cells, self._counters.layout
        cells[layout.place(family, model, role, *reason)] += count
        cells[layout.place("events_waiting", model, role)] = len(queue)
        self._counters.changed()


def _fill(producer: AIOKafkaProducer, queue: EventQueue, key: bytes, largest: int) -> tuple[Any, int]:
    """A batch of the queue's first events, and how many they are: at least one, at most `largest` bytes."""
    batch = producer.create_batch()
    count = size = 0
    while count < len(queue) and (count == 0 or size < largest):
        event = queue.peek(count)
        if batch.append(key=key, value=event.value, timestamp=event.time_ms, headers=event.headers) is None:
            break
        count += 1
        size += len(event.value)
    return batch, count
