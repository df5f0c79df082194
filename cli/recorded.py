"""Recorded events out of Kafka, put together by exchange: production's beside its shadow's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from events.brokers import Brokers, in_words
from events.codec import EventError, decode_inference
from events.inference import InferenceEvent, Role
from events.partitions import partition_of
from events.topics import TOPIC_OF_ROLE, TopicsError, partitions
from lifecycle.refusal import Refusal

LATE_SECONDS: Final = 600.0
"""How far beyond the span's end is read on: what waited on a proxy's disk stands behind younger events."""

_EARLY_SECONDS: Final = 1.0
"""How far before it reading begins: clocks."""

_POLL_MS: Final = 500
_SILENT_POLLS: Final = 60


@dataclass
class Recorded:
    """One exchange, as far as its events were found."""

    id: str
    events: dict[Role, InferenceEvent] = field(default_factory=dict)

    @property
    def time(self) -> float:
        """When the request's head had arrived."""
        return min(event.time for event in self.events.values())

    @property
    def whole(self) -> bool:
        """Whether nothing more is to be expected."""
        production = self.events.get("production")
        return production is not None and (not production.sampled or "shadow" in self.events)


@dataclass(frozen=True)
class Wanted:
    """Events of `model` (of any, where it is None) whose time is in [since, until), or those of one id."""

    model: str | None
    since: float
    until: float
    id: str | None = None

    def takes(self, event: InferenceEvent) -> bool:
        """Whether an event is one of them."""
        if self.model is not None and event.model != self.model:
            return False
        return event.id == self.id if self.id is not None else self.since <= event.time < self.until


class Found:
    """The exchanges found so far: at most `limit`, the first ones by their events' place in the log."""

    def __init__(self, wanted: Wanted, limit: int) -> None:
        self._wanted = wanted
        self._limit = limit
        self.exchanges: dict[str, Recorded] = {}
        self.beyond = 0
        """Events of exchanges that would have been too many."""

    def take(self, value: bytes | None) -> None:
        """Look at one message."""
        try:
            event = decode_inference(value)
        except EventError:
            return  # the exporter counts it, with its reason
        if not self._wanted.takes(event):
            return
        found = self.exchanges.get(event.id)
        if found is None:
            if len(self.exchanges) >= self._limit:
                self.beyond += 1
                return
            found = self.exchanges[event.id] = Recorded(event.id)
        found.events.setdefault(event.role, event)  # delivered twice, it is the same event

    @property
    def complete(self) -> bool:
        """Whether the one exchange that was asked for is there, and whole."""
        return self._wanted.id is not None and any(found.whole for found in self.exchanges.values())

    def in_order(self) -> list[Recorded]:
        """By time."""
        return sorted(self.exchanges.values(), key=lambda found: (found.time, found.id))


async def read(brokers: Brokers, wanted: Wanted, limit: int) -> Found:
    """Read production's topic, then the shadow's. Raises `Refusal`, one line, for what keeps us from it."""
    found = Found(wanted, limit)
    try:
        counts = await partitions(brokers)
    except TopicsError as error:
        raise Refusal(f"exchanges: {error}") from None
    consumer = AIOKafkaConsumer(**brokers.arguments(), enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        await consumer.start()
        for topic in TOPIC_OF_ROLE.values():
            if topic not in counts:
                raise Refusal(
                    f"exchanges: {brokers} has no topic {topic}; `shadowdrift topics --check` tells what it has"
                )
            only = None if wanted.model is None else partition_of(wanted.model, counts[topic])
            for number in range(counts[topic]) if only is None else (only,):
                await _read(consumer, TopicPartition(topic, number), wanted, found.take, lambda: found.complete)
    except (KafkaError, OSError) as error:
        raise Refusal(f"exchanges: {brokers} cannot be read: {in_words(error)}") from None
    finally:
        with contextlib.suppress(Exception):
            await consumer.stop()
    return found


async def _read(
    consumer: AIOKafkaConsumer,
    partition: TopicPartition,
    wanted: Wanted,
    take: Callable[[bytes | None], None],
    enough: Callable[[], bool],
) -> None:
    """One partition, from the span's beginning to a while beyond its end, or to the log's end as it is now."""
    consumer.assign([partition])
    position = await _offset_at(consumer, partition, wanted.since - _EARLY_SECONDS)
    if position is None:
        return
    end = (await consumer.end_offsets([partition]))[partition]
    last = await _offset_at(consumer, partition, wanted.until + LATE_SECONDS)
    end = end if last is None else min(end, last)
    consumer.seek(partition, position)
    silent = 0
    while position < end and not enough():
        batches = await consumer.getmany(partition, timeout_ms=_POLL_MS)
        for record in batches.get(partition, ()):
            if record.offset < end:
                take(record.value)
        silent = 0 if batches else silent + 1
        if silent >= _SILENT_POLLS:
            raise Refusal(f"exchanges: {partition.topic} cannot be read: the broker has fallen silent; try again")
        position = await consumer.position(partition)


async def _offset_at(consumer: AIOKafkaConsumer, partition: TopicPartition, time: float) -> int | None:
    found = (await consumer.offsets_for_times({partition: max(0, int(time * 1000))}))[partition]
    return None if found is None else int(found.offset)
