"""A day without drift: what the shipped rules make of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.silence.engine import Reached, reached
from bench.silence.flights import BATCH, DAY_SECONDS, Batches, Drawn, InTurn, Requests, Wander, World
from bench.silence.played import Played
from bench.silence.series import INTERVAL, Kept

Rate: TypeAlias = Callable[[float], float]
"""Requests a second at a time of the day, in seconds."""

_HOURS: Final = (2, 1, 0.5, 0.3, 0.3, 0.5, 1, 3, 8, 15, 25, 35, 45, 50, 50, 48, 45, 40, 35, 28, 20, 12, 7, 4)
"""Requests a second at each hour of a day with a night: for two hours fewer than the rules judge by (100 in 5 min)."""

UP: Final = b"up 1\n"
NGINX: Final = b"up 1\nnginx_proxy_answers 1\n"


def steady(rate: float) -> Rate:
    """The same all day."""
    return lambda _: rate


def daily(at: float) -> float:
    """A day's curve, by straight lines from hour to hour."""
    hours = at % DAY_SECONDS / 3600
    return float(np.interp(hours, range(25), (*_HOURS, _HOURS[0])))


@dataclass(frozen=True)
class Scenario:
    """One kind of traffic without drift."""

    name: str
    requests: Callable[[World, int], Requests]
    rate: Rate
    seeds: Sequence[int]
    by_chance: bool = False
    """Whether requests come by chance (Poisson), not at a pace."""
    counts: bool = True
    """Whether it is driftless, and not only meant to show where the rules begin to speak."""


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario("in turn, 50/s", InTurn, steady(50), (1,)),
        Scenario("by chance, a day with a night", Drawn, daily, (2, 3), by_chance=True),
        Scenario("by chance, 5/s", Drawn, steady(5), (4, 5), by_chance=True),
        Scenario(f"batches of {BATCH} of one hour, 5/s", Batches, steady(5), (6,), by_chance=True, counts=False),
        Scenario("temperature swings by 0.25 sd a day, 10/s", Wander, steady(10), (7,), by_chance=True, counts=False),
    )
}


def run(
    scenario: Scenario,
    seed: int,
    seconds: int = int(DAY_SECONDS),
    world: World | None = None,
    interval: int = INTERVAL,
) -> dict[str, Any]:
    """One run of so many seconds of traffic: alerts by what they reached, and the greatest values seen.

    `world`: another than the seed's own; the traffic is the seed's all the same. `interval`: seconds between scrapes,
    and between evaluations.
    """
    world = World(seed) if world is None else world
    played, requests = Played(world), scenario.requests(world, seed)
    chance = np.random.default_rng([seed, 0])
    kept = Kept(interval)
    for number in range(seconds // interval + 1):
        if number:
            begin = float((number - 1) * interval)
            times = _times(scenario, chance, begin, interval)
            which = requests.next(len(times), begin)
            sent = [(at, world.normal, one) for at, one in zip(times.tolist(), which, strict=True)]
            played.pass_on(sent, begin + interval)
        scrape(kept, played)
    found = _judged(kept)
    return {
        "scenario": scenario.name,
        "driftless": scenario.counts,
        "seed": seed,
        "seed_of_the_world": world.seed,
        "interval_seconds": interval,
        "hours": round(seconds / 3600, 3),
        "requests": played.requests,
        "instances": played.requests * (BATCH if scenario.requests is Batches else 1),
        "series": len(kept),
        "evaluations": kept.scrapes,
        "fired": [alert._asdict() for alert in found if alert.firing],
        "pending_only": [alert._asdict() for alert in found if not alert.firing],
        "greatest": dict(_greatest(kept)),
    }


def scrape(kept: Kept, played: Played) -> None:
    """Every part, once."""
    if kept.scrapes == 0:
        for job, text in (("rollback", UP), ("nginx", NGINX), ("proxy", UP + played.proxy.metrics())):
            kept.scrape(job, text)
    kept.change("proxy", played.proxy.changed())
    kept.scrape("exporter", UP + played.exporter.metrics(), peaks=played.exporter.full)
    kept.next()


def _times(scenario: Scenario, chance: np.random.Generator, begin: float, interval: int) -> NDArray[np.float64]:
    """When the requests of one interval are sent."""
    due = scenario.rate(begin) * interval
    if scenario.by_chance:
        return begin + np.sort(chance.random(chance.poisson(due))) * interval
    return begin + np.arange(round(due)) / due * interval


def _judged(kept: Kept) -> list[Reached]:
    with tempfile.TemporaryDirectory() as folder:
        return reached(kept, Path(folder))


def _greatest(kept: Kept) -> Iterator[tuple[str, float]]:
    """Of each family the series that came highest, once the window was full."""
    for family in sorted({name.partition("{")[0] for name in kept.peaks}):
        of_family = {name: value for name, value in kept.peaks.items() if name.partition("{")[0] == family}
        name = max(of_family, key=lambda each: of_family[each])
        told = [found for label in ("feature", "level") if (found := name.partition(f'{label}="')[2].partition('"')[0])]
        yield " ".join((family, *told)), float(f"{of_family[name]:.4g}")
