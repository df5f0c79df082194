"""A server that does to each connection whatever a test's script says, from the first moment on, unread or not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from tests.support.backend import reset

Treatment = Callable[["Visit"], Awaitable[None]]
"""What is done to one connection; it is closed in order when this returns."""


class Visit:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.number = number
        """Which connection it is, from 0."""
        self._reader = reader
        self._writer = writer

    async def head(self) -> bytes:
        """Read a request's head, and nothing behind it."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """Read one request with a Content-Length; its body."""
        head = await self.head()
        [length] = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        return await self._reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def stay(self) -> None:
        """Keep the connection, and neither read nor write."""
        await asyncio.Event().wait()

    async def gone(self) -> None:
        """Read until the peer has closed."""
        while await self._reader.read(65536):
            pass

    def reset(self) -> None:
        """Break the connection off."""
        reset(self._writer)


class Hostile:
    """Listens on loopback."""

    def __init__(self, treatment: Treatment) -> None:
        self._treatment = treatment
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.visits = 0
        self.port = 0

    async def start(self) -> Self:
        """Listen; little is buffered, so that a script that does not read makes itself felt."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=4096)
        return self

    async def stop(self) -> None:
        """Refuse from now on, and drop every connection."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        visit = Visit(reader, writer, self.visits)
        self.visits += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._treatment(visit)
        finally:
            self._tasks.discard(task)
            writer.close()


@asynccontextmanager
async def hostile(treatment: Treatment) -> AsyncIterator[Hostile]:
    """A server for one block."""
    server = await Hostile(treatment).start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def deaf() -> AsyncIterator[int]:
    """A port where something listens that accepts nothing: the kernel takes a connection or two, and then none."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        yield listener.getsockname()[1]


def connections_to(port: int) -> int:
    """How many sockets of this process are connected, or about to be, to a port of this machine."""
    own = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            own.add(str(descriptor.readlink()))
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[2].rpartition(":")[2], 16) == port and f"socket:[{row[9]}]" in own for row in rows)
