"""An emitter that reads what workers hand it, and drops it: for what a worker costs by itself."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Final

import msgspec

from lifecycle.process import run
from lifecycle.tether import Tether

_READ_BYTES: Final = 1024 * 1024


class Sink(asyncio.BufferedProtocol):
    """One worker's stream."""

    def __init__(self, into: bytearray) -> None:
        self._into = into

    def get_buffer(self, _: int) -> bytearray:
        """The same for all: nobody looks into it."""
        return self._into

    def buffer_updated(self, count: int) -> None:
        """Drop them."""


async def drop(tether: Tether, stop: asyncio.Event) -> None:
    """Take workers' streams until asked to stop."""
    instructions = msgspec.msgpack.decode(tether.instructions)
    channel = socket.socket(fileno=instructions["listener"])
    channel.setblocking(False)
    into = bytearray(_READ_BYTES)
    server = await asyncio.get_running_loop().create_unix_server(lambda: Sink(into), sock=channel)
    tether.announce({})
    await stop.wait()
    server.close()


if __name__ == "__main__":
    sys.exit(run(drop))
