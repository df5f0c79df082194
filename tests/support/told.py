"""A process that is told things, a JSON object a line on its standard input, and answers each with one of its own.

It ends with its input, so with whoever started it, however that ends.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Told:
    """Such a process, started as `python -m MODULE ARGUMENT…`; it tells its first line once it serves."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=CHECKOUT,
            start_new_session=True,  # Ctrl-C ends its parent, and that ends it
        )

    def announced(self) -> dict[str, Any]:
        """What it tells at first, once. RuntimeError if it ends instead, having said why on standard error."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} has ended with exit code {self._process.wait()}")
        told: dict[str, Any] = json.loads(line)
        return told

    def ask(self, **what: Any) -> dict[str, Any]:
        """Tell it something; what it answers."""
        assert self._process.stdin is not None
        with self._turn:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()
            return self.announced()

    def stop(self, within: float = 20.0) -> None:
        """Tell it nothing more; after `within` seconds SIGKILL."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


async def hear(announcement: dict[str, Any], answer: Answer) -> None:
    """The process's own side: announce, then answer every line until there are no more."""
    _tell(announcement)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        _tell(await answer(json.loads(line)))
    transport.close()


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
