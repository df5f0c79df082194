"""From measurements to figures: medians over the rounds, and ratios of what was measured in the same round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Final, Literal

import msgspec

from bench.measurement import DIRECT, ENVOY, NGINX, OURS, Load, Measurement, Shadow


class Spread(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One figure over the rounds."""

    median: float
    min: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(median(values), min(values), max(values))


Figures = dict[str, Spread]


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure of ours beside what it must be, and what it should be."""

    figure: str
    value: float
    must: float | None
    aim: float | None
    less_is_better: bool
    meets: Literal["aim", "must", "neither"]


class Rounds:
    """The measurements of a run, found by what they are of."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._all = list(measurements)
        self._found = {(one.round, one.subject, one.shadow, one.load): one for one in self._all}
        self.numbers = sorted({one.round for one in self._all})
        self.subjects = list(dict.fromkeys(one.subject for one in self._all))

    def of(self, subject: str) -> list[Measurement]:
        """All of a subject's."""
        return [one for one in self._all if one.subject == subject]

    def each(self, value: Callable[..., float | None], *wanted: tuple[str, Shadow, Load]) -> Spread | None:
        """`value` of the measurements wanted, round by round; rounds that lack one are left out."""
        values: list[float] = []
        for number in self.numbers:
            found = [self._found.get((number, *one)) for one in wanted]
            if None not in found and (one := value(*found)) is not None:
                values.append(one)
        return spread(values) if values else None


def shadow_of(subject: str) -> Shadow:
    """What stands behind a subject where nothing is wrong."""
    return "none" if subject == DIRECT else "healthy"


def subject_figures(rounds: Rounds, subject: str) -> Figures:
    """A subject's own figures."""
    well = shadow_of(subject)
    saturated: tuple[str, Shadow, Load] = (subject, well, "saturation")
    paced: tuple[str, Shadow, Load] = (subject, well, "pace")
    direct: tuple[str, Shadow, Load] = (DIRECT, "none", "pace")
    found = {
        "worker_us": rounds.each(lambda one: cpu_us(one, "worker"), saturated),
        "emitter_us": rounds.each(lambda one: cpu_us(one, "emitter"), saturated),
        "supervisor_us": rounds.each(lambda one: cpu_us(one, "supervisor"), saturated),
        "worker_and_emitter_us": rounds.each(worker_and_emitter_us, saturated),
        "paced_worker_us": rounds.each(lambda one: cpu_us(one, "worker"), paced),
        "requests_per_second": rounds.each(lambda one: one.rate, saturated),
        "saturated_p50_ms": rounds.each(lambda one: one.p50_ms, saturated),
        "saturated_p99_ms": rounds.each(lambda one: one.p99_ms, saturated),
        "paced_p50_ms": rounds.each(lambda one: one.p50_ms, paced),
        "paced_p99_ms": rounds.each(lambda one: one.p99_ms, paced),
    }
    if subject != DIRECT:
        found["cloned_ratio"] = rounds.each(_cloned_ratio, saturated)
        found["added_p50_ms"] = rounds.each(lambda one, base: one.p50_ms - base.p50_ms, paced, direct)
        found["added_p99_ms"] = rounds.each(lambda one, base: one.p99_ms - base.p99_ms, paced, direct)
        found |= _hung(rounds, subject, saturated, paced)
    for name, total in totals(rounds.of(subject)).items():
        found[name] = spread([total])
    return {name: one for name, one in found.items() if one is not None}


def _hung(
    rounds: Rounds, subject: str, saturated: tuple[str, Shadow, Load], paced: tuple[str, Shadow, Load]
) -> dict[str, Spread | None]:
    """With the shadow hung, as ratios to the healthy one in the same round."""
    return {
        "hung_cloned_ratio": rounds.each(_cloned_ratio, (subject, "hung", "saturation")),
        "hung_requests_per_second": rounds.each(lambda one: one.rate, (subject, "hung", "saturation")),
        "hung_requests_ratio": rounds.each(
            lambda one, well: one.rate / well.rate, (subject, "hung", "saturation"), saturated
        ),
        "hung_saturated_p99_ratio": rounds.each(
            lambda one, well: one.p99_ms / well.p99_ms, (subject, "hung", "saturation"), saturated
        ),
        "hung_paced_p99_ms": rounds.each(lambda one: one.p99_ms, (subject, "hung", "pace")),
        "hung_paced_p99_ratio": rounds.each(
            lambda one, well: one.p99_ms / well.p99_ms, (subject, "hung", "pace"), paced
        ),
    }


def totals(measurements: Sequence[Measurement]) -> dict[str, float]:
    """What is counted over all rounds, healthy and hung."""
    found: dict[str, float] = {
        "failures": sum(one.failures for one in measurements if one.shadow != "hung"),
        "changed": sum(one.changed or 0 for one in measurements),
    }
    if any(one.shadow == "hung" for one in measurements):
        found["hung_failures"] = sum(one.failures for one in measurements if one.shadow == "hung")
    if any(one.events_lost is not None for one in measurements):
        found["events_lost"] = sum(one.events_lost or 0 for one in measurements)
    return found


def ratios(rounds: Rounds, peer: str) -> Figures:
    """Ours by the peer's, round by round."""
    ours: tuple[str, Shadow, Load] = (OURS, "healthy", "saturation")
    theirs: tuple[str, Shadow, Load] = (peer, "healthy", "saturation")
    found = {
        "worker_us": rounds.each(lambda a, b: _by(cpu_us(a, "worker"), cpu_us(b, "worker")), ours, theirs),
        "worker_and_emitter_us": rounds.each(
            lambda a, b: _by(worker_and_emitter_us(a), cpu_us(b, "worker")), ours, theirs
        ),
        "requests_per_second": rounds.each(lambda a, b: a.rate / b.rate, ours, theirs),
    }
    return {name: one for name, one in found.items() if one is not None}


def cpu_us(one: Measurement, process: str) -> float | None:
    """Microseconds of a process's CPU for each request."""
    used = one.cpu_seconds.get(process)
    return None if used is None or not one.sent else used * 1e6 / one.sent


def worker_and_emitter_us(one: Measurement) -> float | None:
    """What one request costs before its event is in Kafka."""
    worker, emitter = cpu_us(one, "worker"), cpu_us(one, "emitter")
    return None if worker is None or emitter is None else worker + emitter


def _cloned_ratio(one: Measurement) -> float | None:
    return None if one.cloned is None or not one.sent else one.cloned / one.sent


def _by(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


BOUNDS: Final[tuple[tuple[str, str, str, float | None, float | None, bool], ...]] = (
    ("CPU per request, worker, of Envoy's", ENVOY, "worker_us", 0.75, None, True),
    ("CPU per request, worker, of nginx mirror's", NGINX, "worker_us", None, 1.3, True),
    ("CPU per request, worker and emitter, of Envoy's", ENVOY, "worker_and_emitter_us", 1.2, 1.0, True),
    ("requests/s, of Envoy's", ENVOY, "requests_per_second", 1.0, None, False),
    ("requests/s, of nginx mirror's", NGINX, "requests_per_second", None, 0.7, False),
    ("added p50 at the constant rate, ms", OURS, "added_p50_ms", 0.5, 0.3, True),
    ("added p99 at the constant rate, ms", OURS, "added_p99_ms", 2.0, 1.0, True),
    ("requests/s with the shadow hung, of healthy", OURS, "hung_requests_ratio", 0.85, 0.95, False),
    ("p99 at saturation with the shadow hung, of healthy", OURS, "hung_saturated_p99_ratio", 1.15, 1.05, True),
    ("p99 at the constant rate with the shadow hung, of healthy", OURS, "hung_paced_p99_ratio", 1.15, 1.05, True),
    ("requests failed", OURS, "failures", 0.0, 0.0, True),
    ("requests failed with the shadow hung", OURS, "hung_failures", 0.0, 0.0, True),
    ("answers changed", OURS, "changed", 0.0, 0.0, True),
    ("events lost", OURS, "events_lost", 0.0, 0.0, True),
)
"""A name, whose figure (a peer's: the ratio to it), which, what it must be, the aim, whether less is better."""


def bounds(subjects: Mapping[str, Figures], against: Mapping[str, Figures]) -> list[Bound]:
    """Our medians beside their bounds; those that were not measured are left out."""
    found: list[Bound] = []
    for name, of, figure, must, aim, less in BOUNDS:
        ours = (subjects if of == OURS else against).get(of, {}).get(figure)
        if ours is not None:
            found.append(judged(name, ours.median, must, aim, less=less))
    return found


def judged(name: str, value: float, must: float | None, aim: float | None, *, less: bool) -> Bound:
    """Which of its bounds a value meets; one that is not set is not met."""

    def within(bound: float | None) -> bool:
        return bound is not None and (value <= bound if less else value >= bound)

    met: Literal["aim", "must", "neither"] = "aim" if within(aim) else "must" if within(must) else "neither"
    return Bound(name, value, must, aim, less, met)
