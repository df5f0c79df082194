"""One worker's data plane inside the test's process, with a listener, counters, and an emitter that only listens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from configuration.reading import convert
from privacy.keys import Keys
from proxy.counters import Counters, shared_file
from proxy.frames import Captured, FrameReader
from proxy.layout import DROP_REASONS, FAIL_REASONS, LOSS_REASONS, Layout
from proxy.traffic.data_plane import DataPlane
from tests.support.waiting import until

KEYS = Keys("k1", "5e" * 32)


def document(
    production: str,
    shadow: str | None,
    /,
    *,
    kafka: str = "127.0.0.1:1",
    proxy: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    **model: Any,
) -> dict[str, Any]:
    """A configuration of one model, `fraud`: v2 serves, v1 is the shadow; keywords replace sections."""
    model.setdefault("mirror", {"fraction": 0})  # request ids are random: a test that wants clones says how many
    targets = {"v2": {"url": production, **(target or {})}}
    if shadow is not None:
        targets["v1"] = {"url": shadow}
    return {
        "kafka": {"bootstrap_servers": kafka},
        "proxy": {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **(proxy or {})},
        "models": [{"name": "fraud", "targets": targets, "production": "v2", "shadow": shadow and "v1", **model}],
    }


class Plane:
    """A data plane that serves at `port`."""

    def __init__(self, plane: DataPlane, counters: Counters, server: asyncio.Server, emitter: ListeningEmitter) -> None:
        self.plane = plane
        self.emitter = emitter
        self.port = server.sockets[0].getsockname()[1]
        self._counters = counters
        self._server = server
        self._stopped = False

    @classmethod
    async def start(cls, made: dict[str, Any], folder: Path) -> Self:
        """Serve this configuration."""
        configuration = convert(made, folder, "test")
        loop = asyncio.get_running_loop()
        layout = Layout(configuration)
        descriptor = shared_file(1, layout)
        counters = Counters(descriptor, 0, layout, loop)
        os.close(descriptor)
        plane = DataPlane(configuration, KEYS, counters, loop)
        plane.load.measured = lambda _: None  # type: ignore[method-assign] # the test's own machine may be busy
        emitter = await ListeningEmitter.start(folder / "e.sock")
        await plane.capture.connect(str(folder / "e.sock"))
        server = await loop.create_server(plane.connection, "127.0.0.1", 0)
        return cls(plane, counters, server, emitter)

    async def stop(self, within: float = 0.0) -> None:
        """Drain and stop, as a worker does."""
        if not self._stopped:
            self._stopped = True
            self._server.close()
            await self.plane.drain(within)
            self.emitter.stop()
            self.check_laws()
            assert self.number("inference_in_flight", "fraud", "v2", "production") == 0

    def number(self, family: str, *labels: str) -> int:
        """One counter now."""
        return self._counters.cells[self._counters.layout.place(family, *labels)]

    def numbers(self, family: str) -> dict[tuple[str, ...], int]:
        """Every counter of a family that is not 0, by its labels."""
        cells = self._counters.cells
        return {labels: cells[place] for labels, place in self._counters.layout.series(family) if cells[place]}

    async def reaches(self, count: int, family: str, *labels: str) -> None:
        """Wait until a counter has reached a count."""
        await until(lambda: self.number(family, *labels) >= count, what=f"{count} of {family} {labels}")

    def check_laws(self, model: str = "fraud") -> None:
        """The conservation laws, which hold whenever the event loop lets somebody look."""

        def total(family: str, reasons: tuple[str, ...], *labels: str) -> int:
            return sum(self.number(family, *labels, reason) for reason in reasons)

        sampled = self.number("mirror_sampled_total", model)
        sent = self.number("mirror_sent_total", model)
        waiting = self.number("mirror_waiting", model)
        dropped = total("mirror_dropped_total", DROP_REASONS, model)
        assert sampled == sent + dropped + self.number("mirror_log_only_total", model) + waiting
        in_flight = self.number("mirror_in_flight", model)
        failed = total("mirror_failed_total", FAIL_REASONS, model)
        assert sent == self.number("mirror_completed_total", model) + failed + in_flight
        assert min(waiting, in_flight) >= 0
        for role in ("production", "shadow"):
            lost = total("events_lost_total", LOSS_REASONS, model, role)
            handed, held = self.number("events_handed", model, role), self.number("events_waiting", model, role)
            assert self.number("events_captured_total", model, role) == lost + handed + held
            assert held >= 0


@asynccontextmanager
async def serving(made: dict[str, Any], folder: Path) -> AsyncIterator[Plane]:
    """A data plane of this configuration for one block."""
    plane = await Plane.start(made, folder)
    try:
        yield plane
    finally:
        await plane.stop()


class ListeningEmitter(asyncio.Protocol):
    """The far end of a worker's socket, which keeps what it reads."""

    def __init__(self) -> None:
        self.captured: list[Captured] = []
        self._frames = FrameReader()
        self._server: asyncio.Server
        self._transport: asyncio.Transport

    @classmethod
    async def start(cls, path: Path) -> Self:
        """Listen there."""
        emitter = cls()
        emitter._server = await asyncio.get_running_loop().create_unix_server(lambda: emitter, str(path))
        return emitter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        for batch in self._frames.feed(data):
            self.captured += batch

    def stop_reading(self) -> None:
        """Read nothing, so that the worker's buffer fills."""
        self._transport.pause_reading()

    def go_on_reading(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    def stop(self) -> None:
        """Close."""
        self._server.close()
        if hasattr(self, "_transport"):
            self._transport.abort()

    async def of_role(self, role: str, count: int = 1) -> list[Captured]:
        """The first exchanges of a role, once so many are there."""
        return await until(
            lambda: len(found := [one for one in self.captured if one.role == role]) >= count and found,
            what=f"{count} captured of {role}",
        )
