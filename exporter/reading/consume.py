"""The consumer group's member: which partitions are ours, from which offset they are read, how Kafka's absence ends.

Positions are kept here and not by the group: a partition that comes is read again from ten windows before its end, so
that the windows come back, and one that stays goes on where it was. Committed offsets serve lag tools, and tell what an
earlier run has already sent on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from events import topics
from events.brokers import Brokers
from events.obstacles import Obstacle
from exporter.reading.intake import Intake
from lifecycle.refusal import Refusal

_log = logging.getLogger("shadowdrift.exporter")

GROUP: Final = "shadowdrift-exporter"
TOPICS: Final = frozenset({topics.PRODUCTION, topics.SHADOW, topics.LABELS})

_WINDOWS_BACK: Final = 10
_POLL_MS: Final = 200
_POLL_RECORDS: Final = 1000
_SLICE_SECONDS: Final = 0.01
"""Decoding never holds the event loop for much longer than this, one message apart."""
_COMMIT_SECONDS: Final = 5.0
_CALL_SECONDS: Final = 15.0
_SILENT_SECONDS: Final = 10.0
"""A broker answers a fetch twice a second, also when there is nothing to read."""
_STOP_SECONDS: Final = 2.0
_BACKOFF_SECONDS: Final = (0.5, 10.0)


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Reads the topics of events and of labels into the intake until it is cancelled."""

    def __init__(self, brokers: Brokers, intake: Intake) -> None:
        self._brokers = brokers
        self._intake = intake
        self._consumer: AIOKafkaConsumer | None = None
        self._assigned: frozenset[TopicPartition] | None = None
        self._generation = 0
        """Counts the assignments; what was read under an older one is read again."""
        self._placed = 0
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._sent_below: dict[TopicPartition, int] = {}
        self._commit: asyncio.Task[None] | None = None
        self._heard: dict[TopicPartition, tuple[int | None, float]] = {}
        """By partition, aiokafka's mark of the last answer to a fetch, and when we saw it change."""
        self._stepping = False
        """Whether messages are read one at a time, because one of the next cannot be read."""
        self._skipped: TopicPartition | None = None
        self._waits_for: str | None = "Kafka"
        self.obstacle: Obstacle | None = None
        """What keeps it from Kafka, None while nothing does."""

    def waits_for(self) -> str | None:
        """None once the partitions are assigned and their positions set."""
        return self._waits_for

    def lag(self) -> dict[tuple[str, int], int]:
        """By topic and partition, how many messages of the log are yet to be read, as far as the broker has said."""
        lags = {}
        for partition, position in self._positions.items():
            end = self._ends.get(partition, position)
            if self._consumer is not None and self._assigned and partition in self._assigned:
                with contextlib.suppress(KafkaError, AssertionError, KeyError):
                    end = self._consumer.highwater(partition) or end
            lags[partition.topic, partition.partition] = max(0, end - position)
        return lags

    async def run(self) -> None:
        """Consume. A broker that is away is tried again and again; `Refusal` for partition counts that differ."""
        backoff = 0.0
        while True:
            try:
                await self._wait_for_topics()
                await self._session()
            except (KafkaError, topics.TopicsError, OSError, UnicodeError) as error:
                # UnicodeError: a host that is no name, as in `kafka..svc`, which a resolver refuses in this manner.
                if self._waits_for is None:  # it went well for a while
                    backoff = 0.0
                if not backoff:
                    _log.warning(
                        "Kafka cannot be read; trying again until it can",
                        extra={"fields": {**self._servers(), "reason": str(error) or type(error).__name__}},
                    )
                self._waits_for = "Kafka"
                self.obstacle = error.obstacle if isinstance(error, topics.TopicsError) else "unreachable"
                backoff = min(max(2 * backoff, _BACKOFF_SECONDS[0]), _BACKOFF_SECONDS[1])
                await asyncio.sleep(backoff)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The group is being shared out anew; aiokafka calls this in between our steps."""
        del revoked
        self._assigned = None
        self._generation += 1

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Drop at once what now belongs to another process."""
        self._assigned = frozenset(assigned)
        self._generation += 1
        for gone in self._positions.keys() - self._assigned:
            del self._positions[gone]
            self._intake.disown(gone.partition)

    async def _wait_for_topics(self) -> None:
        told = False
        while True:
            counts = await topics.partitions(self._brokers, TOPICS)
            unequal = topics.unequal_partitions(counts)
            if unequal:
                raise Refusal(unequal)
            missing = sorted(TOPICS - counts.keys())
            self.obstacle = "topics" if missing else None
            if not missing:
                self._move(counts[topics.PRODUCTION])
                self._waits_for = "its partitions"
                return
            self._waits_for = f"the topic {missing[0]}"
            if not told:
                told = True
                _log.warning(
                    "topics are missing; `shadowdrift topics --create` makes them, and reading begins when they exist",
                    extra={"fields": {"topics": missing}},
                )
            await asyncio.sleep(2)

    async def _session(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._brokers.arguments(),
            group_id=GROUP,
            client_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(RangePartitionAssignor,),
            metadata_max_age_ms=30_000,
            retry_backoff_ms=500,
        )
        try:
            await consumer.start()
            consumer.subscribe(topics=sorted(TOPICS), listener=self)
            self._consumer = consumer
            await self._read(consumer)
        finally:
            await self._close(consumer)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        commit_at = time.monotonic() + _COMMIT_SECONDS
        while True:
            generation = self._generation
            batches = await self._poll(consumer)
            if self._placed != self._generation:
                if self._assigned is None:
                    await asyncio.sleep(0.05)
                else:
                    await self._place(consumer, self._assigned)
            elif generation == self._generation:
                for partition, records in batches.items():
                    await self._take(partition, records)
                self._listen(consumer)
            if time.monotonic() >= commit_at:
                commit_at = time.monotonic() + _COMMIT_SECONDS
                self._commit_later(consumer)

    def _listen(self, consumer: AIOKafkaConsumer) -> None:
        """Notice a broker that has fallen silent: aiokafka asks it again and again and tells nobody."""
        if self._placed != self._generation:
            return
        now = time.monotonic()
        marks = {partition: consumer.last_poll_timestamp(partition) for partition in self._positions}
        heard = self._heard
        self._heard = {
            partition: heard[partition] if partition in heard and heard[partition][0] == mark else (mark, now)
            for partition, mark in marks.items()
        }
        silent = any(now - at > _SILENT_SECONDS for _, at in self._heard.values())
        if silent and self.obstacle is None:
            self.obstacle = "unreachable"
            _log.warning("a broker does not answer; reading goes on when it does", extra={"fields": self._servers()})
        elif not silent and self.obstacle is not None:
            self.obstacle = None
            _log.info("Kafka can be read", extra={"fields": self._servers()})

    def _servers(self) -> dict[str, str]:
        return {"bootstrap_servers": str(self._brokers)}

    async def _poll(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, list[Any]]:
        if self._stepping and self._placed == self._generation:
            return await self._step(consumer)
        try:
            batches: dict[TopicPartition, list[Any]] = await consumer.getmany(
                timeout_ms=_POLL_MS, max_records=_POLL_RECORDS
            )
        except ValueError:  # a header whose name is not UTF-8; aiokafka does not say where
            self._stepping, self._skipped = True, None
            if self._placed == self._generation:
                for partition, position in self._positions.items():
                    consumer.seek(partition, position)
            return {}
        return batches

    async def _step(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, list[Any]]:
        """The next message of each partition; one that cannot be read is left out, with what follows in its batch."""
        generation = self._generation
        batches: dict[TopicPartition, list[Any]] = {}
        for partition, position in list(self._positions.items()):
            try:
                batches |= await consumer.getmany(partition, timeout_ms=0, max_records=1)
            except ValueError as error:
                if generation != self._generation:
                    return {}
                self._intake.leave_out(
                    partition.topic,
                    partition.partition,
                    position,
                    str(error),
                    repeated=position < self._sent_below.get(partition, 0),
                )
                self._positions[partition] = position + 1
                consumer.seek(partition, position + 1)
                self._skipped = partition
        if self._skipped in batches:
            self._stepping = False
        if not batches:
            await asyncio.sleep(0.01)
        return batches

    async def _take(self, partition: TopicPartition, records: list[Any]) -> None:
        """Hand over the records in slices, and leave off when the assignment changes meanwhile."""
        done = 0
        while done < len(records) and self._placed == self._generation:
            done = self._intake.take(records, done, self._sent_below.get(partition, 0), _SLICE_SECONDS)
            self._positions[partition] = records[done - 1].offset + 1
            await asyncio.sleep(0)

    async def _place(self, consumer: AIOKafkaConsumer, assigned: frozenset[TopicPartition]) -> None:
        """Set the positions of a new assignment: those that stayed go on, those that came begin windows back."""
        generation = self._generation
        self._check_counts(consumer)
        if assigned:
            begins = await asyncio.wait_for(consumer.beginning_offsets(assigned), _CALL_SECONDS)
            ends = await asyncio.wait_for(consumer.end_offsets(assigned), _CALL_SECONDS)
            for partition in sorted(assigned):
                if partition not in self._positions:
                    committed = await asyncio.wait_for(consumer.committed(partition), _CALL_SECONDS)
                    # Beyond the end it is of a topic that has been made anew since.
                    self._sent_below[partition] = committed if committed and committed <= ends[partition] else 0
            if generation != self._generation:
                return
            self._ends = ends
            for partition in sorted(assigned):
                self._begin(partition, begins[partition], ends[partition])
                consumer.seek(partition, self._positions[partition])
        if self._generation == generation:
            self._placed = generation
            self._stepping = False
            self._heard = {}
            self._waits_for = None
            numbers = sorted(partition.partition for partition in assigned if partition.topic == topics.PRODUCTION)
            _log.info("partitions assigned", extra={"fields": {"partitions": numbers}})

    def _check_counts(self, consumer: AIOKafkaConsumer) -> None:
        """Topics may grow while we run: then models move to other partitions, and everything begins anew."""
        counts = {topic: len(consumer.partitions_for_topic(topic) or ()) for topic in sorted(TOPICS)}
        if not all(counts.values()):
            raise topics.TopicsError("topics", "the topics have gone")
        unequal = topics.unequal_partitions(counts)
        if unequal:
            raise Refusal(unequal)
        self._move(counts[topics.PRODUCTION])

    def _move(self, partitions: int) -> None:
        """Where models belong to other partitions than before, their windows have gone, and so nothing is read on."""
        if self._intake.place(partitions):
            self._positions.clear()

    def _begin(self, partition: TopicPartition, begin: int, end: int) -> None:
        position = self._positions.get(partition)
        if position is None or position > end:  # beyond the end: the topic has been made anew
            self._intake.own(partition.partition)
            models = self._intake.models_of(partition.partition)
            position = end - _WINDOWS_BACK * max((model.size for model in models), default=0)
            if not models:  # nothing to bring back, yet what lies here has to be sent on
                position = self._sent_below.get(partition, 0)
        self._positions[partition] = min(max(position, begin), end)

    def _commit_later(self, consumer: AIOKafkaConsumer) -> None:
        """Commit beside the reading; one at a time, and a failure matters to nobody."""
        if self._commit is None or self._commit.done():
            self._commit = asyncio.create_task(self._commit_now(consumer), name="commit offsets")

    async def _commit_now(self, consumer: AIOKafkaConsumer) -> None:
        assigned = self._assigned or frozenset()
        offsets = {partition: at for partition, at in self._positions.items() if partition in assigned}
        with contextlib.suppress(KafkaError, TimeoutError):
            if offsets and self._placed == self._generation:
                await asyncio.wait_for(consumer.commit(offsets), _CALL_SECONDS)

    async def _close(self, consumer: AIOKafkaConsumer) -> None:
        """End the session; an absent broker does not put it off for long."""
        if self._commit is not None:
            self._commit.cancel()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._commit_now(consumer), _STOP_SECONDS / 2)
        self._consumer = self._assigned = None
        self._generation += 1
        with contextlib.suppress(Exception):
            await asyncio.wait_for(consumer.stop(), _STOP_SECONDS)
