"""The group's committed offsets: lag tools read them, and so does whoever begins, to know what was sent on already."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from exporter.reading.membership import Membership
from exporter.reading.outbox import Outbox
from exporter.reading.placing import Placing

_EVERY_SECONDS: Final = 5.0
_CALL_SECONDS: Final = 15.0


class Commits:
    """Commits beside the reading, one at a time; a failure matters to nobody."""

    def __init__(self, placing: Placing, membership: Membership, outbox: Outbox) -> None:
        self._placing = placing
        self._membership = membership
        self._outbox = outbox
        self._task: asyncio.Task[None] | None = None
        self._due_at = 0.0

    def begin(self) -> None:
        """Reading begins."""
        self._due_at = time.monotonic() + _EVERY_SECONDS

    def look(self, consumer: AIOKafkaConsumer) -> None:
        """Commit, if it is time."""
        now = time.monotonic()
        if now >= self._due_at:
            self._due_at = now + _EVERY_SECONDS
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self.now(consumer), name="commit offsets")

    async def now(self, consumer: AIOKafkaConsumer) -> None:
        """Commit how far each partition was read, and no further than to what waits to be sent on."""
        assigned, unsent = self._membership.assigned or frozenset(), self._outbox.unsent()
        offsets = {
            partition: min(at, unsent.get((partition.topic, partition.partition), at))
            for partition, at in self._placing.positions.items()
            if partition in assigned
        }
        with contextlib.suppress(KafkaError, TimeoutError):
            if offsets and self._membership.settled():
                await asyncio.wait_for(consumer.commit(offsets), _CALL_SECONDS)

    def end(self) -> None:
        """Leave off."""
        if self._task is not None:
            self._task.cancel()
