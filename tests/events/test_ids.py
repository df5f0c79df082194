"""Ids, and the partition of a model."""

import uuid

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given, settings
from hypothesis import strategies as st

from events.ids import new_id
from events.partitions import partition_of
from tests.events.making import names

JAVA_VECTORS = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}
"""Apache Kafka's own vectors of murmur2: org.apache.kafka.common.utils.UtilsTest."""


def test_ids_are_uuid_version_7() -> None:
    """In the usual form, so that any tool reads them."""
    made = new_id()
    assert uuid.UUID(made).version == 7
    assert str(uuid.UUID(made)) == made


def test_ids_are_unique_and_sorted_by_time() -> None:
    """As texts, within a millisecond too."""
    made = [new_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert made == sorted(made)


@pytest.mark.parametrize("key", JAVA_VECTORS)
def test_the_partition_is_that_of_the_java_client(key: str) -> None:
    """toPositive(murmur2(key)) modulo the number of partitions."""
    for partitions in (1, 4, 7, 2**31 - 1):
        assert partition_of(key, partitions) == (JAVA_VECTORS[key] & 0x7FFFFFFF) % partitions


@settings(max_examples=200, derandomize=True, deadline=None)
@given(names, st.integers(1, 64))
def test_the_partition_is_that_of_aiokafkas_default(model: str, count: int) -> None:
    """For any name."""
    partitions = list(range(count))
    assert partition_of(model, count) == DefaultPartitioner()(model.encode(), partitions, partitions)
