"""The emitter's process: from the workers' frames to queued events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Mapping

import msgspec

from configuration import Configuration
from configuration.brokers import brokers_of
from events.codec import encode
from events.headers import inference_headers
from events.inference import ROLES, InferenceEvent
from lifecycle.process import run
from lifecycle.tether import Tether
from logs.lines import log_to_stdout
from proxy.counters import Counters
from proxy.emitter.deliver import Delivery
from proxy.emitter.extract import extract
from proxy.emitter.pseudonym import Pseudonymiser
from proxy.emitter.queue import Budget, Encoded, EventQueue, Queues
from proxy.frames import Captured, FrameReader
from proxy.keys import Keys
from proxy.layout import Layout
from proxy.worker import Instructions
from reference.profile import Profile, load_for

_log = logging.getLogger("shadowdrift.emitter")


class Emitter:
    """Turns what was captured into queued events."""

    def __init__(
        self,
        configuration: Configuration,
        references: Mapping[str, Profile],
        keys: Keys,
        counters: Counters,
        queues: Queues,
    ) -> None:
        self._references = references
        self._names = {model: tuple(profile.features) for model, profile in references.items()}
        self._pseudonymiser = Pseudonymiser(keys.derived("pseudonym"), keys.key_id)
        self._counters = counters
        self._queues = queues
        self.readers: set[WorkerStream] = set()
        self.all_gone = asyncio.Event()
        self.all_gone.set()

    def stream_opened(self, worker: int) -> None:
        """A worker has said who it is. Raises ValueError for one that the configuration does not have."""
        self._count_stream(worker, 1)

    def stream_ended(self, worker: int) -> None:
        """Nothing more comes on this stream: all that was whole on it is counted as received."""
        self._count_stream(worker, -1)

    def _count_stream(self, worker: int, change: int) -> None:
        try:
            place = self._counters.layout.place("emitter_streams", str(worker))
        except KeyError:
            raise ValueError(f"a stream of worker {worker}, which is none") from None
        self._counters.cells[place] += change
        self._counters.changed()

    def take(self, batch: list[Captured], worker: int = 0) -> None:
        """Queue one event for each; what the queue has no room for is lost, and counted."""
        cells, place = self._counters.cells, self._counters.layout.place
        for captured in batch:
            labels = (captured.model, captured.role)
            queue = self._queues[labels]
            cells[place("events_received", str(worker), *labels)] += 1
            try:
                event = self._encoded(captured)
            except Exception:  # one event must not end its worker's stream
                _log.exception("an exchange could not be made an event")
                cells[place("events_lost_total", *labels, "unencodable")] += 1
                continue
            if not queue.offer(event):
                cells[place("events_lost_total", *labels, "queue_full")] += 1
            cells[place("events_waiting", *labels)] = len(queue)
        self._counters.changed()

    def _encoded(self, captured: Captured) -> Encoded:
        extracted = extract(captured, self._names.get(captured.model, ()))
        if extracted.missing is not None:
            place = self._counters.layout.place(
                "events_unextracted_total", captured.model, captured.role, extracted.missing
            )
            self._counters.cells[place] += 1
        event = InferenceEvent(
            id=captured.id,
            request_id=captured.request_id,
            role=captured.role,
            model=captured.model,
            version=captured.version,
            tenant=captured.tenant,
            time=captured.time,
            latency_seconds=captured.latency_seconds,
            status=captured.status,
            outcome=captured.outcome,
            fraction=captured.fraction,
            sampled=captured.sampled,
            truncated=captured.request_truncated or captured.answer_truncated,
            instances=extracted.instances,
        )
        self._pseudonymiser.apply(event, self._references.get(captured.model))
        return Encoded(encode(event), inference_headers(event), int(event.time * 1000))


class WorkerStream(asyncio.Protocol):
    """The socket of one worker."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._reader = FrameReader()
        self._worker: int | None = None
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._emitter.readers.add(self)
        self._emitter.all_gone.clear()

    def data_received(self, data: bytes) -> None:
        try:
            for batch in self._reader.feed(data):
                self._emitter.take(batch, self._greeted())
            self._greeted()
        except (ValueError, msgspec.DecodeError):
            _log.exception("a worker's stream is broken; its connection is closed")
            if self._transport is not None:
                self._transport.close()

    def _greeted(self) -> int:
        """The worker's index; opens the stream once its first frame is there."""
        if self._worker is None and self._reader.worker is not None:
            self._emitter.stream_opened(self._reader.worker)
            self._worker = self._reader.worker
        return self._worker or 0

    def connection_lost(self, _: Exception | None) -> None:
        if self._worker is not None:
            self._emitter.stream_ended(self._worker)
        self._emitter.readers.discard(self)
        if not self._emitter.readers:
            self._emitter.all_gone.set()


async def emit(tether: Tether, stop: asyncio.Event) -> None:
    """Deliver until asked to stop; then read the workers out and deliver the rest."""
    instructions = msgspec.msgpack.decode(tether.instructions, type=Instructions)
    configuration = instructions.read_configuration()
    log_to_stdout("emitter")
    loop = asyncio.get_running_loop()
    counters = Counters(instructions.counters, instructions.index, Layout(configuration), loop)
    budget = Budget()
    queues: Queues = {(model.name, role): EventQueue(budget) for model in configuration.models for role in ROLES}
    references = {
        model.name: profile
        for index, model in enumerate(configuration.models)
        if (profile := load_for(model, index)) is not None
    }
    emitter = Emitter(configuration, references, instructions.keys, counters, queues)
    delivery = Delivery(brokers_of(configuration), queues, counters)
    delivery.start()
    listener = socket.socket(fileno=instructions.listener)
    listener.setblocking(False)
    server = await loop.create_unix_server(lambda: WorkerStream(emitter), sock=listener)
    tether.announce({})
    await stop.wait()
    within = float(configuration.proxy.drain_timeout)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            await emitter.all_gone.wait()
    await delivery.stop(within)
    counters.publish()
    server.close()


if __name__ == "__main__":
    sys.exit(run(emit))
