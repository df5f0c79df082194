"""What the connections of one worker share: plans, counters, mirror, capture, and the clock that ends slow things."""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic
from typing import Final

from configuration import Configuration
from proxy.capture import Capture
from proxy.client import ClientConnection
from proxy.counters import Counters
from proxy.keys import Keys
from proxy.layout import REFUSALS
from proxy.mirror import Mirror
from proxy.plan import Plans
from proxy.sampling import Sampler

SWEEP_SECONDS: Final = 0.1
"""How often deadlines are looked at: one timer for all costs less than one each."""


class DataPlane:
    """One worker's state."""

    def __init__(
        self, configuration: Configuration, keys: Keys, counters: Counters, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.loop = loop
        self.counters = counters
        self.plans = Plans(configuration, counters.layout, loop)
        self.sampler = Sampler(keys.derived("sampling"))
        self.capture = Capture(configuration, counters, loop)
        self.mirror = Mirror(counters, self.capture, loop)
        self.header_bytes = int(configuration.proxy.limits.header_bytes)
        self.body_bytes = configuration.proxy.limits.body_bytes
        self.draining = False
        self._clients: set[ClientConnection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._connections = counters.layout.place("proxy_connections")
        self._refusals = {reason: counters.layout.place("proxy_refused_total", reason) for reason in REFUSALS}
        self._timer = loop.call_later(SWEEP_SECONDS, self._sweep)

    def connection(self) -> ClientConnection:
        """A protocol for a client that has connected."""
        return ClientConnection(self)

    def opened(self, client: ClientConnection) -> None:
        """A client is there."""
        self._clients.add(client)
        self._empty.clear()
        self._count_clients()

    def closed(self, client: ClientConnection) -> None:
        """A client has gone."""
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()
        self._count_clients()

    def _count_clients(self) -> None:
        self.counters.cells[self._connections] = len(self._clients)
        self.counters.changed()

    def count_refusal(self, reason: str) -> None:
        """The proxy answered a request itself."""
        self.counters.cells[self._refusals[reason]] += 1
        self.counters.changed()

    def _sweep(self) -> None:
        now = monotonic()
        for client in list(self._clients):
            client.expire(now)
        self.mirror.expire(now)
        for plan in self.plans.all:
            plan.production.close_idle(now)
            if plan.shadow is not None:
                plan.shadow.close_idle(now)
        self._timer = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    async def drain(self, within: float) -> None:
        """Serve what was accepted and end the clones, for at most `within` seconds; then hand over what is captured."""
        deadline = self.loop.time() + within
        self.draining = True
        for client in list(self._clients):
            client.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._empty.wait()
                await self.mirror.idle.wait()
        for client in list(self._clients):
            client.cut()
        self.mirror.give_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):  # what was cut is recorded too
                await self._empty.wait()
        self._timer.cancel()
        for plan in self.plans.all:
            plan.production.close()
            if plan.shadow is not None:
                plan.shadow.close()
        await self.capture.close(within=max(1.0, deadline - self.loop.time()))
        self.counters.publish()
