"""Events of one model and role that wait for Kafka, oldest first: on disk, then in memory. Every step is counted here.

A queue decides and moves; what blocks or waits is done by the spool and by the delivery, which tell it how that ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, TypeAlias

from events.headers import Headers
from events.inference import Role
from proxy.counters import Counters
from proxy.emitter.batch import BATCH_BYTES, Batch, OpenBatch, halves
from proxy.layout import LOSS_REASONS

MAX_BYTES: Final = 64 * 1024 * 1024
"""What may be in memory over all queues; what waits for longer than a moment is on disk."""

_LEAST_BATCH_BYTES: Final = 16 * 1024


class Budget:
    """The bytes of memory that all queues share."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self.limit = limit
        self.used = 0


class EventQueue:
    """One model's events in one role."""

    def __init__(
        self,
        model: str,
        role: Role,
        counters: Counters,
        budget: Budget,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.model = model
        self.role = role
        self.key = model.encode()
        self._budget = budget
        self._clock = clock
        self._counters = counters
        place = counters.layout.place
        self._waiting = place("events_waiting", model, role)
        self._spooled = place("events_spooled", model, role)
        self._delivered = place("events_delivered_total", model, role)
        self._recovered = place("events_recovered", model, role)
        self._lost = {reason: place("events_lost_total", model, role, reason) for reason in LOSS_REASONS}
        self._batch_bytes = BATCH_BYTES
        self._open: OpenBatch | None = None
        self._sealed: deque[tuple[float, Batch]] = deque()
        """In memory, with when the first event came."""
        self._held = 0
        """Events in memory."""
        self._stored = 0
        """Events on disk."""
        self._loaded: deque[Batch] = deque()
        """Copies of the oldest on disk, which are delivered next; they are the disk's first `_loaded_records`."""
        self._loaded_records = 0
        self._writing = 0
        """How many of the first in memory are being written to disk."""
        self._overtaken = 0
        """How many of those were delivered meanwhile."""
        self.removable = 0
        """Records that are the disk's first and are delivered: the spool removes them, and sets this back."""
        self.filled = asyncio.Event()
        self.emptied = asyncio.Event()
        self.emptied.set()
        self.full = asyncio.Event()
        """Set while there is more than a batch that is not full yet."""

    def __len__(self) -> int:
        return self._stored + self._held

    # Coming.

    def offer(self, value: bytes, headers: Headers, time_ms: int) -> bool:
        """Take an event behind all others, unless there is no room for it in memory."""
        budget = self._budget
        if budget.used + len(value) > budget.limit:
            return False
        batch = self._open
        added = batch.append(self.key, value, headers, time_ms) if batch is not None else 0
        if not added:
            self._seal()
            batch = self._open = OpenBatch(self._batch_bytes, self._clock())
            added = batch.append(self.key, value, headers, time_ms)
        budget.used += added
        self._held += 1
        return True

    def show(self) -> None:
        """Tell whoever waits how full the queue is, and count it; after a number of offers."""
        self._counters.cells[self._waiting] = waiting = len(self)
        self._counters.cells[self._spooled] = self._stored
        self._counters.changed()
        if waiting:
            self.filled.set()
            self.emptied.clear()
        else:
            self.filled.clear()
            self.emptied.set()
        if self._stored or self._sealed:
            self.full.set()
        else:
            self.full.clear()

    def lose(self, count: int, reason: str) -> None:
        """Events that the queue does not have (any more) and Kafka does not get."""
        self._counters.cells[self._lost[reason]] += count
        self.show()

    def lose_held(self, reason: str) -> None:
        """Nobody will take what is in memory."""
        lost, self._held = self._held, 0
        self._budget.used -= sum(batch.size for _, batch in self._sealed)
        self._budget.used -= self._open.size if self._open is not None else 0
        self._sealed.clear()
        self._open = None
        self.lose(lost, reason)

    def _seal(self) -> None:
        batch, self._open = self._open, None
        if batch is not None:
            self._sealed.append((batch.began, batch.seal()))

    # Going to Kafka.

    def head(self) -> Batch | None:
        """The oldest events, which stay until they are `delivered`; None where they have to be loaded from disk."""
        if self._loaded:
            return self._loaded[0]
        if self._stored:
            return None
        if not self._sealed:
            self._seal()
        return self._sealed[0][1]

    def delivered(self, batch: Batch) -> None:
        """Kafka has acknowledged this batch, which was the head."""
        if self._leave(batch):
            self._counters.cells[self._delivered] += batch.count
        self.show()

    def too_large(self, batch: Batch) -> None:
        """Kafka has refused this batch, which was the head: it is tried in halves, or lost if it is one event."""
        if batch.count == 1:
            if self._leave(batch):
                self.lose(1, "too_large")
        elif not self._writing:
            # One event has a batch of its own if it is large, so the broker's bound is below ours.
            self._batch_bytes = max(_LEAST_BATCH_BYTES, min(self._batch_bytes, batch.size // 2))
            self._halve(batch)

    def _halve(self, batch: Batch) -> None:
        first, second = halves(batch)
        if self._loaded and self._loaded[0] is batch:
            self._loaded.popleft()
            self._loaded.extendleft((second, first))
        elif self._sealed and self._sealed[0][1] is batch:
            began, _ = self._sealed.popleft()
            self._sealed.extendleft(((began, second), (began, first)))
            self._budget.used += first.size + second.size - batch.size

    def _leave(self, batch: Batch) -> bool:
        """Take the batch from the queue's front.

        False if it is not there: then it was written to disk behind what a spool that could be opened only now had, and
        will be delivered once more.
        """
        if self._loaded and self._loaded[0] is batch:
            self._loaded.popleft()
            self._stored -= batch.count
            if not self._loaded:
                self.removable, self._loaded_records = self.removable + self._loaded_records, 0
            return True
        behind = self._writing and self._stored
        if self._sealed and self._sealed[0][1] is batch and not behind:
            self._sealed.popleft()
            self._budget.used -= batch.size
            self._held -= batch.count
            if self._writing:
                self._writing -= 1
                self._overtaken += 1
            return True
        return False

    # Going to disk, and coming back.

    @property
    def stored(self) -> int:
        """Events on disk."""
        return self._stored

    @property
    def held(self) -> int:
        """Events in memory."""
        return self._held

    def begin_writing(self, older_than: float | None = None) -> list[Batch]:
        """What has to go to disk now, until `written` or `not_written`.

        All of it while there is something on disk, since it must come behind that, or once the oldest came before
        `older_than`; None is always.
        """
        if not self._held or self._writing:
            return []
        began = self._sealed[0][0] if self._sealed else self._open.began if self._open is not None else 0.0
        if not self._stored and older_than is not None and began > older_than:
            return []
        self._seal()
        self._writing = len(self._sealed)
        return [batch for _, batch in self._sealed]

    def limit_writing(self, count: int) -> None:
        """Only the first so many are being written."""
        self._writing = min(count, self._writing)

    def written(self) -> None:
        """What was being written is on disk; what Kafka took of it meanwhile may be removed there."""
        was_stored = self._stored
        moved = [self._sealed.popleft()[1] for _ in range(self._writing)]
        for batch in moved:
            self._budget.used -= batch.size
            self._held -= batch.count
            self._stored += batch.count
        if moved and not was_stored and not self._loaded:
            self._loaded.append(moved[0])  # it may be on its way to Kafka already
            self._loaded_records = 1
        self.removable += self._overtaken
        self._writing = self._overtaken = 0
        self.show()

    def not_written(self) -> None:
        """What was being written is still in memory alone."""
        self._writing = self._overtaken = 0

    def loaded(self, batch: Batch | None, records: int, damaged: int) -> None:
        """The oldest on disk: a batch of so many records, of which some events were damaged and are lost."""
        self._stored -= damaged
        if batch is not None:
            self._loaded.append(batch)
            self._loaded_records = records
        else:
            self.removable += records
        if damaged:
            self.lose(damaged, "spool_failed")
        self.show()

    def recovered(self, count: int) -> None:
        """An earlier emitter left so many on disk; they come before all that is in memory."""
        self._stored += count
        self._counters.cells[self._recovered] += count
        self.show()


Queues: TypeAlias = dict[tuple[str, Role], EventQueue]
"""By model and role."""
