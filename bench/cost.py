"""What a million requests cost: CPU of the worker, of the emitter and of the exporter, to a real Kafka."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bench.accounting import cpu_of
from bench.broker import Broker
from bench.load import Saturation, paced, saturate
from bench.measurement import Load
from bench.pace import Paced
from bench.processes import Server, answers
from bench.shadowdrift import Proxy, configure, scrape
from lifecycle.refusal import Refusal

SETTLE_SECONDS: Final = 120.0
WARM_UP_SECONDS: Final = 1


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Under one load: CPU seconds for a million requests, by process."""

    load: Load
    requests: int
    requests_per_second: float
    events: int
    """Measured by the exporter: production's answers, and those of the shadow."""
    cpu_seconds_per_million: dict[str, float]


class Whole:
    """Proxy and exporter on one configuration, before a healthy shadow; the topics must be empty."""

    def __init__(self, folder: Path, production: int, shadow: int, broker: Broker) -> None:
        file = configure(folder, production=production, shadow=shadow, kafka=broker.kafka.bootstrap_servers)
        broker.make_topics(file)
        self._exporter_port = int(json.loads(file.read_text())["exporter"]["listen"].rpartition(":")[2])
        command = [sys.executable, "-m", "cli.main", "exporter", "--config", str(file)]
        self.exporter = Server("the exporter", command, folder / "exporter")
        self.exporter.until(lambda: answers(f"http://127.0.0.1:{self._exporter_port}/-/ready"), 60)
        try:
            self.proxy = Proxy(file)
        except BaseException:
            self.exporter.stop()
            raise
        self._processes = {
            "worker": self.proxy.worker,
            "emitter": self.proxy.emitter,
            "supervisor": [self.proxy.server.pid],
            "exporter": [self.exporter.pid],
            "broker": broker.processes,
        }

    def stop(self) -> None:
        """The proxy first, which delivers."""
        self.proxy.server.stop()
        self.exporter.stop()

    def cost(self, load: Load, run: Callable[[], Saturation | Paced]) -> Cost:
        """What the requests of `run` cost until their events are measured."""
        events, before = self._events(), self._used()
        seen = run()
        self.settle()
        used = {name: after - before[name] for name, after in self._used().items()}
        per_million = {name: seconds * 1e6 / seen.sent for name, seconds in used.items()}
        return Cost(load, seen.sent, seen.requests / seen.seconds, self._events() - events, per_million)

    def settle(self) -> None:
        """Until everything captured is measured."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not self._measured():
            if time.monotonic() > deadline:
                raise Refusal(f"the exporter had not measured every event {SETTLE_SECONDS:g} s after the load's end")
            time.sleep(0.2)

    def _measured(self) -> bool:
        proxy = self.proxy.reading()
        on_their_way = proxy.total("events_captured_total") - proxy.total("events_lost_total")
        return on_their_way == self._events()

    def _used(self) -> dict[str, float]:
        return {name: cpu_of(pids).total for name, pids in self._processes.items()}

    def _events(self) -> int:
        return scrape(self._exporter_port).total("drift_events_total")


def costs(whole: Whole, lua: Path, rate: float, seconds: int) -> list[Cost]:
    """At the constant rate, and as much as one worker carries; the parts are stopped."""
    try:
        saturate(lua, whole.proxy.port, WARM_UP_SECONDS)
        whole.settle()
        return [
            whole.cost("pace", lambda: paced(whole.proxy.port, rate, seconds)),
            whole.cost("saturation", lambda: saturate(lua, whole.proxy.port, max(1, seconds // 2))),
        ]
    finally:
        whole.stop()
