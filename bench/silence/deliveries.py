"""What a real Alertmanager makes of alerts with the shipped routes, its clock and theirs so many times quicker."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import web

from bench.silence.series import INTERVAL
from bench.silence.wave import Firing
from tests.support.alertmanager import CONFIGURATION, Alertmanager, adapted

RESEND: Final = 60
"""Seconds after which Prometheus sends an alert again, and a quarter of the time for which it says that it lasts."""
KEPT: Final = 900
"""Seconds for which it goes on to tell that an alert is over."""
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_TIMINGS: Final = ("group_wait", "group_interval", "repeat_interval")
_UNTIL_ANSWERED: Final = 3.0


@dataclass(frozen=True)
class Call:
    """One call of Alertmanager's: whom, when (seconds since the start), and with what."""

    receiver: str
    at: float
    body: dict[str, Any]


@dataclass
class _Clock:
    """The alerts' time on a wall clock that is slower: `speed` seconds of theirs a second."""

    speed: float
    zero: float = field(default_factory=time.time)

    def wall(self, at: float) -> float:
        return self.zero + at / self.speed

    def at(self, wall: float) -> float:
        return (wall - self.zero) * self.speed


def timed(folder: Path, addresses: Mapping[str, str], speed: float) -> Path:
    """The shipped configuration with other addresses; every wait of its routes is `speed` times shorter."""
    made = adapted(folder, addresses["slack"], {name: url for name, url in addresses.items() if name != "slack"})
    document = yaml.safe_load(made.read_text())
    document["route"] = yaml.safe_load(CONFIGURATION.read_text())["route"]
    for route in (document["route"], *document["route"]["routes"]):
        for name in _TIMINGS:
            if name in route:
                number, unit = re.fullmatch(r"(\d+)([smh])", route[name]).groups()  # type: ignore[union-attr]
                route[name] = f"{round(1000 * int(number) * _SECONDS[unit] / speed)}ms"
    made.write_text(yaml.safe_dump(document))
    return made


async def deliveries(firings: Sequence[Firing], seconds: int, folder: Path, speed: float) -> tuple[list[Call], float]:
    """Every call to the rollback and to Slack, and by how many seconds a sending came late at most.

    Alerts are sent as Prometheus sends them: when they begin and end, and every minute meanwhile.
    """
    calls: list[tuple[str, float, dict[str, Any]]] = []
    async with _receivers(calls) as addresses:
        made = timed(folder, addresses, speed)
        with await asyncio.to_thread(Alertmanager, made) as alertmanager:
            clock = _Clock(speed)
            late = await _sent(alertmanager, clock, firings, seconds)
            await asyncio.sleep(_UNTIL_ANSWERED)
    return [Call(name, clock.at(wall), _restored(body, clock)) for name, wall, body in calls], late


@asynccontextmanager
async def _receivers(calls: list[tuple[str, float, dict[str, Any]]]) -> AsyncIterator[dict[str, str]]:
    async def take(request: web.Request) -> web.Response:
        calls.append((request.match_info["name"], time.time(), await request.json()))
        return web.Response(text="ok")

    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_post("/{name}", take)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield {name: f"http://{host}:{port}/{name}" for name in ("slack", "rollback", "retraining")}
    finally:
        await runner.cleanup()


async def _sent(alertmanager: Alertmanager, clock: _Clock, firings: Sequence[Firing], seconds: int) -> float:
    last: dict[int, int] = {}
    latest = 0.0
    ends = [_told_until(firing, firings) for firing in firings]
    for at in range(0, seconds + 1, INTERVAL):
        await asyncio.sleep(max(0.0, clock.wall(at) - time.time()))
        due = [
            number
            for number, firing in enumerate(firings)
            if firing.since <= at < ends[number] and _needs_sending(firing, last.get(number), at)
        ]
        if due:
            await asyncio.to_thread(alertmanager.post, [_alert(firings[number], at, clock) for number in due])
            last |= dict.fromkeys(due, at)
            latest = max(latest, clock.at(time.time()) - at)
    return latest


def _told_until(firing: Firing, firings: Sequence[Firing]) -> float:
    """Prometheus keeps what has ended for 15 minutes, unless the same alert fires again meanwhile."""
    if firing.until is None:
        return float("inf")
    again = [each.since for each in firings if each.labels == firing.labels and each.since > firing.since]
    return min([firing.until + KEPT, *again])


def _needs_sending(firing: Firing, last: int | None, at: int) -> bool:
    """Prometheus' own rule: at the beginning, at the end, and a minute after it was sent last."""
    if last is None or (firing.until is not None and last < firing.until <= at):
        return True
    return last + RESEND < at


def _alert(firing: Firing, at: int, clock: _Clock) -> dict[str, Any]:
    over = firing.until is not None and firing.until <= at
    ends = firing.until if over and firing.until is not None else at + 4 * RESEND
    return {
        "labels": firing.labels,
        "annotations": {"summary": firing.labels["alertname"]},
        "startsAt": _rfc3339(clock.wall(firing.since)),
        "endsAt": _rfc3339(clock.wall(ends)),
        "generatorURL": "http://prometheus.test:9090/graph",
    }


def _restored(body: dict[str, Any], clock: _Clock) -> dict[str, Any]:
    """A webhook's times as the alerts have them: seconds since the start, to a hundredth."""
    for alert in body.get("alerts", ()):
        for name in ("startsAt", "endsAt"):
            wall = datetime.fromisoformat(alert[name]).timestamp() if not alert[name].startswith("0001") else None
            alert[name] = None if wall is None else round(clock.at(wall), 2)
    return body


def _rfc3339(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
