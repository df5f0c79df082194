"""One version of a model as a worker asks it, and how requests are shared out among several."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from configuration import Model
from events.inference import OUTCOMES, Outcome, Role
from proxy.counters import Counters
from proxy.http.pool import Pool
from proxy.layout import STATUS_CLASSES, Layout
from proxy.routing.breaker import Breaker
from proxy.sampling import WHOLE

_OUTCOME_INDEX: Final = {outcome: index for index, outcome in enumerate(OUTCOMES)}


@dataclass(frozen=True, slots=True)
class VersionPlaces:
    """Where the numbers of one version in one role are counted."""

    requests: int
    latency: int
    first_byte: int
    in_flight: int
    ok: int
    """Of the requests, those that were answered 2xx."""

    @classmethod
    def of(cls, layout: Layout, model: str, version: str, role: Role) -> VersionPlaces:
        """Look the places up."""
        labels = (model, version, role)
        return cls(
            layout.place("inference_requests_total", *labels, STATUS_CLASSES[0], OUTCOMES[0]),
            layout.place("inference_latency_seconds", *labels),
            layout.place("inference_first_byte_seconds", *labels),
            layout.place("inference_in_flight", *labels),
            layout.place("inference_requests_total", *labels, "2xx", "ok"),
        )

    def request(self, status: int | None, outcome: Outcome) -> int:
        """The place of one status class and outcome; `status` is None where no answer came."""
        status_class = status // 100 if status is not None and 100 <= status < 600 else 0
        return self.requests + status_class * len(OUTCOMES) + _OUTCOME_INDEX[outcome]


class Serving:
    """A version that answers clients: its connections, its time, its numbers, and whether it is worth asking."""

    __slots__ = ("_breaker_open", "breaker", "places", "pool", "timeout", "version")

    def __init__(self, model: Model, version: str, layout: Layout, loop: asyncio.AbstractEventLoop) -> None:
        target = model.targets[version]
        self.version = version
        self.timeout = float(target.timeout)
        self.pool = Pool(target, loop)
        self.places = VersionPlaces.of(layout, model.name, version, "production")
        self.breaker: Breaker | None = None
        """Only where something else can answer: without that, production is always tried."""
        if model.fallback is not None and model.fallback.target != version:
            self.breaker = Breaker(target.breaker)
        self._breaker_open = layout.place("proxy_breaker_open", model.name, version, "production")

    def allows(self, now: float) -> bool:
        """Whether a request may be tried."""
        return self.breaker is None or self.breaker.allows(now)

    def note(self, counters: Counters, now: float, *, failed: bool) -> None:
        """Tell the breaker what came of a request."""
        breaker = self.breaker
        if breaker is None:
            return
        if failed:
            breaker.failed(now)
        else:
            breaker.succeeded()
        counters.cells[self._breaker_open] = breaker.state != "closed"
        counters.changed()


class Shares:
    """Which version a request goes to, by its position (see `sampling`): each has a stretch of its weight's length.

    The stretches follow one another in the order given, so the first one's requests stay its own while its weight
    grows, and the last one's likewise: a canary at 10 % serves whom it served at 5 %.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Weights are shares of their sum."""
        whole = sum(weights.values())
        self._ends: list[tuple[int, str]] = []
        reached = 0.0
        for version, weight in weights.items():
            if weight > 0:
                reached += weight
                self._ends.append((int(reached / whole * WHOLE), version))

    @property
    def only(self) -> str | None:
        """The version that has every request, None where several share them."""
        return self._ends[0][1] if len(self._ends) == 1 else None

    def version(self, position: int) -> str:
        """Whose the request at this position is."""
        for end, version in self._ends:
            if position < end:
                return version
        return self._ends[-1][1]  # where rounding left the last stretch short of the whole
