"""A worker process: the data plane on one of the supervisor's sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

import msgspec

from configuration import Configuration, convert_resolved
from lifecycle.process import run
from lifecycle.tether import Tether
from logs.lines import log_to_stdout
from proxy.counters import Counters
from proxy.data_plane import DataPlane
from proxy.keys import Keys
from proxy.layout import Layout


class Instructions(msgspec.Struct, frozen=True):
    """What the supervisor hands to a worker and to the emitter."""

    configuration: str
    keys: Keys
    index: int
    listener: int
    counters: int
    emitter_path: str

    def read_configuration(self) -> Configuration:
        """The configuration the supervisor has read."""
        return convert_resolved(self.configuration)


async def work(tether: Tether, stop: asyncio.Event) -> None:
    """Serve until asked to stop."""
    instructions = msgspec.msgpack.decode(tether.instructions, type=Instructions)
    configuration = instructions.read_configuration()
    log_to_stdout("worker")
    loop = asyncio.get_running_loop()
    layout = Layout(configuration)
    counters = Counters(instructions.counters, instructions.index, layout, loop)
    plane = DataPlane(configuration, instructions.keys, counters, loop, instructions.index)
    await plane.capture.connect(instructions.emitter_path)
    listener = socket.socket(fileno=instructions.listener)
    listener.setblocking(False)
    server = await loop.create_server(plane.connection, sock=listener)
    tether.announce({})
    await stop.wait()
    await _accept_the_rest(listener, plane)
    server.close()
    await plane.drain(float(configuration.proxy.drain_timeout))


async def _accept_the_rest(listener: socket.socket, plane: DataPlane) -> None:
    """Take every connection that the kernel has accepted already: closing the socket would reset them."""
    plane.draining = True
    with contextlib.suppress(BlockingIOError, OSError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            await plane.loop.connect_accepted_socket(plane.connection, connection)


if __name__ == "__main__":
    sys.exit(run(work))
