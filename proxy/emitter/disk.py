"""The spool's files, and the threads in which they are written and read: all that blocks is here.

One thread does everything in its order, another forces it down, which may take longer than the next write should wait.
Every method raises OSError for what the disk does not take or give.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from proxy.emitter.batch import Batch, joined
from proxy.emitter.queue import EventQueue
from proxy.emitter.segments import SEGMENT_BYTES, Read, Segments
from proxy.emitter.spool_lock import Lock

SYNC_SECONDS: Final = 1.0
"""How often what was written is forced to the disk; a power failure costs what came since."""

T = TypeVar("T")


class Disk:
    """The files of all queues below one directory, which one emitter at a time has."""

    def __init__(
        self, directory: Path, max_bytes: int, queues: Iterable[EventQueue], failed: Callable[[OSError], None]
    ) -> None:
        """`failed` is told where forcing it down did not work, of which nobody awaits the end."""
        self._directory = directory
        # Room comes free by whole segments, so a small bound needs small ones.
        segment_bytes = max(64 * 1024, min(SEGMENT_BYTES, max_bytes // 8))
        self.segments = {queue: Segments(directory / f"{queue.role}.{queue.model}", segment_bytes) for queue in queues}
        self.foreign_bytes = 0
        """What models have that are not configured any more."""
        self._failed = failed
        self._thread = ThreadPoolExecutor(1, "spool")
        self._syncing = ThreadPoolExecutor(1, "spool-sync")
        self._lock = Lock(directory)
        self._sync_at = 0.0
        self._synced: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        """In bytes."""
        return self.foreign_bytes + sum(segments.size for segments in self.segments.values())

    async def take(self) -> str | None:
        """Lock it, and find what an earlier emitter left: None, or who has it."""
        holder = await self._blocking(self._lock.take)
        if holder is None:
            await self._blocking(self._find_segments)
        return holder

    def _find_segments(self) -> None:
        try:
            for segments in self.segments.values():
                segments.open()
            ours = {f"{queue.role}.{queue.model}" for queue in self.segments}
            others = [path for path in self._directory.iterdir() if path.is_dir() and path.name not in ours]
            self.foreign_bytes = sum(file.stat().st_size for path in others for file in path.glob("*.segment"))
        except BaseException:
            self._lock.release()
            raise

    async def append(self, queue: EventQueue, batches: list[Batch]) -> None:
        """Write behind all that the queue has."""
        await self._blocking(self.segments[queue].append, batches)

    async def read(self, queue: EventQueue) -> Read:
        """The queue's oldest batches as one: what was written in small pieces leaves in large ones."""
        return await self._blocking(_read, self.segments[queue])

    async def remove(self, queue: EventQueue, records: int) -> None:
        """Remove the queue's oldest."""
        await self._blocking(self.segments[queue].remove, records)

    async def probe(self) -> None:
        """Try whether it takes something."""
        await self._blocking(_try_to_write, self._directory / "probe")

    async def synchronise(self, now: float) -> None:
        """Begin to force down what was written, where that was a while ago and has come to its end."""
        if now < self._sync_at or (self._synced is not None and not self._synced.done()):
            return
        self._sync_at = now + SYNC_SECONDS
        loop = asyncio.get_running_loop()
        descriptors = await self._blocking(self._unsynced)
        if descriptors:
            self._synced = loop.run_in_executor(self._syncing, _synchronise, descriptors)
            self._synced.add_done_callback(self._see_sync)

    async def synchronise_now(self) -> None:
        """Force down what was written."""
        await self._blocking(lambda: _synchronise(self._unsynced()))

    def _unsynced(self) -> list[int]:
        return [descriptor for segments in self.segments.values() for descriptor in segments.unsynced()]

    def _see_sync(self, synced: asyncio.Future[None]) -> None:
        if not synced.cancelled() and isinstance(error := synced.exception(), OSError):
            self._failed(error)

    async def close(self) -> None:
        """Close the files, and let another emitter have them."""
        await self._blocking(self._close)

    def _close(self) -> None:
        for segments in self.segments.values():
            segments.close()
        self._lock.release()

    def abandon(self) -> None:
        """Nothing more will be asked of it."""
        self._thread.shutdown(wait=False)
        self._syncing.shutdown(wait=False)

    async def _blocking(self, what: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, what, *arguments)


def _read(segments: Segments) -> Read:
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
