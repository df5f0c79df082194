"""Queues to Kafka: batches of our own making, one under way for each model and role, acknowledged by all replicas.

A batch stays in its queue until Kafka has acknowledged it, so that a broker that goes away costs time and no event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from events.brokers import OBSTACLES, Brokers, Obstacle
from events.ids import partition_of
from events.inference import Role
from events.topics import TOPIC_OF_ROLE
from proxy.counters import Counters
from proxy.emitter.link import BATCH_BYTES, Link
from proxy.emitter.queue import EventQueue, Queues

RETRY_SECONDS: Final = 1.0
_LINK: Final = ""
"""What is told of the link itself, and not of one topic."""

_WAITING: Final = "Kafka does not take events; they wait"

_log = logging.getLogger("shadowdrift.emitter")


class Delivery:
    """Keeps a producer, and a task for each queue."""

    def __init__(self, brokers: Brokers, queues: Queues, counters: Counters) -> None:
        self._brokers = brokers
        self._queues = queues
        self._counters = counters
        self._link: Link | None = None
        self._changing = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._told: dict[str, tuple[Obstacle, str]] = {}

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
        topic, count = TOPIC_OF_ROLE[role], 0
        suspects = 0  # how many of the first events were in a batch that was too large
        while True:
            await queue.filled.wait()
            link = await self._linked()
            try:
                batch, count = _fill(link.producer, queue, model.encode(), 0 if suspects else BATCH_BYTES)
                partition = partition_of(model, link.partitions)
                sent = await link.producer.send_batch(batch, topic, partition=partition)
                await link.outcome(sent, on_silence=partial(self._silence, topic))
            except (MessageSizeTooLargeError, RecordListTooLargeError):
                # The broker's bound is below ours: one event at a time shows which one is too large.
                suspects = max(suspects, count)
                if count == 1:
                    suspects -= 1
                    self._lose(model, role, queue, 1, "too_large")
                await self._unlink(link)
            except Exception as error:
                # Kafka's, the system's, or aiokafka's assertion about a partition that it does not know (any more): all
                # have the same cure, and this task must outlive them.
                if link is self._link:
                    why = f"{topic}: {error or type(error).__name__}"
                    self._tell(topic, "Kafka refused a batch; it is sent again", "unreachable", why)
                    await self._unlink(link)
                    await asyncio.sleep(RETRY_SECONDS)
            else:
                suspects = max(0, suspects - count)
                queue.remove(count)
                self._count(model, role, queue, "events_delivered_total", count=count)
                self._clear(topic)

    async def _linked(self) -> Link:
        """The link to Kafka, once the brokers answer and the topics are there."""
        async with self._changing:
            while self._link is None:
                link = Link(self._brokers)
                try:
                    obstacle = await link.start()
                except asyncio.CancelledError:
                    await link.close()
                    raise
                if obstacle is None:
                    self._link = link
                    self._clear(_LINK)
                else:
                    self._tell(_LINK, _WAITING, *obstacle)
                    await link.close()
                    await asyncio.sleep(RETRY_SECONDS)
            return self._link

    async def _unlink(self, link: Link | None) -> None:
        """Give a link up, unless another queue was first: after one failed batch its sequence numbers are wrong."""
        async with self._changing:
            if link is not None and link is self._link:
                self._link = None
                await link.close()

    def _silence(self, topic: str) -> None:
        self._tell(topic, _WAITING, "unreachable", f"{topic}: no acknowledgement")

    def _tell(self, about: str, message: str, obstacle: Obstacle, why: str) -> None:
        """Log what stands between us and Kafka, once for each topic (or for the link itself), and show it."""
        if self._told.get(about) != (obstacle, why):
            self._told[about] = (obstacle, why)
            _log.warning(message, extra={"fields": {"why": why}})
            self._show_obstacles()

    def _clear(self, about: str) -> None:
        """Nothing stands between us and Kafka any more, as far as this topic or the link is concerned."""
        if self._told.pop(about, None) is not None:
            _log.info("Kafka takes events again", extra={"fields": {"topic": about} if about else {}})
            self._show_obstacles()

    def _show_obstacles(self) -> None:
        standing = {obstacle for obstacle, _ in self._told.values()}
        for word in OBSTACLES:
            place = self._counters.layout.place("shadowdrift_kafka_obstacle", "emitter", word)
            self._counters.cells[place] = int(word in standing)
        self._counters.changed()

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
