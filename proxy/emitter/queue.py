"""Encoded events that wait for Kafka: one queue for each model and role, all within one bound of bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

from events.headers import Headers
from events.inference import Role

MAX_BYTES: Final = 256 * 1024 * 1024
"""What may wait in memory, over all queues; at 500 requests/s of 600 bytes this is some six minutes."""

_OVERHEAD: Final = 768
"""What an event takes in memory beside its value: its headers, and the objects around them."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One event as Kafka gets it; `time_ms` is its timestamp there."""

    value: bytes
    headers: Headers
    time_ms: int

    @property
    def size(self) -> int:
        """Its bytes in memory."""
        return len(self.value) + _OVERHEAD


class Budget:
    """The bytes that all queues share."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self.limit = limit
        self.used = 0


class EventQueue:
    """Events of one model and role in the order of their capture."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._events: deque[Encoded] = deque()
        self.filled = asyncio.Event()
        self.emptied = asyncio.Event()
        self.emptied.set()

    def __len__(self) -> int:
        return len(self._events)

    def offer(self, event: Encoded) -> bool:
        """Take the event, unless the bound is reached."""
        if self._budget.used + event.size > self._budget.limit:
            return False
        self._budget.used += event.size
        self._events.append(event)
        self.filled.set()
        self.emptied.clear()
        return True

    def peek(self, index: int) -> Encoded:
        """The event at that place from the front, which stays until `remove`."""
        return self._events[index]

    def remove(self, count: int) -> None:
        """The first `count` events are delivered, or lost."""
        for _ in range(count):
            self._budget.used -= self._events.popleft().size
        if not self._events:
            self.filled.clear()
            self.emptied.set()


Queues: TypeAlias = dict[tuple[str, Role], EventQueue]
"""By model and role."""
