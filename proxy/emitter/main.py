"""The emitter's process: the workers' streams at one end, Kafka at the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Final

import msgspec

from configuration.brokers import brokers_of
from events.inference import ROLES
from lifecycle.process import end_within, run
from lifecycle.tether import Tether
from logs.lines import log_to_stdout, told
from proxy.counters import Counters
from proxy.emitter.deliver import Delivery
from proxy.emitter.intake import Intake
from proxy.emitter.queue import Budget, EventQueue, Queues
from proxy.emitter.references import References
from proxy.emitter.spool import Spool
from proxy.frames import FrameReader
from proxy.instructions import Instructions
from proxy.layout import Layout

YIELDS: Final = 5
"""How far the emitter steps back for the workers where processors are scarce: requests come before events."""

END_SECONDS: Final = 5.0
"""What its end may take beyond the time for the workers' streams and the time for Kafka; its process is gone then."""

_log = logging.getLogger("shadowdrift.emitter")


class Streams:
    """The workers' streams that are open."""

    def __init__(self) -> None:
        self._open: set[WorkerStream] = set()
        self.all_gone = asyncio.Event()
        self.all_gone.set()

    def opened(self, stream: WorkerStream) -> None:
        """One more."""
        self._open.add(stream)
        self.all_gone.clear()

    def ended(self, stream: WorkerStream) -> None:
        """One less."""
        self._open.discard(stream)
        if not self._open:
            self.all_gone.set()


class WorkerStream(asyncio.Protocol):
    """The socket of one worker."""

    def __init__(self, intake: Intake, streams: Streams) -> None:
        self._intake = intake
        self._streams = streams
        self._reader = FrameReader()
        self._worker: int | None = None
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._streams.opened(self)

    def data_received(self, data: bytes) -> None:
        try:
            for batch in self._reader.feed(data):
                self._intake.take(batch, self._greeted())
            self._greeted()
        except (ValueError, msgspec.DecodeError) as error:
            _log.error("a worker's stream is broken; its connection is closed", extra={"fields": told(error)})
            if self._transport is not None:
                self._transport.close()

    def _greeted(self) -> int:
        """The worker's index; opens the stream once its first frame is there."""
        if self._worker is None and self._reader.worker is not None:
            self._intake.stream_opened(self._reader.worker)
            self._worker = self._reader.worker
        return self._worker or 0

    def connection_lost(self, _: Exception | None) -> None:
        if self._worker is not None:
            self._intake.stream_ended(self._worker)
        self._streams.ended(self)


async def emit(tether: Tether, stop: asyncio.Event) -> None:
    """Deliver until asked to stop; then read the workers out and deliver the rest."""
    instructions = msgspec.msgpack.decode(tether.instructions, type=Instructions)
    configuration = instructions.read_configuration()
    log_to_stdout("emitter")
    os.nice(YIELDS)
    loop = asyncio.get_running_loop()
    counters = Counters(instructions.counters, instructions.index, Layout(configuration), loop)
    budget = Budget()
    queues: Queues = {
        (model.name, role): EventQueue(model.name, role, counters, budget)
        for model in configuration.models
        for role in ROLES
    }
    references = References(configuration, counters)
    directory = Path(configuration.state_dir) / "spool"
    spool = Spool(directory, configuration.proxy.spool.max_bytes, queues.values(), budget, counters)
    intake = Intake(
        configuration, references.profiles(), instructions.keys, counters, queues, lambda: spool.loss_reason
    )
    delivery = Delivery(brokers_of(configuration), queues, spool, counters)
    delivery.start()
    looking = asyncio.create_task(references.run(intake), name="look at profiles")
    streams = Streams()
    listener = socket.socket(fileno=instructions.listener)
    listener.setblocking(False)
    server = await loop.create_unix_server(lambda: WorkerStream(intake, streams), sock=listener)
    tether.announce({})
    await stop.wait()
    within = float(configuration.proxy.drain_timeout)
    end_within(2 * within + END_SECONDS)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            await streams.all_gone.wait()
    looking.cancel()
    await delivery.stop(within)
    counters.publish()
    server.close()


if __name__ == "__main__":
    sys.exit(run(emit))
