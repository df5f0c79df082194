"""The subjects of the comparison, each running: where clients connect, and which processes are whose."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.backend import Backend
from bench.broker import Broker
from bench.measurement import ENVOY, NGINX, OURS
from bench.peers import Envoy, Nginx
from bench.shadowdrift import Proxy, configure
from bench.stalling import StallingShadow
from lifecycle.refusal import Refusal

SETTLE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Subject:
    """One that runs."""

    name: str
    port: int
    stop: Callable[[], None] = lambda: None
    cloned: Callable[[], int] | None = None
    """Requests that its shadow was sent; of all subjects, but one has its turn at a time."""
    processes: Mapping[str, list[int]] = field(default_factory=dict)
    settle: Callable[[], None] = lambda: None
    """Returns when what the load has caused is done."""
    events_lost: Callable[[], int] | None = None


def start(name: str, folder: Path, production: Backend, shadow: Backend | StallingShadow, broker: Broker) -> Subject:
    """Start one of them, with that production and that shadow behind it."""
    if name == OURS:
        return _ours(folder, production, shadow, broker)
    peers: dict[str, type[Nginx] | type[Envoy]] = {NGINX: Nginx, ENVOY: Envoy}
    peer = peers[name](folder, production.port, shadow.port)
    return Subject(name, peer.port, peer.server.stop, shadow.requests, {"worker": peer.worker})


def _ours(folder: Path, production: Backend, shadow: Backend | StallingShadow, broker: Broker) -> Subject:
    file = configure(folder, production=production.port, shadow=shadow.port, kafka=broker.kafka.bootstrap_servers)
    broker.make_topics(file)
    proxy = Proxy(file)

    def settle() -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not proxy.delivered():
            if time.monotonic() > deadline:
                waiting = proxy.reading().total("events_waiting")
                raise Refusal(f"{waiting} events were not in Kafka {SETTLE_SECONDS:g} s after the load's end")
            time.sleep(0.2)

    return Subject(
        OURS,
        proxy.port,
        proxy.server.stop,
        shadow.requests,
        {"worker": proxy.worker, "emitter": proxy.emitter, "supervisor": [proxy.server.pid]},
        settle,
        lambda: proxy.reading().total("events_lost_total"),
    )
