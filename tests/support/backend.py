"""A model whose behaviour a test scripts, to the byte: it answers, stalls, breaks off or resets when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Self

Script = Callable[["Call"], Awaitable[None]]
"""What the backend does with one request."""

Headers = Sequence[tuple[bytes, bytes]]


class Call:
    """One request that has reached the backend, and the connection it came on."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = head
        lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.method, self.target, self.version = lines[0].split(b" ")
        pairs = [line.partition(b":") for line in lines[1:]]
        self.headers = [(name, value.removeprefix(b" ")) for name, _, value in pairs]
        self.body = b""
        self.trailers: list[bytes] = []
        self.body_read = asyncio.Event()
        self.ended = asyncio.Event()
        """Set when the peer has closed the connection, or the backend has."""
        self.closed = False
        self._reader = reader
        self._writer = writer

    def header(self, name: bytes) -> bytes | None:
        """The only header of that name, None without one."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name!r} came {len(values)} times"
        return values[0] if values else None

    async def read_body(self) -> bytes:
        """Read the request's body to its end."""
        if self.body_read.is_set():
            return self.body
        if self.header(b"transfer-encoding") == b"chunked":
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                self.body += await self._reader.readexactly(size)
                assert await self._reader.readexactly(2) == b"\r\n"
            while (line := await self._reader.readuntil(b"\r\n")) != b"\r\n":
                self.trailers.append(line.removesuffix(b"\r\n"))
        else:
            self.body = await self._reader.readexactly(int(self.header(b"content-length") or 0))
        self.body_read.set()
        return self.body

    async def read_some(self) -> bytes:
        """What has come of the body, unframed as it is."""
        return await self._reader.read(65536)

    async def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, status: int = 200, body: bytes = b"", headers: Headers = ()) -> None:
        """Read the request's body, and send a whole answer with its length."""
        await self.read_body()
        await self.send(answer_bytes(status, body, headers))

    async def gone(self) -> None:
        """Wait until the peer has closed."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass
        self.ended.set()

    async def close(self) -> None:
        """Close in order."""
        self.closed = True
        self._writer.close()

    async def reset(self) -> None:
        """Break the connection off with a reset."""
        self.closed = True
        reset(self._writer)


def answer_bytes(status: int = 200, body: bytes = b"", headers: Headers = ()) -> bytes:
    """A whole answer."""
    lines = b"".join(b"%s: %s\r\n" % pair for pair in headers)
    return b"HTTP/1.1 %d OK\r\n%sContent-Length: %d\r\n\r\n%s" % (status, lines, len(body), body)


def chunked(*pieces: bytes, status: int = 200) -> bytes:
    """A whole answer in these chunks."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 %d OK\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (status, body)


def answers(status: int = 200, body: bytes = b"{}", headers: Headers = ()) -> Script:
    """A script: always this answer."""

    async def script(call: Call) -> None:
        await call.answer(status, body, headers)

    return script


def sends(raw: bytes, *, then: str = "close") -> Script:
    """A script: read the request, send these bytes, then `close`, `reset`, `keep` or `hang`."""

    async def script(call: Call) -> None:
        await call.read_body()
        await call.send(raw)
        if then == "close":
            await call.close()
        elif then == "reset":
            await call.reset()
        elif then == "hang":
            await call.gone()

    return script


async def echo(call: Call) -> None:
    """A script: the request's body is the answer's."""
    await call.answer(200, await call.read_body())


async def hang(call: Call) -> None:
    """A script: never answer; notice when the peer gives up."""
    await call.gone()


class Backend:
    """A server on loopback that hands every request to `script`, which may be changed at any time."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self._tls = tls
        self.calls: list[Call] = []
        self.connections = 0
        """How many were made."""
        self.port = 0
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._writers)

    async def start(self) -> Self:
        """Listen, at the same port again after a stop."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**20, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Refuse connections from now on, and reset those that are open."""
        self._server.close()
        self.reset_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset_all(self) -> None:
        """Reset every connection that is open."""
        for writer in self._writers:
            reset(writer)

    def close_all(self) -> None:
        """Close every connection that is open, as a server does with idle ones."""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    call = Call(await reader.readuntil(b"\r\n\r\n"), reader, writer)
                    self.calls.append(call)
                    await self.script(call)
                    if call.closed or call.ended.is_set():
                        break
                    await call.read_body()
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            if self.calls:
                self.calls[-1].ended.set()
            writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a stream so that its peer sees a reset."""
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def backend(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Backend]:
    """A backend for one block."""
    server = await Backend(script, tls).start()
    try:
        yield server
    finally:
        await server.stop()
