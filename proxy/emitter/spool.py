"""The spool: what Kafka does not take within a moment waits on disk, and survives this process.

One thread does all that blocks; the event loop decides what is written, and never waits for the disk to take an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

from proxy.counters import Counters
from proxy.emitter.batch import Batch, joined
from proxy.emitter.queue import Budget, EventQueue
from proxy.emitter.segments import SEGMENT_BYTES, Read, Segments
from proxy.emitter.spool_lock import Lock, proxy_of_this_process
from proxy.emitter.spool_obstacles import SpoolObstacles
from proxy.emitter.stored_batch import HEADER_BYTES

SPILL_SECONDS: Final = 0.1
"""How often what must not stay in memory is written; a crash costs what came since."""

PATIENCE_SECONDS: Final = 1.0
"""How long the oldest event may be in memory alone."""

SYNC_SECONDS: Final = 1.0
"""How often what was written is forced to the disk; a power failure costs what came since."""

WRITE_BYTES: Final = 4 * 1024 * 1024
"""In one go, which takes that much memory again."""

RETRY_SECONDS: Final = 1.0
LOCK_SECONDS: Final = 0.2
CLOSE_SECONDS: Final = 5.0

T = TypeVar("T")
_log = logging.getLogger("shadowdrift.emitter")


class Spool:
    """The files of all queues below one directory, which one emitter at a time has."""

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
        # Room comes free by whole segments, so a small bound needs small ones.
        segment_bytes = max(64 * 1024, min(SEGMENT_BYTES, max_bytes // 8))
        self._segments = {queue: Segments(directory / f"{queue.role}.{queue.model}", segment_bytes) for queue in queues}
        self._foreign_bytes = 0
        self._disk = ThreadPoolExecutor(1, "spool")
        self._syncing = ThreadPoolExecutor(1, "spool-sync")
        self._lock = Lock(directory)
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._obstacles = SpoolObstacles(counters)
        self._opened = False
        self._retry_at = 0.0
        self._sync_at = 0.0
        self._synced: asyncio.Future[None] | None = None
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
                holder = await self._blocking(self._lock.take)
                if holder is None:
                    await self._blocking(self._find_segments)
                    self._opened = True
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
        for queue, segments in self._segments.items():
            if segments.events:
                queue.recovered(segments.events)
        self._tell_what_was_found()
        self._counters.cells[self._counters.layout.place("spool_read")] = 1
        self._show_size()
        self.readable.set()

    def _find_segments(self) -> None:
        try:
            for segments in self._segments.values():
                segments.open()
            ours = {f"{queue.role}.{queue.model}" for queue in self._segments}
            others = [path for path in self._directory.iterdir() if path.is_dir() and path.name not in ours]
            self._foreign_bytes = sum(file.stat().st_size for path in others for file in path.glob("*.segment"))
        except BaseException:
            self._lock.release()
            raise

    def _wait_for(self, holder: str) -> None:
        """An older emitter of this proxy will end and leave what it has; another proxy's will not."""
        if holder not in ("", proxy_of_this_process()):
            why = f"{self._directory} belongs to the proxy of {holder}; give each proxy a state_dir of its own"
            self._obstacles.stand("held", "there is no spool; events wait in memory alone", why)
            self.readable.set()

    def _tell_what_was_found(self) -> None:
        found = {f"{queue.role} of {queue.model}": segments.events for queue, segments in self._segments.items()}
        if any(found.values()):
            events = {name: count for name, count in found.items() if count}
            _log.info("the spool holds events of an earlier run", extra={"fields": {"events": events}})
        if cut := sum(segments.cut for segments in self._segments.values()):
            _log.warning("the spool's end was torn, as a crash leaves it", extra={"fields": {"bytes": cut}})
        if self._foreign_bytes:
            fields = {"bytes": self._foreign_bytes, "directory": str(self._directory)}
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
        for queue in self._segments:
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
        await self._synchronise(now)

    def _fitting(self, batches: list[Batch]) -> list[Batch]:
        """The first of them, as many as the bound leaves room for, and not too many at once."""
        room = min(self._max_bytes - self._size(), WRITE_BYTES)
        for index, batch in enumerate(batches):
            room -= batch.size + HEADER_BYTES
            if room < 0:
                return batches[: max(index, self._single(batch))]
        return batches

    def _single(self, batch: Batch) -> int:
        """1 where a batch that is more than is written at once fits the bound all the same."""
        return int(self._size() + batch.size + HEADER_BYTES <= self._max_bytes)

    async def _write(self, queue: EventQueue, batches: list[Batch]) -> bool:
        try:
            await self._blocking(self._segments[queue].append, batches)
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
            await self._blocking(_try_to_write, self._directory / "probe")
        except OSError as error:
            self._fail(error)
            return False
        return True

    async def _synchronise(self, now: float) -> None:
        if now < self._sync_at or (self._synced is not None and not self._synced.done()):
            return
        self._sync_at = now + SYNC_SECONDS
        loop = asyncio.get_running_loop()
        try:
            descriptors = await self._blocking(self._unsynced)
        except OSError as error:
            self._fail(error)
            return
        if descriptors:
            self._synced = loop.run_in_executor(self._syncing, _synchronise, descriptors)
            self._synced.add_done_callback(self._see_sync)

    def _unsynced(self) -> list[int]:
        return [descriptor for segments in self._segments.values() for descriptor in segments.unsynced()]

    def _see_sync(self, synced: asyncio.Future[None]) -> None:
        if not synced.cancelled() and isinstance(error := synced.exception(), OSError):
            self._fail(error)

    # Reading.

    async def load(self, queue: EventQueue) -> None:
        """Read the queue's oldest events, so that it has a head, however long the disk takes."""
        while True:
            try:
                await self._remove(queue)
                read = await self._blocking(_read, self._segments[queue])
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
                await self._blocking(self._segments[queue].remove, records)
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
                for queue in self._segments:
                    await self._remove(queue)
                await self._blocking(lambda: _synchronise(self._unsynced()))
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._blocking(self._close)
        self._disk.shutdown(wait=False)
        self._syncing.shutdown(wait=False)

    def _close(self) -> None:
        for segments in self._segments.values():
            segments.close()
        self._lock.release()

    # What it tells.

    def _size(self) -> int:
        return self._foreign_bytes + sum(segments.size for segments in self._segments.values())

    def _show_size(self) -> None:
        self._counters.cells[self._counters.layout.place("events_spooled_bytes")] = self._size()
        self._counters.changed()

    def _fail(self, error: OSError) -> None:
        self._retry_at = self._clock() + RETRY_SECONDS
        why = f"{self._directory}: {error.strerror or error}"
        self._obstacles.stand("disk", "the spool cannot be used; events wait in memory alone", why)

    async def _blocking(self, what: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, what, *arguments)


def _read(segments: Segments) -> Read:
    """The oldest batches as one: what was written in small pieces leaves in large ones."""
    read = segments.read()
    return Read([joined(read.batches)] if read.batches else [], read.records, read.damaged)


def _try_to_write(path: Path) -> None:
    try:
        path.write_bytes(bytes(4096))
    finally:
        path.unlink(missing_ok=True)


def _synchronise(descriptors: list[int]) -> None:
    """Force what was written to the disk, and close these descriptors."""
    try:
        for descriptor in descriptors:
            os.fsync(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
