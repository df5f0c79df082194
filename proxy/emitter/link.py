"""The emitter's connection to Kafka: an idempotent producer whose waiting has an end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from events.topics import TOPIC_OF_ROLE, unequal_partitions

BATCH_BYTES: Final = 512 * 1024
REQUEST_TIMEOUT_MS: Final = 10_000
CLOSE_SECONDS: Final = 2.0


class Link:
    """One producer from its start to its end.

    aiokafka's idempotent producer counts a batch's sequence numbers when it leaves, so that after a refused batch every
    later one of that partition is out of order: only a new producer helps. It also retries without end, and its
    `stop()` waits for that; so both are bounded here.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self.producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        self.partitions = 0
        self._closed = asyncio.Event()

    async def start(self) -> str | None:
        """Connect; None, or in one line what is in the way."""
        try:
            await self.producer.start()
            counts = {topic: len(await self.producer.partitions_for(topic)) for topic in TOPIC_OF_ROLE.values()}
        except (KafkaError, OSError) as error:
            return f"{self._bootstrap_servers}: {error or type(error).__name__}"
        self.partitions = min(counts.values())
        return unequal_partitions(counts)

    async def outcome(self, sent: asyncio.Future[Any]) -> None:
        """Wait until Kafka has acknowledged a batch. Raises KafkaError, also when the link is closed meanwhile."""
        closing = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait([sent, closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
        if not sent.done():
            sent.add_done_callback(_look_away)
            raise KafkaError("the link was closed before Kafka acknowledged the batch")
        sent.result()

    async def close(self) -> None:
        """End it, with or without the brokers."""
        self._closed.set()
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.producer.stop()
                return
        # `stop()` waits for batches that will never be acknowledged; what it has begun goes on in the sender's task.
        sender = getattr(getattr(self.producer, "_sender", None), "sender_task", None)
        if sender is not None and not sender.done():
            sender.cancel()
            await asyncio.wait({sender}, timeout=CLOSE_SECONDS)
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.producer.client.close()


def _look_away(sent: asyncio.Future[Any]) -> None:
    """Nobody waits for this batch any more; asyncio would complain about its error."""
    if not sent.cancelled():
        sent.exception()
