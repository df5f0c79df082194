"""The identity of an exchange, and the partition of its model."""

from __future__ import annotations

from aiokafka.partitioner import murmur2
from uuid_utils import uuid7


def new_id() -> str:
    """A fresh UUIDv7: unique, and sorted by time."""
    return str(uuid7())


def partition_of(model: str, partitions: int) -> int:
    """The partition of a model among `partitions`, as every Kafka client's default partitioner has it."""
    return int((murmur2(model.encode()) & 0x7FFFFFFF) % partitions)
