"""A shadow that can be told to hang: `python -m bench.stalling PORT`.

It accepts, reads, and answers each request, until SIGUSR1: from then on it accepts, reads, and never answers, as a
model does whose threads wait for one another. SIGUSR2 lets it answer again what comes from then on.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.backend import expected_answer, listens
from bench.processes import Server
from lifecycle.process import run
from lifecycle.tether import Tether
from tests.support.kafka import free_ports

_BODY: Final = expected_answer("")
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
) + _BODY
_QUESTION: Final = b"get /requests "
_LENGTH: Final = b"\r\ncontent-length:"


class Stall:
    """Whether it hangs, and what it was sent; all connections look here."""

    def __init__(self, hangs: bool) -> None:
        self.hangs = hangs
        self.requests = 0

    def turn(self, hangs: bool) -> None:
        """From now on."""
        self.hangs = hangs


class Connection(asyncio.Protocol):
    """Reads requests whose bodies have a Content-Length, one after the other."""

    def __init__(self, stall: Stall) -> None:
        self._stall = stall
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            at = head.find(_LENGTH)
            length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._read) < end + 4 + length:
                break
            self._read = self._read[end + 4 + length :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        assert self._transport is not None
        if head.startswith(_QUESTION):
            self._transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%d" % self._stall.requests)
            self._transport.close()
            return
        self._stall.requests += 1
        if not self._stall.hangs:
            self._transport.write(_ANSWER)


class StallingShadow:
    """Such a shadow, running."""

    def __init__(self, folder: Path, *, hangs: bool) -> None:
        (self.port,) = free_ports(1)
        command = [sys.executable, "-m", "bench.stalling", str(self.port), *(["--hangs"] if hangs else [])]
        self.server = Server("the stalling shadow", command, folder).until(lambda: listens(self.port))

    def hang(self) -> None:
        """From now on."""
        self.server.signal(signal.SIGUSR1)

    def requests(self) -> int:
        """How many it was sent; it tells that at any time."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/requests", timeout=10) as answer:
            return int(answer.read())


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m bench.stalling", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--hangs", action="store_true", help="from the start")
    options = parser.parse_args(arguments)

    async def serve(_: Tether, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        stall = Stall(options.hangs)
        loop.add_signal_handler(signal.SIGUSR1, stall.turn, True)
        loop.add_signal_handler(signal.SIGUSR2, stall.turn, False)
        server = await loop.create_server(lambda: Connection(stall), "127.0.0.1", options.port, backlog=4096)
        await stop.wait()
        server.close()

    return run(serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
