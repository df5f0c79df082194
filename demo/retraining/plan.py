"""What the closed loop takes: how long, of which flights, by which configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from demo.flights import Flights, Halves
from demo.parts import address

SECONDS: Final = 150.0
"""About how long it takes when 10 % of the requests are cloned."""
FRACTION: Final = 0.1
MOST: Final = 0.3
WINDOW: Final = 2000
"""A share of 2,000 is known to within a point, which is what tells 73 % from 78."""
NEEDED: Final = 1000
"""Pairs, and labelled pairs, that the loop's configuration asks of a promotion."""
ROWS: Final = 10_000
LEAST_ROWS: Final = 6_000
PATIENCE: Final = 90.0
"""What one step may take beyond its share of the time; machines may be busy."""


@dataclass(frozen=True)
class Plan:
    """What of the time follows: the less of it, the more is cloned and the fewer flights are trained on."""

    seed: int
    seconds: float

    @property
    def fraction(self) -> float:
        """Of the requests that are cloned."""
        return round(min(MOST, max(FRACTION, FRACTION * SECONDS / self.seconds)), 3)

    @property
    def rows(self) -> int:
        """Labelled flights that the new version is trained on."""
        return round(min(ROWS, max(LEAST_ROWS, ROWS * self.seconds / SECONDS)))

    @property
    def within(self) -> float:
        """The longest that a step may take, in seconds."""
        return PATIENCE + self.seconds


@dataclass(frozen=True)
class Phases:
    """The flights of each phase. July in two halves, so that no version is judged by what it was trained on."""

    winter: Flights
    july: Flights
    july_unseen: Flights


def phases(halves: Halves, seed: int) -> Phases:
    """Shuffled by the seed."""
    july = halves.july.shuffled(seed + 1)
    half = len(july) // 2
    rest = np.arange(half, len(july))
    return Phases(halves.traffic.shuffled(seed), july.take(np.arange(half)), july.take(rest))


def sections(fraction: float) -> dict[str, Any]:
    """What the loop's model has beyond the demo's: more clones where time is short, and where a rollback would go."""
    return {"mirror": {"fraction": fraction}, "stable": "v2", "window": {"size": WINDOW}}


def rollback_section() -> dict[str, Any]:
    """There is no Prometheus here, so latency and errors are read off the proxy.

    A model that a machine of two cores asks twenty times a second answers slower than one that it asks five hundred
    times: latencies are no reason here unless they are far apart.
    """
    promotion = {"pairs": NEEDED, "labels": NEEDED, "latency_ratio": 5.0}
    return {"listen": address(9109), "prometheus": None, "evidence": {"over": "15s"}, "promotion": promotion}
