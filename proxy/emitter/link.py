"""The emitter's connection to Kafka: an idempotent producer whose waiting has an end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from events.brokers import Brokers
from events.obstacles import Obstacle
from events.topics import TOPIC_OF_ROLE, unequal_partitions
from lifecycle.bounded import bounded

REQUEST_TIMEOUT_MS: Final = 10_000
START_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0
"""How long each step of a link's end may take; there are four."""


class Link:
    """One producer from its start to its end.

    aiokafka's idempotent producer counts a batch's sequence numbers when it leaves, so that after a refused batch every
    later one of that partition is out of order: only a new producer helps. It also retries without end, its `stop()`
    waits for that, and both its start and its end may lose a cancellation; so they are bounded here.
    """

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self.producer = AIOKafkaProducer(
            **brokers.arguments(),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        self.partitions = 0
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._starting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def start(self) -> tuple[Obstacle, str] | None:
        """Connect; None, or what is in the way, as a word and in one line."""
        try:
            counts = await bounded(self._connect(), START_SECONDS)  # a broker may answer and yet give no producer id
        except UnknownTopicOrPartitionError:
            return "topics", "the topics are missing; `shadowdrift topics --create` makes them"
        except Exception:  # whatever it is, also a host name that cannot be one: what waits must outlive it
            return await self._brokers.obstacle()
        self.partitions = min(counts.values())
        unequal = unequal_partitions(counts)
        return ("topics", unequal) if unequal else None

    async def _connect(self) -> dict[str, int]:
        """Start the producer; how many partitions each topic has."""
        self._starting = asyncio.create_task(self.producer.start())
        self._starting.add_done_callback(_look_away)
        await asyncio.shield(self._starting)
        return {topic: len(await self.producer.partitions_for(topic)) for topic in TOPIC_OF_ROLE.values()}

    async def outcome(self, sent: asyncio.Future[Any], on_silence: Callable[[], None]) -> None:
        """Wait until Kafka has acknowledged a batch. Raises KafkaError, also when the link is closed meanwhile."""
        while not (await asyncio.wait((sent, self._closed), timeout=SILENCE_SECONDS, return_when="FIRST_COMPLETED"))[0]:
            on_silence()
        if not sent.done() or sent.cancelled():
            sent.add_done_callback(_look_away)
            raise KafkaError("the link was closed before Kafka acknowledged the batch")
        sent.result()

    def close(self) -> asyncio.Task[None]:
        """Begin its end, with or without the brokers. The task ends within a bound, and cancelling is not for it."""
        if self._ending is None:
            self._closed.set_result(None)
            self._ending = asyncio.create_task(self._end(), name="end a link to Kafka")
        return self._ending

    async def _end(self) -> None:
        if self._starting is not None and not self._starting.done():
            # Cancelled meanwhile, it would forget the connection that it is making: nobody could close that any more.
            await asyncio.wait({self._starting}, timeout=CLOSE_SECONDS)
            self._starting.cancel()
        with contextlib.suppress(Exception):  # whatever a producer that is given up says
            await bounded(self.producer.stop(), CLOSE_SECONDS)
            return
        # `stop()` waits for batches that will never be acknowledged; what it has begun goes on in the sender's task.
        sender = getattr(getattr(self.producer, "_sender", None), "sender_task", None)
        if sender is not None and not sender.done():
            sender.cancel()
            await asyncio.wait({sender}, timeout=CLOSE_SECONDS)
        with contextlib.suppress(Exception):
            await bounded(self.producer.client.close(), CLOSE_SECONDS)


def _look_away(sent: asyncio.Future[Any]) -> None:
    """Nobody may wait for it any more; asyncio would complain about its error."""
    if not sent.cancelled():
        sent.exception()
