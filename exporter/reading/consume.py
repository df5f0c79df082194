"""Kafka to the intake: sessions with the brokers, one after the other, until the process ends.

Which partitions are ours is `membership`'s to know, where their reading begins is `placing`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from events import topics
from events.brokers import Brokers
from events.obstacles import Obstacle
from exporter.reading.committing import Commits
from exporter.reading.hearing import Hearing
from exporter.reading.intake import Intake
from exporter.reading.membership import HEARTBEAT_SECONDS, REBALANCE_SECONDS, SESSION_SECONDS, Membership
from exporter.reading.outbox import Outbox
from exporter.reading.placing import TOPICS, Placing
from exporter.reading.shedding import Shedding
from exporter.reading.state import Standing, StateStore
from exporter.reading.stepping import Stepping
from lifecycle.refusal import Refusal

_log = logging.getLogger("shadowdrift.exporter")

GROUP: Final = "shadowdrift-exporter"

_SLICE_SECONDS: Final = 0.01
"""Decoding never holds the event loop for much longer than this, one message apart."""
_CALL_SECONDS: Final = 15.0
_FIRST_WRITE_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 2.0
_BACKOFF_SECONDS: Final = (0.5, 10.0)


class Consumer:
    """Reads the topics of events and of labels into the intake until it is cancelled."""

    def __init__(
        self, brokers: Brokers, intake: Intake, store: StateStore, outbox: Outbox, seat: str | None = None
    ) -> None:
        """`seat` is a name in the group that no other process has; without one a crash costs a session's length."""
        self._brokers = brokers
        self._intake = intake
        self._store = store
        self._seat = seat
        self.placing: Final = Placing(intake, store)
        self._membership = Membership(self.placing.keep)
        self._stepping = Stepping(intake, self.placing)
        self._shedding = Shedding()
        self._consumer: AIOKafkaConsumer | None = None
        self._outbox = outbox
        self._commits = Commits(self.placing, self._membership, outbox)
        self._hearing = Hearing()
        self._waits_for: str | None = "Kafka"
        self.obstacle: Obstacle | None = None
        """What keeps it from Kafka, None while nothing does."""

    def waits_for(self) -> str | None:
        """None once the partitions are assigned and the windows of their models are back."""
        if self._waits_for is None and not self._membership.certain():
            return "its partitions"
        if self._waits_for is None and any(map(self._intake.replaying, self._intake.owned)):
            return "its windows"
        return self._waits_for

    def certain(self) -> bool:
        """Whether what is owned may be shown: nobody else can be its owner."""
        return self._membership.certain()

    def lag(self) -> dict[tuple[str, int], int]:
        """By topic and partition, how many messages of the log are yet to be read, as far as the broker has said."""
        lags = {}
        for partition, position in self.placing.positions.items():
            lags[partition.topic, partition.partition] = max(0, self._end(partition, position) - position)
        return lags

    def models(self) -> list[str]:
        """The models whose state can be written: each of their sections stands at the same offsets."""
        return [name for name in self._intake.owned if not self._intake.replaying(name)]

    def standing(self, model: str) -> Standing | None:
        """A model as it stands, if it is ours for certain."""
        return self.placing.standing(model) if self._membership.certain() else None

    def epoch(self, model: str) -> int | None:
        """Which owner of the model's partition we are, if it is ours."""
        mine = self._membership.assigned is not None and self._membership.fresh()
        return self.placing.epoch(model) if mine else None

    async def sent_on(self, standing: Standing) -> None:
        """Wait until what was to be sent on of what it is made of is acknowledged, or can be sent on by nobody."""
        await self._outbox.passed({(topic, standing.partition): at for topic, at in standing.offsets.items()})

    def begin_anew(self, model: str) -> None:
        """Forget what is known of a model."""
        self.placing.begin_anew(model)

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
                self.placing.move(counts[topics.PRODUCTION])
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
            group_instance_id=self._seat,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(SESSION_SECONDS * 1000),
            heartbeat_interval_ms=int(HEARTBEAT_SECONDS * 1000),
            rebalance_timeout_ms=int(REBALANCE_SECONDS * 1000),
            metadata_max_age_ms=30_000,
            retry_backoff_ms=500,
        )
        writing: asyncio.Task[None] | None = None
        try:
            await consumer.start()
            self._membership.enter(consumer)
            consumer.subscribe(topics=sorted(TOPICS), listener=self._membership)
            self._consumer = consumer
            writing = asyncio.create_task(self._store.run(self), name="write state")
            await self._read(consumer, writing)
        finally:
            await self._close(consumer, writing)

    async def _read(self, consumer: AIOKafkaConsumer, writing: asyncio.Task[None]) -> None:
        self._commits.begin()
        membership = self._membership
        while True:
            generation = membership.generation
            batches = await self._stepping.poll(consumer, membership.settled)
            if not membership.settled():
                if membership.assigned is None:
                    await asyncio.sleep(0.05)
                else:
                    await self._place(consumer, membership.assigned)
            elif generation == membership.generation:
                for partition, records in batches.items():
                    await self._take(consumer, partition, records)
                self._shed(consumer)
                self._listen(consumer)
            if writing.done():
                writing.result()
            self._commits.look(consumer)

    async def _place(self, consumer: AIOKafkaConsumer, assigned: frozenset[TopicPartition]) -> None:
        membership, generation = self._membership, self._membership.generation
        self._check_counts(consumer)
        fresh: list[Standing] = []
        if assigned:
            fresh = await self.placing.place(
                consumer, assigned, membership.unbroken, lambda: membership.generation == generation
            )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._store.begin(self, fresh), _FIRST_WRITE_SECONDS)
        if membership.generation != generation:
            return
        membership.placed = generation
        self._stepping.restart()
        self._shedding.forget()
        self._hearing.restart()
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
        self.placing.move(counts[topics.PRODUCTION])

    async def _take(self, consumer: AIOKafkaConsumer, partition: TopicPartition, records: list[Any]) -> None:
        """Hand over the records in slices, and leave off when the assignment changes meanwhile."""
        await self._look_back(consumer, partition, records[0].offset)
        done = 0
        while done < len(records) and self._membership.settled():
            done = self._intake.take(records, done, self.placing.sent_below.get(partition, 0), _SLICE_SECONDS)
            position = records[done - 1].offset + 1
            self.placing.positions[partition] = position
            self._intake.reached(partition.topic, partition.partition, position)
            await asyncio.sleep(0)

    async def _look_back(self, consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> None:
        """Count it where the log has let go of what was to be read next, for which aiokafka takes the oldest."""
        position = self.placing.positions.get(partition, offset)
        if offset > position:
            begins = await asyncio.wait_for(consumer.beginning_offsets([partition]), _CALL_SECONDS)
            self._intake.counters.offsets_gone[partition.topic] += begins[partition] > position

    def _shed(self, consumer: AIOKafkaConsumer) -> None:
        """Pass over what would be read in vain."""
        if not self._membership.settled():
            return
        now = time.monotonic()
        for partition, position in self.placing.positions.items():
            if partition.topic == topics.LABELS:
                continue
            largest = max((each.size for each in self._intake.models_of(partition.partition)), default=0)
            skipped = self._shedding.skipped(partition, self._end(partition, position) - position, largest, now)
            if skipped:
                self.placing.positions[partition] = position + skipped
                consumer.seek(partition, position + skipped)
                self._intake.counters.skipped[partition.topic] += skipped
                self._intake.reached(partition.topic, partition.partition, position + skipped)
                _log.warning(
                    "more comes than can be read; messages are passed over, counted in drift_events_skipped_total",
                    extra={"fields": {"topic": partition.topic, "partition": partition.partition, "count": skipped}},
                )

    def _listen(self, consumer: AIOKafkaConsumer) -> None:
        """Say when a broker has fallen silent, and when it is heard again."""
        if not self._membership.settled():
            return
        silent = self._hearing.silent(consumer, self.placing.positions, time.monotonic())
        if silent and self.obstacle is None:
            self.obstacle = "unreachable"
            _log.warning("a broker does not answer; reading goes on when it does", extra={"fields": self._servers()})
        elif not silent and self.obstacle is not None:
            self.obstacle = None
            _log.info("Kafka can be read", extra={"fields": self._servers()})

    def _servers(self) -> dict[str, str]:
        return {"bootstrap_servers": str(self._brokers)}

    def _end(self, partition: TopicPartition, position: int) -> int:
        """The log's end as the broker told with its last answer."""
        end = self.placing.ends.get(partition, position)
        assigned = self._membership.assigned
        if self._consumer is not None and assigned and partition in assigned:
            with contextlib.suppress(KafkaError, AssertionError, KeyError):
                end = self._consumer.highwater(partition) or end
        return end

    async def _close(self, consumer: AIOKafkaConsumer, writing: asyncio.Task[None] | None) -> None:
        """End the session; an absent broker does not put it off for long."""
        self._commits.end()
        if writing is not None:
            writing.cancel()
            await asyncio.wait([writing])
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._store.write(self), _STOP_SECONDS)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._commits.now(consumer), _STOP_SECONDS / 2)
        await self._store.close()
        self._consumer = None
        self._membership.leave(consumer)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(consumer.stop(), _STOP_SECONDS)
