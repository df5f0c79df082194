"""A worker's end of the way to the emitter: batches of finished exchanges, dropped rather than waited for."""

from __future__ import annotations

import asyncio
from typing import Final

from configuration import Configuration
from events.inference import ROLES
from proxy.counters import Counters
from proxy.frames import Captured, encode_frame

FLUSH_SECONDS: Final = 0.01
FLUSH_BYTES: Final = 256 * 1024
MAX_HELD_BYTES: Final = 4 * 1024 * 1024


class _RolePlaces:
    def __init__(self, counters: Counters, model: str, role: str) -> None:
        place = counters.layout.place
        self.captured = place("events_captured_total", model, role)
        self.waiting = place("events_waiting", model, role)
        self.handed = place("events_handed", model, role)
        self.backlog = place("events_lost_total", model, role, "backlog")
        self.gone = place("events_lost_total", model, role, "emitter_gone")


class Capture(asyncio.Protocol):
    """Hands finished exchanges to the emitter, at most 4 MiB ahead of it."""

    def __init__(self, configuration: Configuration, counters: Counters, loop: asyncio.AbstractEventLoop) -> None:
        self._counters = counters
        self._loop = loop
        self._places = {
            (model.name, role): _RolePlaces(counters, model.name, role)
            for model in configuration.models
            for role in ROLES
        }
        self._batch: list[Captured] = []
        self._batch_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._closed: asyncio.Future[None] = loop.create_future()

    async def connect(self, path: str) -> None:
        """Connect to the emitter's socket."""
        await self._loop.create_unix_connection(lambda: self, path)

    def record(self, captured: Captured) -> None:
        """Take one finished exchange, or count it as lost."""
        places = self._places[captured.model, captured.role]
        cells = self._counters.cells
        cells[places.captured] += 1
        self._counters.changed()
        transport = self._transport
        if transport is None or transport.is_closing():
            cells[places.gone] += 1
            return
        size = len(captured.request) + len(captured.answer or b"") + len(captured.path) + 300
        if transport.get_write_buffer_size() + self._batch_bytes + size > MAX_HELD_BYTES:
            cells[places.backlog] += 1
            return
        cells[places.waiting] += 1
        self._batch.append(captured)
        self._batch_bytes += size
        if self._batch_bytes >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write the batch as one frame."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        cells = self._counters.cells
        gone = self._transport is None or self._transport.is_closing()
        for captured in batch:
            places = self._places[captured.model, captured.role]
            cells[places.waiting] -= 1
            cells[places.gone if gone else places.handed] += 1
        self._counters.publish()  # before the emitter can count the same exchanges as received
        if self._transport is not None and not gone:
            self._transport.write(encode_frame(batch))

    async def close(self, within: float) -> None:
        """Write what is left, and wait until the emitter's socket has taken it."""
        self.flush()
        if self._transport is not None:
            self._transport.close()
            await asyncio.wait({self._closed}, timeout=within)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)
