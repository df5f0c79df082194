"""One queue's part of the spool: batches in files, in their order, each with its length and a checksum.

Everything here blocks and is done by one thread at a time. A segment is a head and then records, each a header and
a batch's records as Kafka has them. Only the newest segment is written; the oldest is removed when all of it
is delivered. `cursor` holds how far the oldest is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from proxy.emitter.batch import BATCH_BYTES, Batch
from proxy.emitter.stored_batch import HEADER_BYTES, Header, decode_header, decode_record, encode_record

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Room comes free in steps of this."""

HEAD: Final = b"shadowdrift spool 1\n"
_CURSOR: Final = struct.Struct(">QQI")
_SUFFIX: Final = ".segment"


@dataclass(slots=True)
class Segment:
    """A file: `size` bytes of it are good, and `events` of these are not delivered."""

    path: Path
    number: int
    size: int
    events: int


class Read(NamedTuple):
    """The oldest batches: what could be read, of how many records, and how many events were damaged."""

    batches: list[Batch]
    records: int
    damaged: int


class Segments:
    """The files of one queue in a directory of their own, made when there is something to write."""

    def __init__(self, directory: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._segments: deque[Segment] = deque()
        self._offset = 0
        """Of the first record that is not delivered, in the oldest segment."""
        self._number = 0
        self._writer: int | None = None
        self._reader: tuple[int, int] | None = None
        self._unremoved = 0
        """Records that are delivered and could not be removed yet."""
        self.size = 0
        """Bytes on disk; any thread may look."""
        self.cut = 0
        """Bytes after the last whole record of a segment, as a crash leaves them."""

    @property
    def events(self) -> int:
        """Events that are not delivered."""
        return sum(segment.events for segment in self._segments)

    # Opening.

    def open(self) -> None:
        """Find what an earlier process left. Raises OSError."""
        if not self._directory.is_dir():
            return
        paths = (path for path in self._directory.glob(f"*{_SUFFIX}") if path.stem.isdigit())
        numbered = sorted((int(path.stem), path) for path in paths)
        at, self._offset = self._read_cursor()
        for number, path in numbered:
            segment = self._scan(number, path, self._offset if number == at else len(HEAD)) if number >= at else None
            if segment is not None and segment.events:
                if not self._segments and number != at:
                    self._offset = len(HEAD)
                self._segments.append(segment)
                self.size += segment.size
            else:
                path.unlink()
        self._number = max([at, *(number for number, _ in numbered)])

    def _scan(self, number: int, path: Path, offset: int) -> Segment | None:
        """What of a segment can be read, by its records' headers, and the last one by its checksum."""
        with path.open("rb") as file:
            descriptor, length = file.fileno(), path.stat().st_size
            if os.pread(descriptor, len(HEAD), 0) != HEAD:
                self.cut += length
                return None
            events, last = 0, None
            while (header := decode_header(os.pread(descriptor, HEADER_BYTES, offset))) is not None:
                if offset + header.whole > length:
                    break
                last = (header, offset)
                events += header.events
                offset += header.whole
            if last is not None and decode_record(last[0], os.pread(descriptor, last[0].whole, last[1])) is None:
                events -= last[0].events
                offset = last[1]
        self.cut += max(0, length - offset)
        return Segment(path, number, offset, events)

    def _read_cursor(self) -> tuple[int, int]:
        try:
            number, offset, crc = _CURSOR.unpack((self._directory / "cursor").read_bytes())
        except (FileNotFoundError, struct.error):
            return 0, len(HEAD)
        # A damaged one means that something is delivered twice.
        return (number, offset) if crc == _cursor_crc(number, offset) else (0, len(HEAD))

    # Writing.

    def append(self, batches: list[Batch]) -> None:
        """Write them behind all others; all of them, or none and an OSError."""
        if self._writer is None or self._segments[-1].size >= self._segment_bytes:
            self._begin_segment()
        assert self._writer is not None
        segment, data = self._segments[-1], memoryview(b"".join(encode_record(batch) for batch in batches))
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._writer, data[written:], segment.size + written)
        except OSError:
            try:
                os.ftruncate(self._writer, segment.size)
            except OSError:
                self._close_writer()  # what is behind `size` is never read; the next record begins another file
            raise
        segment.size += len(data)
        self.size += len(data)
        segment.events += sum(batch.count for batch in batches)

    def _begin_segment(self) -> None:
        self._close_writer()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        number = self._number + 1
        path = self._directory / f"{number:016d}{_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if os.pwrite(descriptor, HEAD, 0) != len(HEAD):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        if not self._segments:
            self._offset = len(HEAD)
        self._number = number
        self._writer = descriptor
        self._segments.append(Segment(path, number, len(HEAD), 0))
        self.size += len(HEAD)

    def _close_writer(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def unsynced(self) -> list[int]:
        """Copies of the descriptors of what is written, and of the directory, to be synchronised and closed."""
        if self._writer is None:
            return []
        return [os.dup(self._writer), os.open(self._directory, os.O_RDONLY)]

    # Reading.

    def read(self, size: int = BATCH_BYTES) -> Read:
        """The oldest batches, at least one, mostly within `size` bytes; they stay until `remove`. Raises OSError."""
        batches: list[Batch] = []
        records = damaged = 0
        if not self._segments:
            return Read(batches, records, damaged)
        for header, data in self._oldest(size):
            batch = decode_record(header, data)
            records += 1
            if batch is None:
                damaged += header.events
            else:
                batches.append(batch)
        if not records:  # not even a header can be read, so nothing tells where the next one is
            damaged = self._discard_oldest()
        return Read(batches, records, damaged)

    def _oldest(self, size: int) -> Iterator[tuple[Header, memoryview]]:
        segment = self._segments[0]
        within = segment.size - self._offset
        data = memoryview(self._pread(segment, min(size, within), self._offset))
        header = decode_header(data)
        if header is not None and len(data) < header.whole <= within:
            data = memoryview(self._pread(segment, header.whole, self._offset))
        at = 0
        while (header := decode_header(data[at:])) is not None and at + header.whole <= len(data):
            yield header, data[at:]
            at += header.whole

    def _pread(self, segment: Segment, length: int, offset: int) -> bytes:
        if self._reader is None or self._reader[0] != segment.number:
            self._close_reader()
            self._reader = (segment.number, os.open(segment.path, os.O_RDONLY))
        return os.pread(self._reader[1], length, offset)

    def _close_reader(self) -> None:
        if self._reader is not None:
            os.close(self._reader[1])
            self._reader = None

    def remove(self, records: int) -> None:
        """The oldest records are delivered. Raises OSError where that could not be written down."""
        self._unremoved += records
        while self._unremoved:
            segment = self._segments[0]
            header = decode_header(self._pread(segment, HEADER_BYTES, self._offset))
            if header is None:
                raise OSError(errno.EIO, "a record's header is damaged")
            segment.events -= header.events
            self._offset += header.whole
            self._unremoved -= 1
            if self._offset >= segment.size and (len(self._segments) > 1 or not self._unremoved):
                self._remove_oldest()
        if self._segments:
            self._write_cursor()

    def _discard_oldest(self) -> int:
        """Give up the rest of a segment; how many events that are."""
        lost = self._segments[0].events
        self._remove_oldest()
        return lost

    def _remove_oldest(self) -> None:
        segment = self._segments.popleft()
        self.size -= segment.size
        self._offset = len(HEAD)
        self._close_reader()
        if not self._segments:
            self._close_writer()
        segment.path.unlink(missing_ok=True)
        if not self._segments:
            (self._directory / "cursor").unlink(missing_ok=True)

    def _write_cursor(self) -> None:
        number, offset = self._segments[0].number, self._offset
        descriptor = os.open(self._directory / "cursor", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, _CURSOR.pack(number, offset, _cursor_crc(number, offset)), 0)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close what is open; the files stay."""
        self._close_writer()
        self._close_reader()


def _cursor_crc(number: int, offset: int) -> int:
    return zlib.crc32(struct.pack(">QQ", number, offset))
