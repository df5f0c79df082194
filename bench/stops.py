"""What a stop costs clients: stops, restarts of workers and reloads under load, and every request that was cut.

    python -m bench.stops --stops 100 --restarts 100 --reloads 20

Clients of two kinds ask all the time, some on connections that they keep, some on a new one for each request; the model
takes up to 50 ms. A request is *cut* when it was sent on an established connection and got no whole answer, or when a
handshake was reset. A connection that is refused, because nobody listens between a stop and the next start, is none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvloop

from lifecycle.tether import Child

RESULT: Final = Path(__file__).parent / "results" / "stops.json"
BODY: Final = b'{"amount": 12.5, "country": "DE", "padding": "' + b"x" * 250 + b'"}'
ANSWER: Final = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{"prediction": 0.5}'
LONGEST_ANSWER_SECONDS: Final = 0.05
BETWEEN_SECONDS: Final = 0.3
PAUSE_SECONDS: Final = 0.02


class Model(asyncio.Protocol):
    """Answers every request after a while of at most so many seconds."""

    def __init__(self, moods: random.Random, longest: float = LONGEST_ANSWER_SECONDS) -> None:
        self._moods = moods
        self._longest = longest
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if end and len(body) >= len(BODY):
            del self._data[: len(head) + len(end) + len(BODY)]
            delay = self._moods.random() * self._longest
            asyncio.get_running_loop().call_later(delay, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)


@dataclass
class Load:
    """The clients, and what became of their requests."""

    port: int
    seen: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    over: bool = False

    async def keeping(self) -> None:
        """A client that keeps its connection until an answer says that it was the last."""
        while not self.over:
            async with self._connection() as (reader, writer):
                while reader is not None and not self.over and await self._ask(reader, writer):
                    pass

    async def fresh(self) -> None:
        """A client with a new connection for each request."""
        while not self.over:
            async with self._connection() as (reader, writer):
                if reader is not None:
                    await self._ask(reader, writer)

    @contextlib.asynccontextmanager
    async def _connection(self) -> Any:
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            self.seen["refused"] += 1
            await asyncio.sleep(PAUSE_SECONDS)
            yield None, None
            return
        except OSError:
            self.seen["cut in the handshake"] += 1
            yield None, None
            return
        try:
            yield reader, writer
        finally:
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Ask once; whether the connection can be used again."""
        begun = time.perf_counter()
        try:
            writer.write(b"POST /predict HTTP/1.1\r\nHost: proxy\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.seen["cut"] += 1
            return False
        self.slowest = max(self.slowest, time.perf_counter() - begun)
        self.seen[head[9:12].decode()] += 1
        return b"connection: close" not in head.lower()


class Proxy:
    """`shadowdrift proxy`, started again and again at the same port."""

    def __init__(self, folder: Path, model: int, broker: str, workers: int) -> None:
        self.port, self._admin = free_port(), free_port()
        self._folder = folder
        self._file = folder / "shadowdrift.yaml"
        self._workers = workers
        self._url = f"http://127.0.0.1:{model}"
        self._broker = broker
        self.write(0.05)
        self._process: asyncio.subprocess.Process

    def write(self, fraction: float) -> None:
        """Configure it."""
        targets = {"v2": {"url": self._url}, "v1": {"url": self._url}}
        model = {"name": "fraud", "targets": targets, "production": "v2", "shadow": "v1"}
        listen = {"listen": f"127.0.0.1:{self.port}", "admin": f"127.0.0.1:{self._admin}", "workers": self._workers}
        document = {
            "kafka": {"bootstrap_servers": self._broker},
            "proxy": listen,
            "models": [{**model, "mirror": {"fraction": fraction}}],
        }
        self._file.write_text(json.dumps(document))

    async def start(self) -> None:
        """Start it and wait until it serves."""
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli.main", "proxy", "--config", str(self._file), stdout=log
            )
        while await self._get("/-/ready") is None:
            if self._process.returncode is not None:
                raise SystemExit("the proxy did not start")
            await asyncio.sleep(PAUSE_SECONDS)

    async def stop(self) -> None:
        """SIGTERM, and its end."""
        self._process.terminate()
        if await self._process.wait() != 0:
            raise SystemExit("the proxy did not stop in order")

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self._process.pid

    def processes(self) -> list[int]:
        """All of them, the supervisor first."""
        return [self.pid, *_children(self.pid)]

    async def ended(self) -> None:
        """Wait until the supervisor has ended, whatever ended it."""
        await self._process.wait()

    async def restart_worker(self, number: int) -> None:
        """SIGTERM for one worker, and its end."""
        workers = sorted(pid for pid in _children(self._process.pid) if b"proxy.traffic.worker" in _command(pid))
        victim = workers[number % len(workers)]
        os.kill(victim, signal.SIGTERM)
        while victim in _children(self._process.pid):  # noqa: ASYNC110 - another process
            await asyncio.sleep(PAUSE_SECONDS)

    async def reload(self, number: int) -> None:
        """SIGHUP, and the end of every process that was there before."""
        self.write(0.01 * (number % 5 + 1))
        before = _children(self._process.pid)
        os.kill(self._process.pid, signal.SIGHUP)
        while before & _children(self._process.pid):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(PAUSE_SECONDS)

    async def _get(self, path: str) -> bytes | None:
        """An admin endpoint's answer, None where it is not 200."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._admin)
        except OSError:
            return None
        writer.write(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
        answer = await reader.read()
        writer.close()
        return answer if b" 200 " in answer.split(b"\r\n")[0] else None


def _children(parent: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
            if int(ppid) == parent and state != "Z":
                found.add(int(stat.parent.name))
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything; the result as it is written."""
    moods = random.Random(options.seed)
    server = await asyncio.get_running_loop().create_server(lambda: Model(moods), "127.0.0.1", 0, backlog=4096)
    broker = await Child.start("development broker", "up.development_broker")
    address = (await broker.ready())["bootstrap_servers"]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(Path(folder), server.sockets[0].getsockname()[1], address, options.workers)
        await proxy.start()
        load = Load(proxy.port)
        clients = [asyncio.create_task(load.keeping()) for _ in range(options.clients)]
        clients += [asyncio.create_task(load.fresh()) for _ in range(options.clients)]
        for kind in ("restarts", "reloads", "stops"):
            load.seen.clear()
            load.slowest = 0.0
            for number in range(getattr(options, kind)):
                await asyncio.sleep(BETWEEN_SECONDS)
                if kind == "stops":
                    await proxy.stop()
                    await proxy.start()
                elif kind == "restarts":
                    await proxy.restart_worker(number)
                else:
                    await proxy.reload(number)
            results[kind] = _result(getattr(options, kind), load)
            sys.stdout.write(f"{kind}: {json.dumps(results[kind])}\n")
            sys.stdout.flush()
        load.over = True
        await asyncio.gather(*clients)
        await proxy.stop()
    await broker.stop(5.0)
    server.close()
    return {
        "clients": {"keeping their connection": options.clients, "a new connection each time": options.clients},
        "workers": options.workers,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",  # noqa: E501
        **results,
    }


def _result(times: int, load: Load) -> dict[str, Any]:
    seen = load.seen
    refused, whole = seen["refused"], seen["200"]
    lost = sum(seen.values()) - refused - whole
    asked = whole + lost
    return {
        "times": times,
        "requests": asked,
        "answered": whole,
        "cut": lost,
        "cut_per_10000": round(10_000 * lost / max(1, asked), 3),
        "by": {name: count for name, count in seen.items() if name not in {"200", "refused"}},
        "refused_connections": refused,
        "slowest_answer_seconds": round(load.slowest, 3),
    }


def main() -> int:
    """The command; exit code 1 when more than one request in 10,000 was cut."""
    made = argparse.ArgumentParser(description="Requests cut by stops, restarts of workers and reloads under load.")
    made.add_argument("--stops", type=int, default=100)
    made.add_argument("--restarts", type=int, default=100)
    made.add_argument("--reloads", type=int, default=20)
    made.add_argument("--clients", type=int, default=8, help="of each of the two kinds")
    made.add_argument("--workers", type=int, default=2)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--output", type=Path, default=RESULT)
    options = made.parse_args()
    results = uvloop.run(measure(options))
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(f"written to {options.output}\n")
    return int(any(results[kind]["cut_per_10000"] > 1 for kind in ("stops", "restarts", "reloads")))


if __name__ == "__main__":
    sys.exit(main())
