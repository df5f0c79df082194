"""A worker process: the data plane on one of the supervisor's sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
from typing import Any, Final

import msgspec

from lifecycle.process import end_within, run
from lifecycle.tether import Tether
from logs.lines import log_to_stdout
from proxy.counters import Counters
from proxy.instructions import Instructions
from proxy.layout import Layout
from proxy.listeners import HANDSHAKE_SECONDS, quieted
from proxy.traffic.data_plane import DataPlane
from proxy.traffic.door import Door, clients_that_fit

SUCCESSION_SECONDS: Final = 5.0
"""How long a worker that is asked to end goes on accepting until its successor does."""

END_SECONDS: Final = 5.0
"""What its end may take beyond that and the time to drain; its process is gone then."""


class Orders:
    """What the supervisor tells a worker while it runs."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._connecting: set[asyncio.Task[None]] = set()
        self.relieved = asyncio.Event()
        """Set when nobody needs this worker to accept any more."""

    def __call__(self, message: dict[str, Any]) -> None:
        """Take one message."""
        if (emitter := message.get("emitter")) is not None:
            connecting = self._plane.loop.create_task(
                self._plane.capture.connect(emitter["path"], emitter["generation"])
            )
            self._connecting.add(connecting)
            connecting.add_done_callback(self._connecting.discard)
        if (active := message.get("active")) is not None:
            self._plane.plans.apply(active)
        if message.get("relieved"):
            self.relieved.set()


async def work(tether: Tether, stop: asyncio.Event) -> None:
    """Serve until asked to stop."""
    instructions = msgspec.msgpack.decode(tether.instructions, type=Instructions)
    configuration = instructions.read_configuration()
    log_to_stdout("worker")
    loop = asyncio.get_running_loop()
    layout = Layout(configuration)
    counters = Counters(instructions.counters, instructions.index, layout, loop)
    plane = DataPlane(configuration, instructions.keys, counters, loop, instructions.index)
    plane.plans.apply(instructions.active)
    await plane.capture.connect(instructions.emitter_path, instructions.emitter_link)
    counters.publish()
    listener = socket.socket(fileno=instructions.listener)
    door = Door(listener, plane, clients_that_fit())
    door.open()
    orders = Orders(plane)
    gc.collect()
    gc.freeze()  # what the start has made stays: no later collection has to look through it while requests wait
    tether.announce({})
    tether.listen(orders)
    await stop.wait()
    within = float(configuration.proxy.drain_timeout)
    end_within(SUCCESSION_SECONDS + within + END_SECONDS)
    await _until_nobody_comes(tether, listener, orders)
    plane.draining = True
    await door.close()
    await plane.drain(within)


async def _until_nobody_comes(tether: Tether, listener: socket.socket, orders: Orders) -> None:
    """Accept on until a successor does, or until no handshake can end any more at a socket that nobody keeps."""
    if not tether.parted:
        tether.announce({"leaves": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SUCCESSION_SECONDS):
                await orders.relieved.wait()
    if tether.parted and quieted(listener):
        await asyncio.sleep(HANDSHAKE_SECONDS)


if __name__ == "__main__":
    sys.exit(run(work))
