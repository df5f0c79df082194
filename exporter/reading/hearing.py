"""Whether brokers still answer: aiokafka asks a silent one again and again, and tells nobody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

_SILENT_SECONDS: Final = 10.0
"""A broker answers a fetch twice a second, also when there is nothing to read."""


class Hearing:
    """Of each partition when its broker was last heard of."""

    def __init__(self) -> None:
        self._heard: dict[TopicPartition, tuple[int | None, float]] = {}
        """aiokafka's mark of the last answer to a fetch, and when we saw it change."""

    def restart(self) -> None:
        """Partitions have been placed anew."""
        self._heard = {}

    def silent(self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition], now: float) -> bool:
        """Whether one of the brokers has fallen silent; `now` are seconds of any clock."""
        marks = {partition: consumer.last_poll_timestamp(partition) for partition in partitions}
        heard = self._heard
        self._heard = {
            partition: heard[partition] if partition in heard and heard[partition][0] == mark else (mark, now)
            for partition, mark in marks.items()
        }
        return any(now - at > _SILENT_SECONDS for _, at in self._heard.values())
