"""Queues to Kafka: batches of our own making, one under way for each model and role, acknowledged by all replicas.

A batch stays in its queue until Kafka has acknowledged it, so that a broker that goes away costs time and no event;
what it does not take within a moment goes to the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from time import monotonic
from typing import Final

from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError, RecordListTooLargeError

from events.brokers import Brokers
from events.obstacles import OBSTACLES, Obstacle
from events.partitions import partition_of
from events.topics import TOPIC_OF_ROLE
from proxy.counters import Counters
from proxy.emitter.batch import Batch, Outgoing, untimed
from proxy.emitter.link import Link
from proxy.emitter.queue import EventQueue, Queues
from proxy.emitter.spool import Spool

RETRY_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 0.1
CANCEL_SECONDS: Final = 1.0
"""How long a task that was cancelled may take; the stop goes on without it."""

UNTIMED_SECONDS: Final = 600.0
"""How long events go without Kafka's own timestamp before it is tried again."""

_LINK: Final = ""
"""What is told of the link itself, and not of one topic."""

_WAITING: Final = "Kafka does not take events; they wait"

_log = logging.getLogger("shadowdrift.emitter")


class Delivery:
    """Keeps a producer, and a task for each queue."""

    def __init__(self, brokers: Brokers, queues: Queues, spool: Spool, counters: Counters) -> None:
        self._brokers = brokers
        self._queues = queues
        self._spool = spool
        self._counters = counters
        self._link: Link | None = None
        self._ending: set[asyncio.Task[None]] = set()
        """Links that come to their end: their own tasks do that, which nobody cancels."""
        self._changing = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._untimed_until = 0.0
        self._told: dict[str, tuple[Obstacle, str]] = {}
        self._obstructed = asyncio.Event()
        """Set while something stands between us and Kafka."""

    def start(self) -> None:
        """Deliver from now on, what an earlier emitter has left first."""
        self._spool.start()
        self._tasks = [asyncio.create_task(self._deliver(queue)) for queue in self._queues.values()]

    async def stop(self, within: float) -> None:
        """Deliver what waits, for at most `within` seconds; the rest goes to the spool, or is lost if that is away too.

        Where Kafka is away and the spool is not, nobody waits.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._delivered_or_in_vain()
        await self._end_tasks()
        if self._link is not None:
            self._end(self._link)
        await self._spool.close()
        for queue in self._queues.values():
            fields = {"model": queue.model, "role": queue.role, "spooled": queue.stored, "lost": queue.held}
            if queue.held:
                _log.error("Kafka did not take every event before the stop", extra={"fields": fields})
                queue.lose_held("shutdown")
            elif queue.stored:
                _log.info("events wait in the spool for the next start", extra={"fields": fields})
        if self._ending:
            await asyncio.wait(self._ending)  # each has its own bound

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CANCEL_SECONDS)
        for task in self._tasks:
            if not task.done():
                _log.error("a delivery does not end; the stop goes on", extra={"fields": {"where": repr(task)}})

    async def _delivered_or_in_vain(self) -> None:
        in_vain = asyncio.create_task(self._obstructed.wait())
        empty = asyncio.create_task(self._all_delivered())
        try:
            await asyncio.wait({empty, in_vain}, return_when=asyncio.FIRST_COMPLETED)
            if not self._spool.usable:
                await empty
        finally:
            in_vain.cancel()
            empty.cancel()

    async def _all_delivered(self) -> None:
        for queue in self._queues.values():
            await queue.emptied.wait()

    async def _deliver(self, queue: EventQueue) -> None:
        topic = TOPIC_OF_ROLE[queue.role]
        await self._spool.readable.wait()
        while True:
            await queue.filled.wait()
            await _linger(queue)
            link = await self._linked()
            if not queue:
                continue
            batch = queue.head()
            if batch is None:
                await self._spool.load(queue)
                continue
            try:
                partition = partition_of(queue.model, link.partitions)
                outgoing = Outgoing(untimed(batch) if self._untimed else batch)
                sent = await link.producer.send_batch(outgoing, topic, partition=partition)
                await link.outcome(sent, on_silence=partial(self._silence, topic))
            except Exception as error:
                # Kafka's, the system's, or aiokafka's assertion about a partition that it does not know (any more).
                # This task outlives them all.
                await self._refused(error, link, queue, batch)
            else:
                queue.delivered(batch)
                self._clear(topic)
            if queue.removable:
                await self._spool.remove(queue)

    async def _refused(self, error: Exception, link: Link, queue: EventQueue, batch: Batch) -> None:
        """Mend what this error tells can be mended; for all others time is the cure. Either way with a new link."""
        if isinstance(error, (MessageSizeTooLargeError, RecordListTooLargeError)):
            queue.too_large(batch)
            await self._unlink(link)
        elif isinstance(error, InvalidTimestampError) and not self._untimed:
            # A clock is wrong by more than the brokers allow, which would keep every event from them.
            _log.warning("Kafka refuses the times of events; they go without", extra={"fields": {"why": str(error)}})
            self._untimed_until = monotonic() + UNTIMED_SECONDS
            await self._unlink(link)
        elif link is self._link:
            topic = TOPIC_OF_ROLE[queue.role]
            why = f"{topic}: {error or type(error).__name__}"
            self._tell(topic, "Kafka refused a batch; it is sent again", "unreachable", why)
            await self._unlink(link)
            await asyncio.sleep(RETRY_SECONDS)

    @property
    def _untimed(self) -> bool:
        return monotonic() < self._untimed_until

    async def _linked(self) -> Link:
        """The link to Kafka, once the brokers answer and the topics are there."""
        async with self._changing:
            while self._link is None:
                link = Link(self._brokers)
                try:
                    obstacle = await link.start()
                except asyncio.CancelledError:
                    self._end(link)
                    raise
                if obstacle is None:
                    self._link = link
                    self._clear(_LINK)
                else:
                    self._tell(_LINK, _WAITING, *obstacle)
                    await asyncio.wait({self._end(link)})
                    await asyncio.sleep(RETRY_SECONDS)
            return self._link

    async def _unlink(self, link: Link) -> None:
        """Give a link up, unless another queue was first: after one failed batch its sequence numbers are wrong."""
        async with self._changing:
            if link is self._link:
                self._link = None
                await asyncio.wait({self._end(link)})

    def _end(self, link: Link) -> asyncio.Task[None]:
        ending = link.close()
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

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
        if standing:
            self._obstructed.set()
        else:
            self._obstructed.clear()
        self._counters.changed()


async def _linger(queue: EventQueue) -> None:
    """Wait a moment for more: a request to Kafka costs as much as encoding fifty events."""
    if not queue.full.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await queue.full.wait()
