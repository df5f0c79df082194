"""The partition of a model's events."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_of(model: str, partitions: int) -> int:
    """The partition of a model among `partitions`, as every Kafka client's default partitioner has it."""
    return int((murmur2(model.encode()) & 0x7FFFFFFF) % partitions)
