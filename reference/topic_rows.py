"""A topic's events of one model in a range of time, as rows: what production was asked, and what it answered.

Only answers with outcome `ok` count, each once. Strings come as the emitter left them, so what the former profile did
not list is a category by its hash.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from events.brokers import Brokers, in_words
from events.codec import EventError, decode_inference
from events.inference import InferenceEvent
from events.partitions import partition_of
from events.topics import TOPIC_OF_ROLE, TopicsError, partitions
from lifecycle.refusal import Refusal
from reference.draft import CHUNK_ROWS, Draft
from reference.instances import row_of

LATE_SECONDS: Final = 600.0
"""How far beyond the range's end is read on: what waited on a proxy's disk stands behind younger events."""

_ROLE_OF_TOPIC: Final = {topic: role for role, topic in TOPIC_OF_ROLE.items()}
_POLL_MS: Final = 500
_POLL_RECORDS: Final = 5_000
_SILENT_SECONDS: Final = 30.0


@dataclass(frozen=True)
class TopicRange:
    """Events of `model` in `topic` whose time, in seconds since 1970, is in [begin, end)."""

    topic: str
    model: str
    begin: float
    end: float

    def __post_init__(self) -> None:
        if self.topic not in _ROLE_OF_TOPIC:
            raise Refusal(f"profile: --topic must be one of {', '.join(_ROLE_OF_TOPIC)}, got {self.topic}")
        if not self.begin < self.end:
            raise Refusal(f"profile: --from must lie before --to, got {_shown(self.begin)} and {_shown(self.end)}")

    def __str__(self) -> str:
        return f"{self.topic}, model {self.model}, from {_shown(self.begin)} to {_shown(self.end)}"

    def takes(self, event: InferenceEvent) -> bool:
        """Whether an event belongs into the profile."""
        mine = event.model == self.model and event.role == _ROLE_OF_TOPIC[self.topic]
        return mine and event.outcome == "ok" and self.begin <= event.time < self.end


def parse_time(option: str, text: str) -> float:
    """`2026-11-01T00:00:00Z` to seconds since 1970. Raises `Refusal` for anything else, a time without zone too."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or time.timestamp() < 0:
        raise Refusal(f"profile: {option} must be a time with its zone, such as 2026-11-01T00:00:00Z, got {text!r}")
    return time.timestamp()


def read_topic(brokers: Brokers, wanted: TopicRange, draft: Draft) -> None:
    """Read the events into the draft. Raises `Refusal`, one line, for what keeps us from it."""
    asyncio.run(_read(brokers, wanted, draft))


async def _read(brokers: Brokers, wanted: TopicRange, draft: Draft) -> None:
    try:
        counts = await partitions(brokers)
    except TopicsError as error:
        raise Refusal(f"profile: {error}") from None
    if wanted.topic not in counts:
        raise Refusal(f"profile: {brokers} has no topic {wanted.topic}; `shadowdrift topics --check` tells what it has")
    partition = TopicPartition(wanted.topic, partition_of(wanted.model, counts[wanted.topic]))
    consumer = AIOKafkaConsumer(**brokers.arguments(), enable_auto_commit=False, auto_offset_reset="earliest")
    seen: set[str] = set()
    rows: list[Mapping[str, Any]] = []
    try:
        await consumer.start()
        consumer.assign([partition])
        async for value in _values(consumer, partition, wanted):
            rows += _rows_of(value, wanted, seen, draft.key_ids)
            if len(rows) >= CHUNK_ROWS:
                draft.add_rows(rows)
                rows = []
    except (KafkaError, OSError) as error:
        raise Refusal(f"profile: {wanted.topic} cannot be read: {in_words(error)}") from None
    finally:
        with contextlib.suppress(Exception):
            await consumer.stop()
    if rows:
        draft.add_rows(rows)
    if not draft.rows:
        raise Refusal(f"profile: {wanted}: no event with outcome ok; `--from` and `--to` take times with their zone")


async def _values(
    consumer: AIOKafkaConsumer, partition: TopicPartition, wanted: TopicRange
) -> AsyncIterator[bytes | None]:
    """The messages from the range's beginning until a while beyond its end, or the log's as it is now."""
    position = await _offset_at(consumer, partition, wanted.begin)
    end = (await consumer.end_offsets([partition]))[partition]
    last = await _offset_at(consumer, partition, wanted.end + LATE_SECONDS)
    end = end if last is None else min(end, last)
    if position is None:
        return
    consumer.seek(partition, position)
    silent = 0.0
    while position < end:
        batches = await consumer.getmany(partition, timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
        for record in batches.get(partition, ()):
            if record.offset < end:
                yield record.value
        silent = 0.0 if batches else silent + _POLL_MS / 1000
        if silent >= _SILENT_SECONDS:
            raise Refusal(f"profile: {partition.topic} cannot be read: the broker has fallen silent; try again")
        position = await consumer.position(partition)


async def _offset_at(consumer: AIOKafkaConsumer, partition: TopicPartition, time: float) -> int | None:
    """The offset of the first message at that time or later; None where there is none."""
    found = (await consumer.offsets_for_times({partition: int(time * 1000)}))[partition]
    return None if found is None else int(found.offset)


def _rows_of(value: bytes | None, wanted: TopicRange, seen: set[str], key_ids: set[str]) -> Iterator[Mapping[str, Any]]:
    try:
        event = decode_inference(value)
    except EventError:
        return  # the exporter counts it, with its reason
    if event.id in seen or not wanted.takes(event):
        return
    seen.add(event.id)
    if event.key_id is not None:
        key_ids.add(event.key_id)
    yield from map(row_of, event.instances)


def _shown(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")
