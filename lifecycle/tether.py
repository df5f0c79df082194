"""A parent process and its child, held together by one socket pair.

The child announces that it is ready, and from then on each may tell the other things; each end notices at once when the
other is gone, however it ended, because the kernel closes the socket. So no child outlives its parent, and no parent
waits for a child that has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import msgspec

from lifecycle.refusal import REFUSED, AlreadyTold, Refusal

_VARIABLE = "SHADOWDRIFT_TETHER"


class Child:
    """A child process of this one, started as `python -m MODULE ARGUMENT...`."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.name = name
        self.process = process
        self._reader = reader
        self._writer = writer
        self.ended: asyncio.Task[int] = asyncio.create_task(process.wait(), name=f"{name} ended")
        self._hearing: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        name: str,
        module: str,
        arguments: Sequence[str] = (),
        *,
        instructions: bytes = b"",
        descriptors: Sequence[int] = (),
        environment: Mapping[str, str] = os.environ,
        output: BinaryIO | None = None,
    ) -> Child:
        """Start it. It finds `instructions` in its tether; the file `descriptors` keep their numbers.

        `output` takes its standard output, this process's own without it.
        """
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *arguments,
                pass_fds=(theirs.fileno(), *descriptors),
                env={**environment, _VARIABLE: str(theirs.fileno())},
                # A terminal's Ctrl-C reaches the whole process group; the parent alone decides when a child ends.
                start_new_session=True,
                stdout=output,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(len(instructions).to_bytes(8, "big") + instructions)
        return cls(name, process, reader, writer)

    async def ready(self) -> dict[str, Any]:
        """What the child announced; `Refusal` when it ended instead, having said why on its standard error."""
        line = b""
        with contextlib.suppress(ConnectionError):  # it ended with unread instructions in its socket
            line = await self._reader.readline()
        if not line.endswith(b"\n"):
            code = await self.ended
            if code == REFUSED:
                raise AlreadyTold(f"the {self.name} cannot start")
            raise Refusal(f"the {self.name} ended while it started (exit code {code})")
        announced: dict[str, Any] = msgspec.json.decode(line)
        return announced

    def tell(self, message: Mapping[str, Any]) -> None:
        """Hand the child a message, for the function it gave to `Tether.listen`; in order, and nobody waits.

        One that has ended hears nothing.
        """
        if self._writer.transport.is_closing():
            return
        self._writer.write(msgspec.json.encode(dict(message)) + b"\n")

    def listen(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Call it with every further announcement of the child's, once `ready` has returned the first."""
        self._hearing = asyncio.create_task(self._hear(listener), name=f"hears the {self.name}")

    async def _hear(self, listener: Callable[[dict[str, Any]], None]) -> None:
        with contextlib.suppress(ConnectionError):
            while (line := await self._reader.readline()).endswith(b"\n"):
                listener(msgspec.json.decode(line))

    async def stop(self, within: float) -> bool:
        """Ask it to end, and kill it when it has not after `within` seconds; whether it ended by itself."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        done, _ = await asyncio.wait({self.ended}, timeout=within)
        if not done:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.ended
        self._writer.close()
        if self._hearing is not None:
            await self._hearing
        return bool(done)


class Tether:
    """The child's end."""

    def __init__(self, connection: socket.socket | None, instructions: bytes) -> None:
        self._connection = connection
        self.instructions = instructions
        """What the parent handed over at the start; empty without a parent."""
        self.parted = False
        """Whether the parent is gone."""
        self._told = bytearray()
        self._listener: Callable[[dict[str, Any]], None] | None = None

    @classmethod
    def take(cls) -> Tether:
        """The tether this process was started with, once; a loose one where it was started by hand."""
        number = os.environ.pop(_VARIABLE, None)
        if number is None:
            return cls(None, b"")
        connection = socket.socket(fileno=int(number))
        return cls(connection, _receive(connection, int.from_bytes(_receive(connection, 8), "big")))

    @property
    def held(self) -> bool:
        """Whether there is, or was, a parent at the other end."""
        return self._connection is not None

    def announce(self, what: Mapping[str, Any]) -> None:
        """Tell the parent, if there is one: first that this process is ready, then whatever both understand."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.sendall(msgspec.json.encode(dict(what)) + b"\n")

    def listen(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Call it with every message of the parent's, beginning with those that have come already."""
        self._listener = listener
        self._hear()

    def _hear(self) -> None:
        while self._listener is not None and (end := self._told.find(b"\n")) >= 0:
            message = msgspec.json.decode(self._told[:end])
            del self._told[: end + 1]
            self._listener(message)

    def watch(self, on_parent_gone: asyncio.Event) -> None:
        """Set the event when the parent is gone, and take what it tells meanwhile."""
        if self._connection is None:
            return
        loop, connection = asyncio.get_running_loop(), self._connection
        connection.setblocking(False)

        def readable() -> None:
            with contextlib.suppress(BlockingIOError):
                try:
                    heard = connection.recv(65536)
                except BlockingIOError:
                    raise
                except OSError:
                    heard = b""
                if heard:
                    self._told += heard
                    self._hear()
                else:
                    loop.remove_reader(connection)
                    self.parted = True
                    on_parent_gone.set()

        loop.add_reader(connection, readable)


def _receive(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise Refusal("the parent ended while its child started")
        data += part
    return bytes(data)
