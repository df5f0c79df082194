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
    Wave(300, 300, 50),
    Wave(600, 600, 10),
    Wave(900, 900, 10),
    Wave(200, 200, 10),
    Wave(100, 100, 10),
)
"""The last has the window's length: it is never full of drift, nor free of it."""
SPEED: Final = 10.0
"""Of Alertmanager's clock: an hour in six minutes."""


@dataclass(frozen=True)
class Told:
    """One wave's hour, the alerts of it, and how the rollback is set."""

    hour: Hour
    fired: list[Firing]
    on_feature_drift: str


def square(world: World, waves: Sequence[Wave] = WAVES, speed: float = SPEED) -> list[dict[str, Any]]:
    """Every wave with `alone`, and the first also with `corroborated`."""
    told = []
    with tempfile.TemporaryDirectory() as folder:
        for number, wave in enumerate(waves):
            unmoved = _told(world, wave, None, Path(folder), "corroborated")
            if number == 0:
                told.append(unmoved)
            first = next((each.since for each in unmoved.fired if each.labels.get("action") == "rollback"), None)
            told.append(_told(world, wave, first, Path(folder), "alone"))
        return asyncio.run(_all(told, Path(folder), speed))


def _told(world: World, wave: Wave, switch_at: int | None, folder: Path, mode: str) -> Told:
    hour = played(world, wave, switch_at)
    return Told(hour, firings(hour, folder), mode)


async def _all(told: Sequence[Told], folder: Path, speed: float) -> list[dict[str, Any]]:
    """Each has an Alertmanager of its own, all at the same time."""
    return list(
        await asyncio.gather(*(_one(each, _made(folder / str(number)), speed) for number, each in enumerate(told)))
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


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
