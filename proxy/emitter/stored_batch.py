"""A batch as it stands on disk: a header with a checksum of its own and one of the batch, then the batch's records."""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

from proxy.emitter.batch import Batch

_RECORD: Final = struct.Struct(">IIqqI")
"""Length, number of events, first and greatest time, CRC-32 of the batch; a CRC-32 of these follows."""

_CRC: Final = struct.Struct(">I")
HEADER_BYTES: Final = _RECORD.size + _CRC.size


def encode_record(batch: Batch) -> bytes:
    """A batch as it stands in a segment."""
    crc = zlib.crc32(batch.records)
    header = _RECORD.pack(len(batch.records), batch.count, batch.first_ms, batch.greatest_ms, crc)
    return header + _CRC.pack(zlib.crc32(header)) + batch.records


class Header(NamedTuple):
    """A record's header."""

    length: int
    events: int
    first_ms: int
    greatest_ms: int
    crc: int

    @property
    def whole(self) -> int:
        """The record's bytes, this header among them."""
        return HEADER_BYTES + self.length


def decode_header(data: bytes | memoryview) -> Header | None:
    """The header at the beginning of the data; None where there is none, such as where writing stopped."""
    if len(data) < HEADER_BYTES or _CRC.unpack_from(data, _RECORD.size)[0] != zlib.crc32(data[: _RECORD.size]):
        return None
    header = Header(*_RECORD.unpack_from(data))
    return header if header.length and header.events else None


def decode_record(header: Header, data: bytes | memoryview) -> Batch | None:
    """The batch at the beginning of the data; None where it is not whole, or not as it was written."""
    records = bytes(data[HEADER_BYTES : header.whole])
    if len(records) < header.length or zlib.crc32(records) != header.crc:
        return None
    return Batch(header.events, header.first_ms, header.greatest_ms, records)
