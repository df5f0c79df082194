"""Events as Kafka's own record batches, from when they are made: in memory, on disk and on the way the same bytes.

An event's record is encoded once. Sealing a batch leaves its records as bytes; a header with the producer's sequence
numbers is put before them each time they are sent, so that a batch may wait, be stored and be sent again as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from events.headers import Headers

BATCH_BYTES: Final = 512 * 1024
"""Of a batch; half of what a broker takes at most unless it is told otherwise."""

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, CRC, attributes, last offset, first and greatest time, producer's id, its
epoch, base sequence, number of records: https://kafka.apache.org/documentation/#recordbatch."""

_CRC: Final = struct.Struct(">I")
_LENGTH_ENDS: Final = 12
_CRC_ENDS: Final = 21
_MAGIC: Final = 2
_NONE: Final = -1


@dataclass(frozen=True, slots=True)
class Batch:
    """Encoded records without their batch's header; times in milliseconds."""

    count: int
    first_ms: int
    greatest_ms: int
    records: bytes

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.records)

    def with_header(self, producer_id: int = _NONE, epoch: int = _NONE, sequence: int = _NONE) -> bytearray:
        """The batch as Kafka takes it."""
        whole = bytearray(_HEADER.size + len(self.records))
        whole[_HEADER.size :] = self.records
        numbers = (0, self.count - 1, self.first_ms, self.greatest_ms, producer_id, epoch, sequence, self.count)
        _HEADER.pack_into(whole, 0, 0, len(whole) - _LENGTH_ENDS, _NONE, _MAGIC, 0, *numbers)
        with memoryview(whole)[_CRC_ENDS:] as checked:
            _CRC.pack_into(whole, _CRC_ENDS - _CRC.size, calc_crc32c(checked))
        return whole


class OpenBatch:
    """A batch that takes events, at most `limit` bytes of them, but one however large."""

    def __init__(self, limit: int, began: float) -> None:
        self.began = began
        self.count = 0
        self.size = 0
        self._builder = DefaultRecordBatchBuilder(
            _MAGIC,
            compression_type=0,
            is_transactional=0,
            producer_id=_NONE,
            producer_epoch=_NONE,
            base_sequence=_NONE,
            batch_size=limit,
        )

    def append(self, key: bytes | None, value: bytes | None, headers: Headers, time_ms: int) -> int:
        """Take one event: how many bytes it adds, 0 where there is no room for it."""
        added = self._builder.append(self.count, time_ms, key=key, value=value, headers=headers)
        if added is None:
            return 0
        self.count += 1
        self.size += added.size
        return int(added.size)

    def seal(self) -> Batch:
        """What it has taken. It takes no more."""
        built = self._builder.build()
        numbers = _HEADER.unpack_from(built)
        return Batch(self.count, numbers[7], numbers[8], bytes(memoryview(built)[_HEADER.size :]))


def records(batch: Batch) -> Iterator[tuple[bytes | None, bytes | None, Headers, int]]:
    """The events of a batch one by one, as `OpenBatch.append` takes them."""
    for record in DefaultRecordBatch(batch.with_header()):
        yield record.key, record.value, list(record.headers), record.timestamp


def joined(batches: list[Batch]) -> Batch:
    """One batch of all their events: many small ones cost a broker, and us, more than one large one."""
    if len(batches) == 1:
        return batches[0]
    return _made(event for batch in batches for event in records(batch))


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """Two batches of one that has at least two events."""
    events = list(records(batch))
    middle = len(events) // 2
    return _made(events[:middle]), _made(events[middle:])


def untimed(batch: Batch) -> Batch:
    """The same events without Kafka's own timestamp; their time is in them."""
    return _made((key, value, headers, _NONE) for key, value, headers, _ in records(batch))


def _made(events: Iterable[tuple[bytes | None, bytes | None, Headers, int]]) -> Batch:
    made = OpenBatch(2**31 - 1, 0.0)
    for key, value, headers, time_ms in events:
        made.append(key, value, headers, time_ms)
    return made.seal()


class Outgoing:
    """A batch on its way, in the form that aiokafka's `send_batch` takes: its `BatchBuilder`, closed already.

    aiokafka asks for the bytes again when it sends again, and gives the sequence numbers once, before the first time.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._producer: tuple[int, int, int] = (_NONE, _NONE, _NONE)
        self._built: bytearray | None = None

    def record_count(self) -> int:
        """How many events."""
        return self._batch.count

    def closed(self) -> bool:
        """Nothing is added to it."""
        return True

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> Any:
        if self._built is None:
            self._built = self._batch.with_header(*self._producer)
        return self._built
