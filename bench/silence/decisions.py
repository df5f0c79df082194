"""What the rollback decides of deliveries: its own desk, journal and switch, on the deliveries' clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from bench.silence.deliveries import Call
from bench.silence.played import BEGINS, CONFIGURATION, MEDIAN_SECONDS
from bench.silence.series import INTERVAL
from bench.silence.wave import Hour
from configuration.rollback import Rollback
from evidence import document
from rollback.actions.active_file import ActiveFile
from rollback.actions.steps import Steps
from rollback.audit import Audit
from rollback.counters import RollbackMetrics
from rollback.desk import Desk
from rollback.facts import Facts, Traffic
from rollback.journal import Journal
from rollback.notices import Notice, Notices
from rollback.office import Office
from rollback.switch import Switch
from rollback.webhook import decode


@dataclass(frozen=True)
class Decided:
    """One alert of one delivery, and what was decided; seconds since the start."""

    at: float
    alert: str
    status: str
    starts: float
    word: str
    reason: str


class _Known:
    """What exporter and Prometheus would have answered: the evidence of the last scrape, the last minute's traffic."""

    def __init__(self, hour: Hour, clock: Callable[[], float]) -> None:
        self._hour, self._clock = hour, clock

    async def facts(self, model: str, now: float) -> Facts:
        number = min(int((self._clock() - BEGINS) // INTERVAL), len(self._hour.evidence) - 1)
        evidence = document.decode(self._hour.evidence[number])
        before = self._hour.requests[max(0, number - 60 // INTERVAL)]
        traffic = {
            ("production", version): Traffic(float(count - before[version]), 0.0, 2 * MEDIAN_SECONDS)
            for version, count in self._hour.requests[number].items()
            if count > before[version]
        }
        return Facts(evidence, "", traffic, "", frozenset(), now)


class _Told(Notices):
    """Those that are told, each once: counted, and sent nowhere."""

    def __init__(self, settings: Rollback, session: aiohttp.ClientSession) -> None:
        super().__init__(settings, session, lambda *_: None)
        self.words: Counter[str] = Counter()
        self._once: set[tuple[object, ...]] = set()

    def tell(self, notice: Notice, *, once_for: tuple[object, ...] | None = None) -> None:
        super().tell(notice, once_for=once_for)
        if once_for is None or once_for not in self._once:
            self.words[f"{notice.word}: {notice.reason}"] += 1
        self._once.add(once_for or ())


async def decided(
    hour: Hour, calls: Sequence[Call], folder: Path, on_feature_drift: str
) -> tuple[list[Decided], dict[str, int]]:
    """Every alert of every delivery to the rollback, in their order; and its notices, by what they say."""
    settings = msgspec.structs.replace(CONFIGURATION.rollback, dry_run=False, on_feature_drift=on_feature_drift)
    configuration = msgspec.structs.replace(CONFIGURATION, rollback=settings, state_dir=str(folder))
    now = BEGINS

    def clock() -> float:
        return now

    found: list[Decided] = []
    journal = Journal(folder, configuration.models)
    audit = Audit(folder, clock)
    try:
        async with aiohttp.ClientSession() as session:
            metrics = RollbackMetrics(journal.of, settings.actions, dry_run=False)
            active_file = ActiveFile(folder)
            switch = Switch(configuration, journal, Steps([active_file], metrics.acted), active_file, audit, clock)
            notices = _Told(settings, session)
            desk = Desk(Office(settings, journal, switch, _Known(hour, clock), audit, notices, metrics, clock))
            for call in calls:
                if call.receiver == "rollback":
                    now = BEGINS + call.at
                    _, answer = await desk.deliver(decode(msgspec.json.encode(_dated(call.body))))
                    found += _of(call, answer)
    finally:
        audit.close()
        journal.close()
    return found, dict(notices.words)


def _of(call: Call, answer: dict[str, Any]) -> list[Decided]:
    return [
        Decided(round(call.at, 1), line["alert"], alert["status"], alert["startsAt"], line["decision"], line["reason"])
        for alert, line in zip(call.body["alerts"], answer["decisions"], strict=True)
    ]


_UNKNOWN: Final = "0001-01-01T00:00:00Z"


def _dated(body: dict[str, Any]) -> dict[str, Any]:
    """With times as Alertmanager writes them."""
    alerts = [{**alert, **{name: _rfc3339(alert[name]) for name in ("startsAt", "endsAt")}} for alert in body["alerts"]]
    return {**body, "alerts": alerts}


def _rfc3339(at: float | None) -> str:
    return _UNKNOWN if at is None else datetime.fromtimestamp(BEGINS + at, UTC).isoformat().replace("+00:00", "Z")
