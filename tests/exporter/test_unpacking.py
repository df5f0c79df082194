"""Our own unpacking gives what aiokafka's gives."""

import inspect
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from exporter.reading.unpacking import LeanRecords

PARTITION = TopicPartition("inference.production", 3)
OWN = fetcher.PartitionRecords if fetcher.PartitionRecords is not LeanRecords else LeanRecords.__mro__[1]
MESSAGES = st.lists(
    st.tuples(
        st.none() | st.binary(max_size=20),
        st.none() | st.binary(max_size=200),
        st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.binary(max_size=5))),
    ),
    max_size=12,
)
HEADER = 61
"""Bytes before a batch's records."""


def batch(messages: Any, compression: int = 0, first: int = 0) -> bytes:
    """One batch of Kafka's."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=compression, is_transactional=False, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1_000_000,
    )  # fmt: skip
    for number, (key, value, headers) in enumerate(messages):
        builder.append(number, 1_790_000_000_000 + number, key, value, headers)
    made = bytearray(builder.build())
    made[:8] = first.to_bytes(8, "big")
    return bytes(made)


def unpacked(kind: Any, data: bytes, begin: int = 0, level: int = 0) -> tuple[list[Any], int]:
    """What it gives of some batches, read from an offset on; and where the next fetch begins."""
    records = kind(PARTITION, MemoryRecords(data), [], begin, None, None, True, level)
    found = [
        (each.topic, each.partition, each.offset, each.timestamp, each.key, each.value, tuple(each.headers))
        for each in records
    ]
    return found, records.next_fetch_offset


@given(MESSAGES, MESSAGES, st.integers(0, 20), st.sampled_from([0, 1]), st.integers(0, 1))
def test_it_gives_what_aiokafka_gives(first: Any, second: Any, begin: int, compression: int, level: int) -> None:
    """From any offset on, compressed or not, over the borders of batches."""
    parts = [batch(messages, compression, at) for messages, at in ((first, 0), (second, len(first))) if messages]
    data = b"".join(parts)
    assert unpacked(LeanRecords, data, begin, level) == unpacked(OWN, data, begin, level)


def test_it_goes_on_where_somebody_left_off() -> None:
    """A poll takes so many records, and the next one the rest."""
    data = batch([(None, b"%d" % number, []) for number in range(9)])
    records = LeanRecords(PARTITION, MemoryRecords(data), [], 0, None, None, True, 0)
    taken = []
    for each in records:
        taken.append(each.value)
        if len(taken) == 4:
            break
    assert records.next_fetch_offset == 4
    assert next(records).value == b"4"
    assert [each.value for each in records] == [b"5", b"6", b"7", b"8"]
    with pytest.raises(StopIteration):
        next(records)


def test_a_damaged_batch_is_told_as_aiokafka_tells_it() -> None:
    """And nothing of it is given."""
    data = bytearray(batch([(b"k", b"v", [])]))
    data[-1] ^= 1
    for kind in (LeanRecords, OWN):
        with pytest.raises(CorruptRecordException, match="Invalid CRC"):
            unpacked(kind, bytes(data))


def test_a_header_whose_name_is_no_utf8_fails_as_with_aiokafka() -> None:
    """The reader counts on the same error at the same place."""
    data = bytearray(batch([(b"k", b"v", [("name", b"x")])]))
    at = data.index(b"name")
    data[at] = 0xFF
    for kind in (LeanRecords, OWN):
        records = kind(PARTITION, MemoryRecords(bytes(data)), [], 0, None, None, False, 0)
        with pytest.raises(ValueError, match="utf-8"):
            next(iter(records))
        assert records.next_fetch_offset == 0


def test_the_fetcher_still_makes_records_of_the_class_that_we_replace() -> None:
    """In another version of aiokafka it might not, and we should know."""
    assert "PartitionRecords(" in inspect.getsource(fetcher.Fetcher)
    assert list(inspect.signature(OWN.__init__).parameters)[1:] == [
        "tp", "records", "aborted_transactions", "fetch_offset", "key_deserializer", "value_deserializer",
        "check_crcs", "isolation_level",
    ]  # fmt: skip
