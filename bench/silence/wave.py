"""An hour of drift that comes and goes: what is scraped, and which alerts fire when."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.silence.calm import scrape
from bench.silence.engine import Question, answers
from bench.silence.flights import Answered, World
from bench.silence.played import Played
from bench.silence.series import INTERVAL, Kept
from demo.drift import DEFAULT_FEATURE, drifted
from demo.parts import WINDOW
from evidence import document

HOUR: Final = 3600
SIGMAS: Final = 1.5
FEATURE: Final = DEFAULT_FEATURE["shift"]
AFTER: Final = 600
"""Seconds of calm behind the hour: until everything is resolved."""


@dataclass(frozen=True)
class Wave:
    """Drift for `on` seconds, none for `off` seconds, for an hour; `rate` requests a second."""

    on: int
    off: int
    rate: int

    @property
    def before(self) -> int:
        """Seconds of calm before it: until the window is full, and a minute."""
        return -(-(WINDOW // self.rate + 60) // INTERVAL) * INTERVAL

    @property
    def seconds(self) -> int:
        """Of all of it."""
        return self.before + HOUR + AFTER

    def drifts(self, at: float) -> bool:
        """Whether what is sent at that second is drifted."""
        since = at - self.before
        return 0 <= since < HOUR and since % (self.on + self.off) < self.on


@dataclass
class Hour:
    """One wave as it was scraped; the rollback's facts at each scrape."""

    wave: Wave
    kept: Kept = field(default_factory=Kept)
    evidence: list[bytes] = field(default_factory=list)
    requests: list[dict[str, int]] = field(default_factory=list)
    """By version, how many production has answered."""


class Flows:
    """The normal flights and the shifted ones, each in turn."""

    def __init__(self, world: World) -> None:
        shifted = drifted("shift", world.halves, world.seed, FEATURE, SIGMAS)
        self._tables = {False: world.normal, True: world.answered(shifted)}
        self._at = {False: 0, True: 0}

    def next(self, drift: bool) -> tuple[Answered, tuple[int]]:
        """The next one."""
        table, at = self._tables[drift], self._at[drift]
        self._at[drift] = (at + 1) % len(table.truths)
        return table, (at,)


def played(world: World, wave: Wave, switch_at: int | None = None, seconds: int | None = None) -> Hour:
    """Let it happen, or its first `seconds`; from `switch_at` on the stable version answers."""
    parts, hour, flows = Played(world), Hour(wave), Flows(world)
    answered = {"v2": 0, "v1": 0}
    for number in range((wave.seconds if seconds is None else seconds) // INTERVAL + 1):
        if number:
            begin = (number - 1) * INTERVAL
            if switch_at is not None and begin >= switch_at and parts.proxy.serving == "v2":
                parts.proxy.switch("v1", "rollback: SevereFeatureDrift")
                hour.kept.scrape("proxy", b"up 1\n" + parts.proxy.metrics())
            times = [begin + each / wave.rate for each in range(INTERVAL * wave.rate)]
            parts.pass_on([(at, *flows.next(wave.drifts(at))) for at in times], begin + INTERVAL)
            answered[parts.proxy.serving] += len(times)
        scrape(hour.kept, parts)
        hour.evidence.append(document.encode(parts.exporter.evidence()))
        hour.requests.append(dict(answered))
    return hour


@dataclass
class Firing:
    """One alert from its first evaluation as firing to the first at which it no longer is; seconds since the start."""

    labels: dict[str, str]
    since: int
    until: int | None = None


def firings(hour: Hour, folder: Path) -> list[Firing]:
    """Every alert that fired, the watchdog left out, by when it began."""
    asked = [
        Question('ALERTS{alertstate="firing", alertname!="Watchdog"}', number * INTERVAL)
        for number in range(hour.kept.scrapes)
    ]
    found: list[Firing] = []
    open_: dict[tuple[tuple[str, str], ...], Firing] = {}
    for question, samples in zip(asked, answers(hour.kept, asked, folder), strict=True):
        now = {}
        for labels, _ in samples:
            kept = {name: value for name, value in labels.items() if name not in {"__name__", "alertstate"}}
            now[tuple(sorted(kept.items()))] = kept
        for key in open_.keys() - now.keys():
            open_.pop(key).until = question.at
        for key in now.keys() - open_.keys():
            open_[key] = Firing(now[key], question.at)
            found.append(open_[key])
    return found
