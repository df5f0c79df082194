"""A worker's data plane at work: it takes connections, ends what is slow, and comes to an end itself."""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic
from typing import Final

from configuration import Configuration
from privacy.keys import Keys
from proxy.counters import Counters
from proxy.traffic.client import ClientConnection
from proxy.traffic.plane import Plane

SWEEP_SECONDS: Final = 0.1
"""How often deadlines are looked at: one timer for all costs less than one each."""


END_SECONDS: Final = 1.0
"""How long a client may take to close its end, once the worker has closed in order."""


class DataPlane(Plane):
    """The plane with its clients and its clock."""

    def __init__(
        self,
        configuration: Configuration,
        keys: Keys,
        counters: Counters,
        loop: asyncio.AbstractEventLoop,
        worker: int = 0,
    ) -> None:
        super().__init__(configuration, keys, counters, loop, worker)
        self._due = self.now + SWEEP_SECONDS
        self._timer = loop.call_later(SWEEP_SECONDS, self._sweep)

    def connection(self) -> ClientConnection:
        """A protocol for a client that has connected."""
        return ClientConnection(self)

    def _sweep(self) -> None:
        now = self.now = monotonic()
        self.load.measured(now - self._due)
        self._due = now + SWEEP_SECONDS
        self._timer = self.loop.call_later(SWEEP_SECONDS, self._sweep)  # first: nothing that fails stops the clock
        for client in list(self.clients):
            client.expire(now)
        self.mirror.expire(now)
        for plan in self.plans.all:
            plan.close_idle(now)

    async def drain(self, within: float) -> None:
        """Serve what was accepted and end the clones, for at most `within` seconds; then hand over what is captured."""
        deadline = self.loop.time() + within
        self.draining = True
        for client in list(self.clients):
            client.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self.empty.wait()
                await self.mirror.idle.wait()
        for client in list(self.clients):
            client.end()
        self.mirror.give_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):  # what was cut is recorded too
                await self.empty.wait()
        for client in list(self.clients):
            client.cut()
        self._timer.cancel()
        for plan in self.plans.all:
            plan.close()
        await self.capture.close(within=max(1.0, deadline - self.loop.time()))
        self.counters.publish()
