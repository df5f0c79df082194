"""Batches, and their records on disk: what is read is what was written, wherever a crash or the disk cut it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given, settings
from hypothesis import strategies as st

import proxy.emitter.segments
from events.headers import Headers
from proxy.emitter.batch import Batch, OpenBatch, Outgoing, halves, joined, records, untimed
from proxy.emitter.segments import HEAD, Segments
from proxy.emitter.stored_batch import decode_header, decode_record, encode_record

Event = tuple[bytes, bytes, Headers, int]

NAMES = st.text(st.characters(codec="ascii"), min_size=1, max_size=20)
EVENTS: st.SearchStrategy[Event] = st.tuples(
    st.binary(min_size=1, max_size=10),
    st.binary(max_size=300),
    st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=4),
    st.integers(0, 2**41),
)


def made(events: list[Event]) -> Batch:
    """A batch of them."""
    batch = OpenBatch(2**20, 0.0)
    for event in events:
        assert batch.append(*event)
    return batch.seal()


def small(first: int, count: int = 3) -> Batch:
    """A batch of numbered events."""
    return made([(b"k", b"%d" % number, [], number) for number in range(first, first + count)])


def numbers(batches: list[Batch]) -> list[int]:
    """The numbers of such events."""
    return [int(value or b"") for batch in batches for _, value, _, _ in records(batch)]


BATCHES = st.lists(EVENTS, min_size=1, max_size=8).map(made)


@settings(deadline=None, derandomize=True)
@given(st.lists(EVENTS, min_size=2, max_size=12))
def test_a_batch_holds_its_events_however_it_is_joined_and_halved(events: list[Event]) -> None:
    """And Kafka's own checksum holds, whatever the producer's numbers are."""
    batch = made(events)
    assert list(records(batch)) == events
    first, second = halves(batch)
    assert [*records(first), *records(second)] == events
    assert list(records(joined([first, second, batch]))) == events + events
    assert list(records(untimed(batch))) == [(*event[:3], -1) for event in events]
    assert batch.size == sum(part.size for part in (batch,))
    read = DefaultRecordBatch(batch.with_header(77, 3, 1234))
    assert read.validate_crc()
    assert (read.producer_id, read.producer_epoch, read.base_sequence) == (77, 3, 1234)
    assert (read.first_timestamp, read.max_timestamp) == (events[0][3], max(event[3] for event in events))


def test_a_batch_on_its_way_is_built_once_with_the_numbers_it_was_given() -> None:
    """aiokafka asks again when it sends again; the sequence numbers must be the same."""
    outgoing = Outgoing(small(0))
    outgoing._set_producer_state(5, 0, 42)
    first = outgoing._build()
    assert outgoing._build() is first
    assert DefaultRecordBatch(first).base_sequence == 42
    assert (outgoing.record_count(), outgoing.closed()) == (3, True)


def test_a_full_batch_takes_no_more_and_one_event_always_finds_room() -> None:
    """A large event has a batch of its own, so that the broker's refusal hits it alone."""
    batch = OpenBatch(1000, 0.0)
    assert batch.append(b"k", bytes(5000), [], 0)
    assert not batch.append(b"k", b"x", [], 0)
    assert batch.count == 1


@settings(deadline=None, derandomize=True)
@given(BATCHES, st.data())
def test_a_record_is_read_as_it_was_written_or_not_at_all(batch: Batch, data: st.DataObject) -> None:
    """A cut, or a bit that changed anywhere in it, is seen."""
    written = encode_record(batch)
    header = decode_header(written)
    assert header is not None
    assert header.whole == len(written)
    assert decode_record(header, written + b"more") == batch
    cut = data.draw(st.integers(0, len(written) - 1))
    torn = decode_header(written[:cut])
    assert torn is None or decode_record(torn, written[:cut]) is None
    at, bit = data.draw(st.integers(0, len(written) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(written)
    changed[at] ^= 1 << bit
    header = decode_header(changed)
    assert header is None or decode_record(header, changed) is None


@settings(deadline=None, derandomize=True)
@given(data=st.binary(max_size=80))
def test_no_bytes_make_reading_fail(data: bytes) -> None:
    """They are a record, or they are none."""
    header = decode_header(data)
    assert header is None or decode_record(header, data) is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(1, 40), min_size=1, max_size=3)),
        st.tuples(st.just("remove"), st.integers(1, 3)),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=25,
)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(STEPS)
def test_segments_are_a_queue_over_every_reopening(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    """What was appended and not removed is read, in order; a reopened one knows how many events that are."""
    folder = tmp_path_factory.mktemp("segments") / "production.fraud"
    segments, expected, number = Segments(folder, 800), [], 0
    for step, argument in steps:
        if step == "append":
            batches = []
            for count in argument:
                batches.append(small(number, count))
                number += count
            segments.append(batches)
            expected += [numbers([batch]) for batch in batches]
        elif step == "remove":
            segments.remove(min(argument, len(expected)))
            del expected[:argument]
        else:
            segments.close()
            segments = Segments(folder, 800)
            segments.open()
            assert segments.cut == 0
        assert segments.events == sum(len(record) for record in expected)
        read = segments.read(600)
        assert [numbers([batch]) for batch in read.batches] == expected[: read.records]
        assert bool(expected) == bool(read.records)
        files = list(folder.glob("*.segment"))
        assert segments.size == sum(path.stat().st_size for path in files)
    segments.remove(len(expected))
    assert [path.name for path in folder.glob("*")] == []
    segments.close()


def test_a_torn_last_record_is_cut_and_all_before_it_is_there(tmp_path: Path) -> None:
    """Wherever the crash tore it; what is written afterwards is read too."""
    written = Segments(tmp_path)
    written.append([small(0), small(3)])
    whole = written.size
    written.append([small(6)])
    written.close()
    path = next(tmp_path.glob("*.segment"))
    content = path.read_bytes()
    for length in range(whole, len(content)):
        path.write_bytes(content[:length])
        segments = Segments(tmp_path)
        segments.open()
        assert (segments.events, segments.cut) == (6, length - whole)
        assert numbers(segments.read().batches) == list(range(6))
        segments.close()
    segments = Segments(tmp_path)
    segments.open()
    segments.append([small(9)])
    segments.remove(2)
    assert numbers(segments.read().batches) == [9, 10, 11]
    segments.close()


@pytest.mark.parametrize(
    "end",
    [bytes(100), b"\xff" * 100, encode_record(small(6))[:-1] + b"\xff"],
    ids=["zeros", "anything", "other content"],
)
def test_what_a_power_failure_leaves_at_the_end_is_cut(tmp_path: Path, end: bytes) -> None:
    """Zeros, anything, or a record of the right length with other content."""
    segments = Segments(tmp_path)
    segments.append([small(0)])
    segments.close()
    with next(tmp_path.glob("*.segment")).open("ab") as file:
        file.write(end)
    segments = Segments(tmp_path)
    segments.open()
    assert (segments.events, segments.cut) == (3, len(end))
    segments.close()


def test_a_damaged_cursor_delivers_twice_rather_than_not_at_all(tmp_path: Path) -> None:
    """It is a hint, with a checksum."""
    segments = Segments(tmp_path)
    segments.append([small(0), small(3)])
    segments.remove(1)
    segments.close()
    cursor = tmp_path / "cursor"
    for content in (b"", b"x", cursor.read_bytes()[:-1] + b"\xee"):
        cursor.write_bytes(content)
        segments = Segments(tmp_path)
        segments.open()
        assert numbers(segments.read().batches) == list(range(6))
        segments.close()


@pytest.mark.parametrize("at", [0, 5, 12, 40])
def test_damage_in_the_middle_costs_what_it_hit_and_is_counted(tmp_path: Path, at: int) -> None:
    """A record whose header is gone takes the rest of its segment along; every event is accounted for."""
    segments = Segments(tmp_path, 400)
    for first in range(0, 30, 3):
        segments.append([small(first)])
    path = min(tmp_path.glob("*.segment"))
    content = bytearray(path.read_bytes())
    start = len(HEAD) + len(encode_record(small(0))) + at
    content[start : start + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    seen: list[int] = []
    damaged = 0
    while segments.events:
        read = segments.read()
        segments.remove(read.records)
        seen += numbers(read.batches)
        damaged += read.damaged
    assert damaged >= 3
    assert len(seen) + damaged == 30
    assert seen == sorted(seen)
    segments.close()


class FullDisk:
    """`os.pwrite` of a disk with so much room: what does not fit is written in part."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, descriptor: int, data: bytes, offset: int) -> int:
        """Write what fits; ENOSPC where nothing does."""
        fits = min(len(data), self.room)
        if not fits:
            raise OSError(28, "No space left on device")
        self.room -= fits
        return os.pwrite(descriptor, data[:fits], offset)


@pytest.mark.parametrize("truncates", [True, False])
@pytest.mark.parametrize("room", [0, 5, len(HEAD), len(HEAD) + 10, 100, 200])
def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, truncates: bool
) -> None:
    """All of an append or none of it, also where the torn piece cannot be cut off; with room it goes on."""
    segments = Segments(tmp_path)
    disk = FullDisk(room)
    fake = type("Os", (), {**vars(os), "pwrite": disk})
    if not truncates:
        monkeypatch.setattr(fake, "ftruncate", disk_refuses, raising=False)
    monkeypatch.setattr(proxy.emitter.segments, "os", fake)
    expected = []
    for first in range(0, 12, 3):
        try:
            segments.append([small(first)])
            expected += range(first, first + 3)
        except OSError:
            disk.room = 0 if first < 6 else 10_000
    assert segments.events == len(expected) < 12
    segments.close()
    again = Segments(tmp_path)
    again.open()
    seen: list[int] = []
    while again.events:
        read = again.read()
        again.remove(read.records)
        seen += numbers(read.batches)
    assert seen == expected
    again.close()


def disk_refuses(*_: Any) -> None:
    """As a disk that has gone."""
    raise OSError(5, "Input/output error")
