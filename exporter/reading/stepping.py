"""The next messages of a consumer, also where aiokafka cannot decode one of them.

A header whose name is not UTF-8 makes aiokafka raise ValueError and does not say where. So messages are then read one
at a time; the one that cannot be read is left out, with what follows it in its batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from exporter.reading.intake import Intake
from exporter.reading.placing import Placing

_POLL_MS: Final = 200
_POLL_RECORDS: Final = 1000

Batches = dict[TopicPartition, list[Any]]


class Stepping:
    """Polls, and steps where polling fails."""

    def __init__(self, intake: Intake, placing: Placing) -> None:
        self._intake = intake
        self._placing = placing
        self._stepping = False
        self._skipped: TopicPartition | None = None

    def restart(self) -> None:
        """The positions have been set anew."""
        self._stepping = False

    async def poll(self, consumer: AIOKafkaConsumer, current: Callable[[], bool]) -> Batches:
        """What has come, at most 1,000 messages; nothing is sought or counted once `current` is no longer true."""
        if self._stepping and current():
            return await self._step(consumer, current)
        try:
            batches: Batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
        except ValueError:
            self._stepping, self._skipped = True, None
            if current():
                for partition, position in self._placing.positions.items():
                    consumer.seek(partition, position)
            return {}
        return batches

    async def _step(self, consumer: AIOKafkaConsumer, current: Callable[[], bool]) -> Batches:
        """The next message of each partition; one that cannot be read is left out."""
        batches: Batches = {}
        positions = self._placing.positions
        for partition, position in list(positions.items()):
            try:
                batches |= await consumer.getmany(partition, timeout_ms=0, max_records=1)
            except ValueError as error:
                if not current():
                    return {}
                self._intake.leave_out(
                    partition.topic,
                    partition.partition,
                    position,
                    str(error),
                    repeated=position < self._placing.sent_below.get(partition, 0),
                )
                positions[partition] = position + 1
                consumer.seek(partition, position + 1)
                self._skipped = partition
        if self._skipped in batches:
            self._stepping = False
        if not batches:
            await asyncio.sleep(0.01)
        return batches
