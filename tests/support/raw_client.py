"""An HTTP client that sends the bytes it is given and shows the bytes that came, complete or not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.backend import reset

PATIENCE = 30.0
"""Seconds until a test that hangs fails instead."""


class BrokenOffError(Exception):
    """The connection ended before the answer was whole; `got` is what had come of its body."""

    def __init__(self, got: bytes) -> None:
        super().__init__(f"broken off after {len(got)} bytes")
        self.got = got


@dataclass
class Answer:
    """One answer, with its framing taken off."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    """The pieces of a chunked body as they came."""
    trailers: list[bytes] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The only header of that name, None without one."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send raw bytes; a connection that is closed already is no failure: its answer tells."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def ask(self, data: bytes) -> Answer:
        """Send one request and read its answer."""
        await self.send(data)
        return await self.answer(data[: data.find(b" ")].decode())

    async def head(self) -> Answer:
        """Read an answer's head (an interim one too). Raises `BrokenOffError`."""
        try:
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            raise BrokenOffError(b"") from None
        assert lines[0].startswith("HTTP/1.1 "), lines[0]
        pairs = [line.partition(":") for line in lines[1:]]
        return Answer(int(lines[0].split(" ")[1]), [(name.lower(), value.strip()) for name, _, value in pairs])

    async def answer(self, method: str = "POST") -> Answer:
        """Read one final answer whole. Raises `BrokenOffError`."""
        async with asyncio.timeout(PATIENCE):
            return await self._answer(method)

    async def _answer(self, method: str) -> Answer:
        answer = await self.head()
        if method == "HEAD" or answer.status in {204, 304}:
            return answer
        assert answer.header("content-length") is None or answer.header("transfer-encoding") is None
        try:
            if answer.header("transfer-encoding") == "chunked":
                await self._chunks(answer)
            elif (length := answer.header("content-length")) is not None:
                answer.body = await self._reader.readexactly(int(length))
            else:
                answer.body = await self._reader.read()
        except asyncio.IncompleteReadError as error:
            raise BrokenOffError(answer.body + error.partial) from None
        except ConnectionError:
            raise BrokenOffError(answer.body) from None
        return answer

    async def _chunks(self, answer: Answer) -> None:
        while True:
            answer.chunks.append(await self.chunk(answer.trailers))
            answer.body += answer.chunks[-1]
            if not answer.chunks[-1]:
                return

    async def chunk(self, trailers: list[bytes] | None = None) -> bytes:
        """Read one chunk; the last one is empty, and `trailers` takes what stands behind it."""
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        if not size:
            while (line := await self._reader.readuntil(b"\r\n")) != b"\r\n":
                assert trailers is not None, line
                trailers.append(line.removesuffix(b"\r\n"))
            return b""
        data = await self._reader.readexactly(size + 2)
        assert data[-2:] == b"\r\n"
        return data[:-2]

    async def some(self, count: int) -> bytes:
        """Read that many raw bytes."""
        return await self._reader.readexactly(count)

    async def to_its_end(self) -> bytes:
        """Everything until the connection ends in order. Raises ConnectionResetError where it breaks instead."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()

    async def rest(self) -> bytes:
        """Everything until the connection ends."""
        try:
            return await self.to_its_end()
        except ConnectionError:
            return b""

    def stop_reading(self) -> None:
        """Take nothing more from the socket."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def go_on_reading(self) -> None:
        """Take from the socket again."""
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    def end_sending(self) -> None:
        """Close this half of the connection."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Break the connection off."""
        reset(self._writer)

    def close(self) -> None:
        """Close in order."""
        self._writer.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    """A connection for one block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**23)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def request(
    method: str = "POST",
    path: str = "/predict",
    body: bytes | None = b"{}",
    headers: tuple[str, ...] = (),
    *,
    chunks: int = 0,
    version: str = "1.1",
) -> bytes:
    """A request's bytes; with `chunks`, its body in that many pieces."""
    lines = [f"{method} {path} HTTP/{version}", "Host: client.example", *headers]
    if body is not None:
        lines.append("Transfer-Encoding: chunked" if chunks else f"Content-Length: {len(body)}")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    if not chunks:
        return head + (body or b"")
    size = -(-len(body or b"") // chunks) or 1
    pieces = [(body or b"")[start : start + size] for start in range(0, len(body or b""), size)]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
