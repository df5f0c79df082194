"""A run's results: one JSON file, and tables that are made of it alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.cost import Cost
from bench.figures import Bound, Figures, Rounds, Spread, bounds, ratios, spread, subject_figures
from bench.machine import Machine
from bench.measurement import DIRECT, ENVOY, NGINX, OURS, Measurement


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How it was measured."""

    rounds: int
    seconds: int
    """Of each load in each round."""
    rate: float
    """Of the constant load."""
    connections: int
    request_bytes: int
    features: int
    mirrored_percent: int


class Results(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `proxy.json` holds."""

    machine: Machine
    versions: dict[str, str]
    settings: Settings
    others: Spread
    """The share of the machine that was used while nothing was measured, before each round."""
    subjects: dict[str, Figures]
    ratios: dict[str, Figures]
    """Ours by the peer's."""
    bounds: list[Bound]
    cost: list[Cost]
    measurements: list[Measurement]


def results(
    machine: Machine,
    versions: dict[str, str],
    settings: Settings,
    others: Sequence[float],
    measurements: Sequence[Measurement],
    cost: Sequence[Cost],
) -> Results:
    """All figures of the measurements."""
    rounds = Rounds(measurements)
    subjects = {subject: subject_figures(rounds, subject) for subject in rounds.subjects}
    peers = [peer for peer in (ENVOY, NGINX) if peer in subjects and OURS in subjects]
    against: dict[str, Figures] = {peer: ratios(rounds, peer) for peer in peers}
    return Results(
        machine,
        versions,
        settings,
        spread(others),
        subjects,
        against,
        bounds(subjects, against),
        list(cost),
        list(measurements),
    )


def save(found: Results, folder: Path) -> str:
    """Write `proxy.json` and `proxy.md`, and return the latter: it tells what is written in the former."""
    folder.mkdir(parents=True, exist_ok=True)
    rounded = _rounded(found)
    (folder / "proxy.json").write_bytes(msgspec.json.format(msgspec.json.encode(rounded), indent=1) + b"\n")
    (folder / "proxy.md").write_text(markdown(rounded))
    return markdown(rounded)


def load(file: Path) -> Results:
    """What `save` wrote. Raises msgspec.ValidationError for anything else."""
    return msgspec.json.decode(file.read_bytes(), type=Results)


def _rounded(found: Results) -> Results:
    """With as many digits as can mean something."""
    return msgspec.convert(_short(msgspec.to_builtins(found)), Results)


def _short(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _short(one) for name, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, list) else value


ROWS: Final = (
    ("worker_us", "CPU of the worker, µs a request"),
    ("emitter_us", "… of the emitter"),
    ("supervisor_us", "… of the supervisor"),
    ("worker_and_emitter_us", "… worker and emitter together"),
    ("paced_worker_us", "CPU of the worker at the constant rate, µs a request"),
    ("requests_per_second", "requests/s, one worker"),
    ("saturated_p50_ms", "p50 at saturation, ms"),
    ("saturated_p99_ms", "p99 at saturation, ms"),
    ("paced_p50_ms", "p50 at the constant rate, ms"),
    ("paced_p99_ms", "p99 at the constant rate, ms"),
    ("added_p50_ms", "**added p50** at the constant rate, ms"),
    ("added_p99_ms", "**added p99** at the constant rate, ms"),
    ("cloned_ratio", "requests that reached the shadow, of 1"),
    ("failures", "requests failed"),
    ("changed", "answers changed"),
    ("events_lost", "events lost"),
    ("hung_cloned_ratio", "shadow hung: requests that reached it, of 1"),
    ("hung_requests_per_second", "shadow hung: requests/s"),
    ("hung_requests_ratio", "shadow hung: requests/s, of healthy"),
    ("hung_saturated_p99_ratio", "shadow hung: p99 at saturation, of healthy"),
    ("hung_paced_p99_ms", "shadow hung: p99 at the constant rate, ms"),
    ("hung_paced_p99_ratio", "shadow hung: p99 at the constant rate, of healthy"),
    ("hung_failures", "shadow hung: requests failed"),
)
PROCESSES: Final = {
    "worker": "proxy: the workers together",
    "emitter": "proxy: the emitter, to Kafka",
    "supervisor": "proxy: the supervisor",
    "exporter": "exporter, to a measured event",
    "broker": "beside them: the Kafka broker itself",
}
NAMES: Final = {
    DIRECT: "direct",
    OURS: "shadowdrift",
    NGINX: "nginx `mirror`",
    ENVOY: "Envoy `request_mirror_policies`",
}


def markdown(found: Results) -> str:
    """Everything, for a reader."""
    settings, machine = found.settings, found.machine
    told = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    head = f"""# The proxy beside its peers

`make bench-proxy` on {machine.cores} cores ({machine.cpu}, Linux {machine.kernel}, Python {machine.python}): {told}.
{settings.rounds} rounds in one run; in each, every subject in turn has {settings.seconds} s of either load. One worker
each, the same backend, {settings.request_bytes} bytes of JSON with {settings.features} features over
{settings.connections} kept connections, {settings.mirrored_percent} % to the shadow. shadowdrift captures every
inference meanwhile and delivers it to a real Apache Kafka. Figures are medians over the rounds, with the least and the
greatest; ratios and what is added are of the same round. CPU is the kernel's own accounting of the processes.
Others used {found.others.median:.0%} of the machine ({found.others.min:.0%} to {found.others.max:.0%}).
"""
    return "\n".join([head, *_subjects(found), "", *_bounds(found), "", *cost_table(found.cost), ""])


def _subjects(found: Results) -> Iterator[str]:
    rate = f"{found.settings.rate:,.0f} requests/s"
    yield "| | " + " | ".join(NAMES.get(name, name) for name in found.subjects) + " |"
    yield "|---" * (len(found.subjects) + 1) + "|"
    for figure, title in ROWS:
        cells = [_shown(figures.get(figure)) for figures in found.subjects.values()]
        if any(cells):
            yield f"| {title.replace('the constant rate', rate)} | " + " | ".join(cells) + " |"


def _bounds(found: Results) -> Iterator[str]:
    yield "| shadowdrift, by the bounds it is held to | measured | must | aim | meets |"
    yield "|---|---|---|---|---|"
    for bound in found.bounds:
        sign = "≤" if bound.less_is_better else "≥"
        must, aim = (f"{sign} {value:g}" if value is not None else "" for value in (bound.must, bound.aim))
        yield f"| {bound.figure} | {_number(bound.value)} | {must} | {aim} | {bound.meets} |"


def cost_table(cost: Sequence[Cost]) -> Iterator[str]:
    """What a million requests cost, ready for the README."""
    how = {"pace": "at", "saturation": "one worker at its limit,"}
    loads = [f"{how[one.load]} {one.requests_per_second:,.0f} requests/s" for one in cost]
    yield "| CPU seconds per million requests | " + " | ".join(loads) + " |"
    yield "|---" * (len(loads) + 1) + "|"
    for process in dict.fromkeys(name for one in cost for name in one.cpu_seconds_per_million):
        cells = [f"{one.cpu_seconds_per_million[process]:.1f}" for one in cost]
        yield f"| {PROCESSES.get(process, process)} | " + " | ".join(cells) + " |"


def _shown(one: Spread | None) -> str:
    if one is None:
        return ""
    if one.min == one.max:
        return _number(one.median)
    return f"{_number(one.median)} ({_number(one.min)} to {_number(one.max)})"


def _number(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}f}"
