"""A real emitter process and the worker that feeds it, which is played: frames over its socket.

For the emitter's crashes, and for `bench.emitter` and `bench.spool`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import time
from pathlib import Path
from typing import Any, Self

import msgspec

from configuration import resolved_document
from configuration.reading import convert
from events.ids import new_id
from lifecycle.tether import Child
from privacy.keys import Keys
from proxy.counters import SharedCounters, shared_file
from proxy.frames import Captured, encode_hello
from proxy.instructions import Instructions
from proxy.layout import LOSS_REASONS, Layout
from reference.columns import column_of
from reference.profile import Binning, Profile, save

FRAME_EVENTS = 200
"""What a worker hands over at some 20,000 requests/s, every 10 ms."""

COUNTRIES = ("DE", "FR", "US", "GB", "IN", "BR", "JP", "NG")
NUMBERS = tuple(f"num{index}" for index in range(14))
CATEGORIES = tuple(f"cat{index}" for index in range(6))


class PlayedWorker:
    """An emitter process, with the worker's end of its socket and the supervisor's view of its counters."""

    def __init__(self, folder: Path, servers: str, **proxy: Any) -> None:
        self.folder = folder
        _write_reference(folder / "reference.json")
        self.configuration = convert(_document(servers, proxy), folder, "bench")
        self.layout = Layout(self.configuration)
        self._descriptor: int | None = None
        self._shared: SharedCounters | None = None
        self._child: Child | None = None
        self._worker: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        """Start the emitter and connect as worker 0. Its counters begin at 0, as those of every process do."""
        self._begin_counters()
        assert self._descriptor is not None
        path = str(self.folder / "e.sock")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - an asynchronous function may not use a Path for it
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel, (self.folder / "log").open("ab") as log:
            channel.bind(path)
            channel.listen(4)
            instructions = Instructions(
                configuration=resolved_document(self.configuration),
                keys=Keys("k1", "5e" * 32),
                index=1,
                listener=channel.fileno(),
                counters=self._descriptor,
                emitter_path=path,
            )
            self._child = await Child.start(
                "emitter",
                "proxy.emitter.main",
                instructions=msgspec.msgpack.encode(instructions),
                descriptors=(channel.fileno(), self._descriptor),
                output=log,
            )
            await self._child.ready()
        _, self._worker = await asyncio.open_unix_connection(path)
        self._worker.transport.set_write_buffer_limits(4 * 1024 * 1024)
        self._worker.write(encode_hello(0))

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave nothing running, whatever happened."""
        if self._child is not None and not self._child.ended.done():
            await self.kill()

    async def stop(self, *, worker_stays: bool = False) -> int:
        """Stop it in order; its exit code."""
        assert self._child is not None
        if self._worker is not None and not worker_stays:
            self._worker.close()
        await self._child.stop(60)
        if self._worker is not None:
            self._worker.close()
        return self._child.ended.result()

    async def kill(self) -> None:
        """SIGKILL: its crash."""
        assert self._child is not None
        assert self._worker is not None
        self._child.process.kill()
        await self._child.stop(10)
        self._worker.close()

    @property
    def pid(self) -> int:
        """The emitter's process."""
        assert self._child is not None
        return self._child.process.pid

    async def feed(self, frame: bytes) -> None:
        """Hand a frame over, and wait while the emitter is 4 MiB behind: a worker would drop (`backlog`)."""
        assert self._worker is not None
        self._worker.write(frame)
        await self._worker.drain()

    def total(self, family: str) -> int:
        """A family's sum, in this life of the emitter."""
        assert self._shared is not None
        numbers = self._shared.read(1)
        return sum(numbers[place] for _, place in self.layout.series(family))

    async def reaches(self, family: str, count: int, within: float) -> None:
        """Wait until so many are counted."""
        ends = time.monotonic() + within
        while (seen := self.total(family)) < count:
            if time.monotonic() > ends:
                raise TimeoutError(f"{family}: {seen} of {count} within {within:g} s; lost: {self.losses()}")
            await asyncio.sleep(0.005)

    def losses(self) -> dict[str, int]:
        """Events lost in this life, by reason."""
        assert self._shared is not None
        numbers = self._shared.read(1)
        found = dict.fromkeys(LOSS_REASONS, 0)
        for (_, _, reason), place in self.layout.series("events_lost_total"):
            found[reason] += numbers[place]
        return {reason: count for reason, count in found.items() if count}

    def _begin_counters(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = shared_file(2, self.layout)
        self._shared = SharedCounters(self._descriptor, 2, self.layout)

    def cpu_seconds(self) -> float:
        """What the emitter has used, in all its threads."""
        fields = self._stat("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Its memory, the greatest so far."""
        line = next(line for line in self._stat("status").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def _stat(self, name: str) -> str:
        return Path(f"/proc/{self.pid}/{name}").read_text()


def exchange(random_source: random.Random, number: int, role: str) -> Captured:
    """An exchange with 20 features, 14 numbers and 6 listed categories; the request has some 300 bytes."""
    features: dict[str, Any] = {name: round(random_source.gauss(120, 40), 2) for name in NUMBERS}
    features |= {name: random_source.choice(COUNTRIES) for name in CATEGORIES}
    return Captured(
        id=new_id(),
        request_id=new_id(),
        role=role,  # type: ignore[arg-type]
        model="fraud",
        version="v2" if role == "production" else "v1",
        tenant=None,
        time=1.79e9 + number / 1000,
        latency_seconds=random_source.random() / 50,
        status=200,
        outcome="ok",
        fraction=0.05,
        sampled=role == "shadow",
        request_truncated=False,
        answer_truncated=False,
        encoded=False,
        path="/predict",
        request=json.dumps(features).encode(),
        answer=b'{"prediction": %.4f}' % random_source.random(),
    )


def _document(servers: str, proxy: dict[str, Any]) -> dict[str, Any]:
    return {
        "kafka": {"bootstrap_servers": servers},
        "state_dir": "state",
        "proxy": {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "workers": 1, "drain_timeout": 30, **proxy},
        "models": [
            {
                "name": "fraud",
                "targets": {"v2": {"url": "http://127.0.0.1:1"}, "v1": {"url": "http://127.0.0.1:2"}},
                "production": "v2",
                "shadow": "v1",
                "reference": "reference.json",
            }
        ],
    }


def _write_reference(path: Path) -> None:
    """A profile that lists the categories, so that they leave in clear as they would."""
    rows, binning = random.Random(7), Binning()
    columns = {name: column_of([rows.gauss(120, 40) for _ in range(500)], binning) for name in NUMBERS}
    columns |= {name: column_of([rows.choice(COUNTRIES) for _ in range(500)], binning) for name in CATEGORIES}
    prediction = column_of([rows.random() for _ in range(500)], binning)
    found = {name: column for name, column in columns.items() if column is not None}
    save(Profile(format=1, rows=500, binning=binning, features=found, prediction=prediction), path)
