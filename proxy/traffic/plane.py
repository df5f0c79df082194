"""What the exchanges of one worker share: plans, counters, mirror, capture, limits, and the clients that are there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from typing import Protocol

from configuration import Configuration
from configuration.credentials import credentials_of
from privacy.keys import Keys
from proxy.capture import Capture
from proxy.counters import Counters
from proxy.layout import REFUSALS
from proxy.overload import Load
from proxy.routing.plan import Plans
from proxy.sampling import Sampler
from proxy.shadowing.mirror import Mirror


class Connected(Protocol):
    """A client's connection, as far as the clock and the end of the worker are concerned."""

    def expire(self, now: float) -> None:
        """End what has taken too long."""

    def drain(self) -> None:
        """The worker stops, once those that are connected have their answers."""

    def end(self) -> None:
        """The worker waits no longer."""

    def cut(self) -> None:
        """End it at once."""


class Plane:
    """One worker's state."""

    def __init__(
        self,
        configuration: Configuration,
        keys: Keys,
        counters: Counters,
        loop: asyncio.AbstractEventLoop,
        worker: int = 0,
    ) -> None:
        self.loop = loop
        self.counters = counters
        self.plans = Plans(configuration, counters.layout, loop, Sampler(keys.derived("routing")))
        self.sampler = Sampler(keys.derived("sampling"))
        self.load = Load()
        self.capture = Capture(configuration, counters, loop, worker)
        credentials = credentials_of(configuration)
        self.mirror = Mirror(
            self.plans.all, credentials, Path(configuration.state_dir), counters, self.capture, self.load
        )
        self.header_bytes = int(configuration.proxy.limits.header_bytes)
        self.body_bytes = configuration.proxy.limits.body_bytes
        self.draining = False
        """Whether the worker stops: every answer is its connection's last."""
        self.crowded = False
        """Whether others wait for a connection: likewise, as long as that lasts."""
        self.now = monotonic()
        """The time, a tenth of a second old at most: good enough for deadlines, and cheaper than asking."""
        self.clients: set[Connected] = set()
        self.empty = asyncio.Event()
        """Set while no client is connected."""
        self.empty.set()
        self._connections = counters.layout.place("proxy_connections")
        self._refusals = {reason: counters.layout.place("proxy_refused_total", reason) for reason in REFUSALS}

    def opened(self, client: Connected) -> None:
        """A client is there."""
        self.clients.add(client)
        self.empty.clear()
        self._count_clients()

    def closed(self, client: Connected) -> None:
        """A client has gone."""
        self.clients.discard(client)
        if not self.clients:
            self.empty.set()
        self._count_clients()

    def count_refusal(self, reason: str) -> None:
        """The proxy answered a request itself."""
        self.counters.cells[self._refusals[reason]] += 1
        self.counters.changed()

    def _count_clients(self) -> None:
        self.counters.cells[self._connections] = len(self.clients)
        self.counters.changed()
