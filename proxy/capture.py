"""A worker's end of the way to the emitter: batches of finished exchanges, dropped rather than waited for."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from configuration import Configuration
from events.inference import ROLES, Role
from proxy.counters import Counters
from proxy.frames import Captured, encode_frame, encode_hello

FLUSH_SECONDS: Final = 0.01
FLUSH_BYTES: Final = 256 * 1024
OTHER_BYTES: Final = 300
"""What an exchange takes beside its bodies and its path, roughly."""

MAX_HELD_BYTES: Final = 4 * 1024 * 1024

_log = logging.getLogger("shadowdrift.worker")


class _RolePlaces:
    def __init__(self, counters: Counters, model: str, role: str) -> None:
        place = counters.layout.place
        self.captured = place("events_captured_total", model, role)
        self.waiting = place("events_waiting", model, role)
        self.handed = place("events_handed", model, role)
        self.backlog = place("events_lost_total", model, role, "backlog")
        self.overload = place("events_lost_total", model, role, "overload")
        self.gone = place("events_lost_total", model, role, "emitter_gone")


class _Stream(asyncio.Protocol):
    """One connection to one emitter."""

    def __init__(self, capture: Capture, generation: int, loop: asyncio.AbstractEventLoop) -> None:
        self._capture = capture
        self.generation = generation
        self.transport: asyncio.Transport
        self.closed: asyncio.Future[None] = loop.create_future()

    @property
    def writable(self) -> bool:
        """Whether what is written may still arrive."""
        return not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, _: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        self._capture.stream_ended(self)


class Capture:
    """Hands finished exchanges to the emitter, at most 4 MiB ahead of it; without one they are lost, and counted."""

    def __init__(
        self, configuration: Configuration, counters: Counters, loop: asyncio.AbstractEventLoop, worker: int = 0
    ) -> None:
        self._counters = counters
        self._loop = loop
        self._worker = worker
        self._places = {
            (model.name, role): _RolePlaces(counters, model.name, role)
            for model in configuration.models
            for role in ROLES
        }
        self._link = counters.layout.place("emitter_link")
        self._batch: list[Captured] = []
        self._batch_bytes = 0
        self._unwritten = 0  # what the stream held at most after the last frame
        self._timer: asyncio.TimerHandle | None = None
        self._stream: _Stream | None = None
        self._newest = 0

    async def connect(self, path: str, generation: int = 1) -> None:
        """Hand over to the emitter at this socket from now on. Called again for each emitter that follows.

        A greater `generation` wins, in whatever order the connections come about. One that cannot be reached leaves
        things as they are: whoever supervises the emitters says where the next one is.
        """
        if generation <= self._newest:
            return
        self._newest = generation
        try:
            transport, stream = await self._loop.create_unix_connection(
                lambda: _Stream(self, generation, self._loop), path
            )
        except OSError as error:
            fields = {"generation": generation, "why": error.strerror or str(error)}
            _log.warning("the emitter cannot be reached; events are lost", extra={"fields": fields})
            return
        if generation < self._newest:
            transport.close()
        else:
            self._take(stream)

    def _take(self, stream: _Stream) -> None:
        self.flush()
        former, self._stream = self._stream, stream
        if former is not None:
            former.transport.close()  # which writes what it holds first
        if stream.writable:
            stream.transport.write(encode_hello(self._worker))
            self._show_link(stream.generation)
        else:
            self._stream = None

    def stream_ended(self, stream: _Stream) -> None:
        """A connection is closed. What it had not written yet nobody gets; the supervisor counts it."""
        if stream is self._stream:
            self._stream = None
            self._show_link(0)

    def _show_link(self, generation: int) -> None:
        self._counters.cells[self._link] = generation
        self._counters.changed()

    def record(self, captured: Captured) -> None:
        """Take one finished exchange, or count it as lost."""
        places = self._places[captured.model, captured.role]
        cells = self._counters.cells
        cells[places.captured] += 1
        self._counters.changed()
        stream = self._stream
        if stream is None:  # one that broke is forgotten at its end; until then `flush` counts what it cannot have
            cells[places.gone] += 1
            return
        size = len(captured.request) + len(captured.path) + OTHER_BYTES
        if captured.answer is not None:
            size += len(captured.answer)
        if self._unwritten + self._batch_bytes + size > MAX_HELD_BYTES:
            self._unwritten = stream.transport.get_write_buffer_size()  # it may have written some meanwhile
            if self._unwritten + self._batch_bytes + size > MAX_HELD_BYTES:
                cells[places.backlog] += 1
                return
        cells[places.waiting] += 1
        self._batch.append(captured)
        self._batch_bytes += size
        if self._batch_bytes >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self.flush)

    def shed(self, model: str, role: Role) -> None:
        """Lose one finished exchange, because this worker cannot keep up; it costs nothing else."""
        places = self._places[model, role]
        self._counters.cells[places.captured] += 1
        self._counters.cells[places.overload] += 1
        self._counters.changed()

    def flush(self) -> None:
        """Write the batch as one frame."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        cells, stream = self._counters.cells, self._stream
        if stream is not None and not stream.writable:
            stream = None
        for captured in batch:
            places = self._places[captured.model, captured.role]
            cells[places.waiting] -= 1
            cells[places.gone if stream is None else places.handed] += 1
        self._counters.publish()  # before the emitter can count the same exchanges as received
        if stream is not None:
            stream.transport.write(encode_frame(batch))
            self._unwritten = stream.transport.get_write_buffer_size()

    async def close(self, within: float) -> None:
        """Write what is left, and wait until the emitter's socket has taken it.

        The link stays shown: 0 would say that nobody reads on, and an emitter that is just starting still will.
        """
        self.flush()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.transport.close()
            await asyncio.wait({stream.closed}, timeout=within)
