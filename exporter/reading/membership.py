"""Our place in the consumer group: which partitions are ours, since when, and whether that is still certain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

SESSION_SECONDS: Final = 6.0
"""Without a heartbeat for so long the group gives our partitions to another; brokers allow no less unless told to."""
HEARTBEAT_SECONDS: Final = 1.0
"""A rebalance waits for every member's next heartbeat."""
REBALANCE_SECONDS: Final = 10.0
"""Who has not joined again by then is left out: two that die while the group is shared out must not hold it up."""


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """What the group has said to us; aiokafka calls this in between our steps."""

    def __init__(self, gone: Callable[[frozenset[TopicPartition]], None]) -> None:
        """`gone` is told at each assignment what is ours now, so that all else can be dropped at once."""
        self.assigned: frozenset[TopicPartition] | None = None
        self.generation = 0
        """Counts the assignments; what was read under an older one is read again."""
        self.placed = 0
        """The generation whose positions are set."""
        self.unbroken = False
        """Whether nobody else can have had our partitions between this assignment and the one before it."""
        self._gone = gone
        self._group_generation = -1
        self._coordinator: Any = None
        self._heard_at = float("-inf")

    def settled(self) -> bool:
        """Whether partitions are assigned and their positions set."""
        return self.assigned is not None and self.placed == self.generation

    def certain(self) -> bool:
        """Whether they are ours beyond doubt: a process that slept for longer than a session may have lost them."""
        return self.settled() and self.fresh()

    def fresh(self) -> bool:
        """Whether the group has heard of us within the last session's length."""
        return time.monotonic() - self._heard_at <= SESSION_SECONDS

    def enter(self, consumer: AIOKafkaConsumer) -> None:
        """Follow a started consumer's heartbeats, which aiokafka shows to nobody."""
        coordinator = consumer._coordinator
        beat = coordinator._do_heartbeat

        async def heard() -> bool:
            sent_at = time.monotonic()
            answered: bool = await beat()
            if answered:
                self._heard_at = sent_at
            return answered

        coordinator._do_heartbeat = heard
        self._coordinator = coordinator

    def leave(self, consumer: AIOKafkaConsumer) -> None:
        """The session ends, and the group is to know at once."""
        if self._coordinator is not None:
            # aiokafka lets one that has a seat go without a word, and the group would wait for it.
            consumer._coordinator._group_instance_id = None
        self.assigned = self._coordinator = None
        self.generation += 1

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The group is being shared out anew."""
        del revoked
        self.assigned = None
        self.generation += 1

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Our share; the group has counted a generation for each time it was shared out, with us or without."""
        current = self._coordinator.generation
        self.unbroken = current - self._group_generation in {0, 1}
        self._group_generation = current
        self._heard_at = time.monotonic()
        self.assigned = frozenset(assigned)
        self.generation += 1
        self._gone(self.assigned)
