"""The spool: what Kafka does not take within a moment waits on disk, and survives this process.

Here the event loop decides what is written, and never waits for the disk to take an event; what blocks is `disk`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Final

from proxy.counters import Counters
from proxy.emitter.batch import Batch
from proxy.emitter.disk import Disk
from proxy.emitter.queue import Budget, EventQueue
from proxy.emitter.spool_lock import proxy_of_this_process
from proxy.emitter.spool_obstacles import SpoolObstacles
from proxy.emitter.stored_batch import HEADER_BYTES

SPILL_SECONDS: Final = 0.1
"""How often what must not stay in memory is written; a crash costs what came since."""

PATIENCE_SECONDS: Final = 1.0
"""How long the oldest event may be in memory alone."""

WRITE_BYTES: Final = 4 * 1024 * 1024
"""In one go, which takes that much memory again."""

RETRY_SECONDS: Final = 1.0
LOCK_SECONDS: Final = 0.2
CLOSE_SECONDS: Final = 5.0

_log = logging.getLogger("shadowdrift.emitter")


class Spool:
    """What all queues have on disk, and who decides what goes there."""

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        queues: Iterable[EventQueue],
        budget: Budget,
        counters: Counters,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._budget = budget
        self._counters = counters
        self._clock = clock
        self._disk = Disk(directory, max_bytes, queues, self._fail)
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._obstacles = SpoolObstacles(counters)
        self._opened = False
        self._retry_at = 0.0
        self.readable = asyncio.Event()
        """Set once what was left is known, so that nothing newer overtakes it; or once it cannot be known."""

    @property
    def usable(self) -> bool:
        """Whether it takes events, as far as is known."""
        return self._opened and not self._obstacles.standing

    @property
    def loss_reason(self) -> str:
        """Why an event that memory has no room for is not on disk instead."""
        if "bound" in self._obstacles.standing:
            return "spool_full"
        if not self._opened and "disk" not in self._obstacles.standing:
            return "queue_full"
        return "spool_failed"

    def start(self) -> None:
        """Open it, and write from now on."""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self._open()
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SPILL_SECONDS):
                    await self._closing.wait()
            await self.spill()

    # Opening.

    async def _open(self) -> None:
        while not self._opened:
            try:
                holder = await self._disk.take()
                self._opened = holder is None
            except OSError as error:
                self._fail(error)
                self.readable.set()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._obstacles.clear("disk")
                if holder is not None:
                    self._wait_for(holder)
                    await asyncio.sleep(LOCK_SECONDS)
        self._obstacles.clear("held")
        for queue, segments in self._disk.segments.items():
            if segments.events:
                queue.recovered(segments.events)
        self._tell_what_was_found()
        self._counters.cells[self._counters.layout.place("spool_read")] = 1
        self._show_size()
        self.readable.set()

    def _wait_for(self, holder: str) -> None:
        """An older emitter of this proxy will end and leave what it has; another proxy's will not."""
        if holder not in ("", proxy_of_this_process()):
            why = f"{self._directory} belongs to the proxy of {holder}; give each proxy a state_dir of its own"
            self._obstacles.stand("held", "there is no spool; events wait in memory alone", why)
            self.readable.set()

    def _tell_what_was_found(self) -> None:
        found = {f"{queue.role} of {queue.model}": segments.events for queue, segments in self._disk.segments.items()}
        if any(found.values()):
            events = {name: count for name, count in found.items() if count}
            _log.info("the spool holds events of an earlier run", extra={"fields": {"events": events}})
        if cut := sum(segments.cut for segments in self._disk.segments.values()):
            _log.warning("the spool's end was torn, as a crash leaves it", extra={"fields": {"bytes": cut}})
        if self._disk.foreign_bytes:
            fields = {"bytes": self._disk.foreign_bytes, "directory": str(self._directory)}
            _log.warning(
                "the spool holds events of a model that is not configured; they stay", extra={"fields": fields}
            )

    # Writing.

    async def spill(self, everything: bool = False) -> None:
        """Write what must not stay in memory: all of it at the end, else what Kafka does not take soon enough."""
        now = self._clock()
        if not self._opened or ("disk" in self._obstacles.standing and not everything and now < self._retry_at):
            return
        late = None if everything or self._budget.used > self._budget.limit // 2 else now - PATIENCE_SECONDS
        wrote = refused = False
        for queue in self._disk.segments:
            while batches := queue.begin_writing(late):
                part = self._fitting(batches)
                queue.limit_writing(len(part))
                if not part:
                    refused = True
                    break
                if not await self._write(queue, part):
                    return
                wrote = True
                if len(part) == len(batches):
                    break
        if refused:
            why = f"proxy.spool.max_bytes is {self._max_bytes}"
            self._obstacles.stand("bound", "the spool is full; what memory has no room for is lost", why)
        else:
            self._obstacles.clear("bound")
        if "disk" in self._obstacles.standing and (wrote or await self._probe()):
            self._obstacles.clear("disk")
        try:
            await self._disk.synchronise(now)
        except OSError as error:
            self._fail(error)

    def _fitting(self, batches: list[Batch]) -> list[Batch]:
        """The first of them, as many as the bound leaves room for, and not too many at once."""
        room = min(self._max_bytes - self._disk.size, WRITE_BYTES)
        for index, batch in enumerate(batches):
            room -= batch.size + HEADER_BYTES
            if room < 0:
                return batches[: max(index, self._single(batch))]
        return batches

    def _single(self, batch: Batch) -> int:
        """1 where a batch that is more than is written at once fits the bound all the same."""
        return int(self._disk.size + batch.size + HEADER_BYTES <= self._max_bytes)

    async def _write(self, queue: EventQueue, batches: list[Batch]) -> bool:
        try:
            await self._disk.append(queue, batches)
        except OSError as error:
            queue.not_written()
            self._fail(error)
            return False
        queue.written()
        await self._remove(queue)
        self._show_size()
        return True

    async def _probe(self) -> bool:
        """Whether the disk takes something again."""
        try:
            await self._disk.probe()
        except OSError as error:
            self._fail(error)
            return False
        return True

    # Reading.

    async def load(self, queue: EventQueue) -> None:
        """Read the queue's oldest events, so that it has a head, however long the disk takes."""
        while True:
            try:
                await self._remove(queue)
                read = await self._disk.read(queue)
                break
            except OSError as error:
                self._fail(error)
                await asyncio.sleep(RETRY_SECONDS)
        if read.damaged:
            fields = {"model": queue.model, "role": queue.role, "lost": read.damaged}
            _log.error("a part of the spool cannot be read", extra={"fields": fields})
        queue.loaded(read.batches[0] if read.batches else None, read.records, read.damaged)

    async def remove(self, queue: EventQueue) -> None:
        """Remove from disk what the queue has delivered. What cannot be removed is delivered again after a restart."""
        try:
            await self._remove(queue)
        except OSError as error:
            self._fail(error)

    async def _remove(self, queue: EventQueue) -> None:
        records, queue.removable = queue.removable, 0
        if records:
            try:
                await self._disk.remove(queue, records)
            finally:
                self._show_size()

    # The end.

    async def close(self) -> None:
        """Write all that is in memory, force it to the disk, and let another emitter have it."""
        self._closing.set()
        if self._task is not None:
            if not self._opened:
                self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)  # not cut off in the middle of a write
            self._task.cancel()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.spill(everything=True)
                for queue in self._disk.segments:
                    await self._remove(queue)
                await self._disk.synchronise_now()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._disk.close()
        self._disk.abandon()

    # What it tells.

    def _show_size(self) -> None:
        self._counters.cells[self._counters.layout.place("events_spooled_bytes")] = self._disk.size
        self._counters.changed()

    def _fail(self, error: OSError) -> None:
        self._retry_at = self._clock() + RETRY_SECONDS
        why = f"{self._directory}: {error.strerror or error}"
        self._obstacles.stand("disk", "the spool cannot be used; events wait in memory alone", why)
