"""An hour's square wave of drift, from the first event to the last decision: how often traffic moves."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.silence.decisions import Decided, decided
from bench.silence.deliveries import Call, deliveries
from bench.silence.flights import World
from bench.silence.wave import FEATURE, SIGMAS, Firing, Hour, Wave, firings, played

WAVES: Final = (
    (Wave(300, 300, 10), "alone"),
    (Wave(300, 300, 10), "corroborated"),
    (Wave(600, 600, 10), "alone"),
    (Wave(100, 100, 10), "alone"),
    (Wave(900, 900, 10), "alone"),
    (Wave(300, 300, 50), "alone"),
)
"""With how the rollback is set. One has the window's length: it is never full of drift for long, nor free of it."""
SPEED: Final = 10.0
"""Of Alertmanager's clock: an hour in six minutes."""
_FIRST_LOOK: Final = 900
"""Seconds of a wave in which an alert is looked for first, before the whole of it is played."""


@dataclass(frozen=True)
class Told:
    """One wave's hour, the alerts of it, and how the rollback is set."""

    hour: Hour
    fired: list[Firing]
    on_feature_drift: str


def square(world: World, wave: Wave, on_feature_drift: str, speed: float = SPEED) -> dict[str, Any]:
    """One wave from its first event to the last decision."""
    with tempfile.TemporaryDirectory() as folder:
        switch_at = _switch_at(world, wave, Path(folder)) if on_feature_drift == "alone" else None
        hour = played(world, wave, switch_at)
        told = Told(hour, firings(hour, Path(folder)), on_feature_drift)
        return asyncio.run(_one(told, Path(folder), speed))


def _switch_at(world: World, wave: Wave, folder: Path) -> int | None:
    """When an alert asks for a rollback first: from then on the stable version answers. The decision shows the same."""
    for seconds in (wave.before + _FIRST_LOOK, wave.seconds):
        for each in firings(played(world, wave, seconds=seconds), folder):
            if each.labels.get("action") == "rollback":
                return each.since
    return None


async def _one(told: Told, folder: Path, speed: float) -> dict[str, Any]:
    wave = told.hour.wave
    calls, late = await deliveries(told.fired, wave.seconds, folder, speed)
    found, notices = await decided(told.hour, calls, folder / "state", told.on_feature_drift)
    taken = [each for each in found if each.word == "taken"]
    return {
        "on_seconds": wave.on,
        "off_seconds": wave.off,
        "requests_per_second": wave.rate,
        "feature": f"{FEATURE} by {SIGMAS} standard deviations",
        "on_feature_drift": told.on_feature_drift,
        "switches": len(taken),
        "switched_after_seconds": [round(each.at - wave.before, 1) for each in taken],
        "alerts": [
            {"alert": each.labels["alertname"], "from": each.since - wave.before, "to": _end(each, wave)}
            for each in told.fired
        ],
        "deliveries_to_the_rollback": sum(call.receiver == "rollback" for call in calls),
        "decisions": dict(Counter(f"{each.status}: {each.word}, {each.reason}" for each in found)),
        "first_decisions_by_alert": _firsts(found, wave),
        "notices_of_the_rollback": notices,
        "messages_in_slack": dict(Counter(_title(call) for call in calls if call.receiver == "slack")),
        "latest_sending_seconds": round(late, 2),
    }


def _end(firing: Firing, wave: Wave) -> int | None:
    return None if firing.until is None else firing.until - wave.before


def _firsts(found: Sequence[Decided], wave: Wave) -> list[dict[str, Any]]:
    """How each alert, by its start, was first decided."""
    firsts: dict[float, Decided] = {}
    for each in found:
        if each.status == "firing":
            firsts.setdefault(each.starts, each)
    return [
        {"alert": each.alert, "starts": round(each.starts - wave.before), "at": round(each.at - wave.before, 1),
         "decision": each.word, "reason": each.reason}
        for each in firsts.values()
    ]  # fmt: skip


def _title(call: Call) -> str:
    title: str = call.body["attachments"][0]["title"]
    return title
