"""What the exporter sends: rejected messages, and foreign ones to their right partition. It never waits for Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from events.brokers import Brokers
from events.headers import Headers

_log = logging.getLogger("shadowdrift.exporter")

_MAX_MESSAGES: Final = 10_000
_MAX_BYTES: Final = 32 * 1024 * 1024
_BATCH: Final = 200
_MAX_REQUEST_BYTES: Final = 32 * 1024 * 1024
_DELIVERY_SECONDS: Final = 15.0
_BACKOFF_SECONDS: Final = (0.5, 10.0)


@dataclass(frozen=True)
class Message:
    """One message to send; without a partition its key decides."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None
    source: tuple[str, int, int] | None = None
    """The topic, partition and offset that it was read from."""

    def __len__(self) -> int:
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


class Outbox:
    """A bounded queue and the task that empties it. What cannot be kept is counted in `unkept`, by topic."""

    def __init__(self, brokers: Brokers, unkept: Counter[str]) -> None:
        self._brokers = brokers
        self._unkept = unkept
        self._queue: deque[Message] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._sent = asyncio.Event()
        """Set with every batch whose fate is known, and then replaced."""

    def put(self, message: Message) -> bool:
        """Take a message to send; False, and the caller counts, when the queue is full."""
        if len(self._queue) >= _MAX_MESSAGES or self._bytes + len(message) > _MAX_BYTES:
            return False
        self._queue.append(message)
        self._bytes += len(message)
        self._filled.set()
        self._emptied.clear()
        return True

    async def run(self) -> None:
        """Send what is put, until cancelled. The producer starts with the first message."""
        backoff = _BACKOFF_SECONDS[0]
        while True:
            await self._filled.wait()
            producer = AIOKafkaProducer(
                **self._brokers.arguments(),
                acks="all",
                max_request_size=_MAX_REQUEST_BYTES,
                request_timeout_ms=int(_DELIVERY_SECONDS * 1000),
                retry_backoff_ms=500,
            )
            try:
                await producer.start()
                backoff = _BACKOFF_SECONDS[0]
                while True:
                    await self._send_batch(producer)
            except (KafkaError, OSError, TimeoutError):
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _BACKOFF_SECONDS[1])
            finally:
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(producer.stop(), 2)

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._queue)

    def unsent(self) -> dict[tuple[str, int], int]:
        """By the topic and partition that they were read from, the lowest offset of those that wait."""
        lowest: dict[tuple[str, int], int] = {}
        for message in self._queue:
            if message.source is not None:
                topic, partition, offset = message.source
                lowest[topic, partition] = min(offset, lowest.get((topic, partition), offset))
        return lowest

    async def passed(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Wait until nothing waits that was read below these offsets, by topic and partition."""
        while any(offset < offsets.get(place, 0) for place, offset in self.unsent().items()):
            await self._sent.wait()

    async def finish(self, within: float) -> None:
        """Wait until all is sent, for at most `within` seconds; what is left then will not be kept, and is counted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._emptied.wait()
        if self._queue:
            self._unkept.update(message.topic for message in self._queue)
            _log.warning("events could not be sent on before the stop", extra={"fields": {"events": len(self._queue)}})

    async def _send_batch(self, producer: AIOKafkaProducer) -> None:
        """Send up to 200 messages; they leave the queue when their fate is known."""
        await self._filled.wait()
        batch = [self._queue[position] for position in range(min(_BATCH, len(self._queue)))]
        results = await asyncio.gather(*(self._send(producer, message) for message in batch), return_exceptions=True)
        failed = [(message, result) for message, result in zip(batch, results, strict=True) if result is not None]
        for message in batch:
            self._queue.popleft()
            self._bytes -= len(message)
        self._unkept.update(message.topic for message, _ in failed)
        if failed:
            _log.warning(
                "events could not be sent on; they are counted in drift_events_unkept_total",
                extra={"fields": {"topic": failed[0][0].topic, "events": len(failed), "reason": repr(failed[0][1])}},
            )
        if not self._queue:
            self._filled.clear()
            self._emptied.set()
        self._sent.set()
        self._sent = asyncio.Event()

    async def _send(self, producer: AIOKafkaProducer, message: Message) -> None:
        await asyncio.wait_for(
            producer.send_and_wait(
                message.topic, message.value, message.key, message.partition, headers=message.headers
            ),
            _DELIVERY_SECONDS,
        )
