"""Every alert in the hands of promtool: it fires when it should and by then, and is silent when it should not.

The cases are in tests/prometheus/cases.py; what needs its exact words is in prometheus/tests.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus.cases import CASES, DRIFT_TRAFFIC, Case, Series
from tests.support import prometheus
from tests.support.prometheus import RULES
from tests.support.required import require

Phase = tuple[str, int]
"""`bad`, `calm` or `gone`, for so many seconds."""

SCARCE = 0.01
"""The share of a family that is left where there is little traffic."""


@pytest.fixture(autouse=True)
def promtool() -> None:
    """The real checker."""
    require("Prometheus", prometheus.missing())


def samples(series: Series, phases: Sequence[Phase], step: int, scale: float = 1.0) -> str:
    """What promtool is to read of it: one sample a step, through all phases."""
    found: list[str] = []
    total, ended = 0.0, False
    for kind, seconds in phases:
        for _ in range(seconds // step):
            if kind == "gone":
                found.append("_" if ended else "stale")
                ended = True
                continue
            ended = False
            value = (series.bad if kind == "bad" else series.calm) * scale
            total += value * step
            found.append(f"{total if series.counts else value:.6g}")
    return " ".join(found)


def played(series: Series, values: str, instance: str = "a") -> dict[str, str]:
    """One line of promtool's input."""
    labels = {"instance": instance, **series.labels}
    inside = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return {"series": f"{series.name}{{{inside}}}", "values": values}


class World:
    """One promtool test: the series of a case through some phases, and what is asked afterwards."""

    def __init__(self, case: Case, name: str, phases: Sequence[Phase]) -> None:
        self._case = case
        self._asked: list[dict[str, Any]] = []
        self.length = sum(seconds for _, seconds in phases)
        self.phases = phases
        self.document: dict[str, Any] = {
            "name": name,
            "interval": f"{case.step}s",
            "input_series": [played(series, samples(series, phases, case.step)) for series in case.series],
            "promql_expr_test": self._asked,
        }

    def fires(self, at: int) -> None:
        """Once, with the case's labels."""
        labels = ", ".join(f'{name}="{value}"' for name, value in self._case.labels.items())
        self._ask(f'ALERTS{{alertname="{self._case.alert}", alertstate="firing", {labels}}}', at, 1)
        self._ask(f'ALERTS{{alertname="{self._case.alert}", alertstate="firing"}}', at, 1)

    def silent(self, at: int) -> None:
        """At this moment."""
        self._ask(f'ALERTS{{alertname="{self._case.alert}", alertstate="firing"}}', at, None)

    def never(self) -> None:
        """Not once."""
        self._ask(
            f'count_over_time(ALERTS{{alertname="{self._case.alert}", alertstate="firing"}}[{self.length}s])',
            self.length,
            None,
        )

    def _ask(self, expression: str, at: int, count: int | None) -> None:
        samples = [] if count is None else [{"labels": "{}", "value": count}]
        self._asked.append({"expr": f"count({expression})", "eval_time": f"{at}s", "exp_samples": samples})


def firing(case: Case) -> World:
    """In time, not before, and over when all is well again."""
    phases = [("calm", case.before), ("bad", case.after + case.within + 120), ("calm", 780)]
    world = World(case, "fires", phases)
    if case.after:
        world.silent(case.before + case.after - case.step)
    world.fires(case.before + case.after + case.within)
    world.silent(world.length - case.step)
    return world


def silent(case: Case) -> World:
    """What must not fire, each under another model's name: all is well, or something is too little, or missing."""
    variants: list[list[tuple[Series, str, float]]] = [[(series, "calm", 1.0) for series in case.series]]
    variants += [
        [(series, "bad", SCARCE if series.name == family else 1.0) for series in case.series] for family in case.traffic
    ]
    variants += [
        [(series, "bad", 1.0) for series in case.series if series is not missing]
        for missing in case.series
        if missing.needed
    ]
    world = World(case, "is silent", [("calm", case.before), ("bad", case.after + case.within + 120)])
    lines = world.document["input_series"] = []
    for number, variant in enumerate(variants):
        for series, kind, scale in variant:
            phases = [(kind if phase == "bad" else phase, seconds) for phase, seconds in world.phases]
            other = replace(series, labels={**series.labels, "model": f"model-{number}"})
            lines.append(played(other, samples(series, phases, case.step, scale)))
    world.never()
    return world


def flapping(case: Case) -> Iterator[World]:
    """What comes and goes sooner than it waits raises nothing; what has been raised is not taken back at once."""
    gauges = not any(series.counts and series.bad != series.calm for series in case.series)
    if gauges and case.after >= 30:
        short: list[Phase] = [("calm", case.before)]
        for _ in range(3):
            # The last minute's value bridges a minute of silence: what comes and goes is longer than that.
            short += [("bad", case.after - 2 * case.step), ("calm", 120)]
        world = World(case, "is silent while it comes and goes", short)
        world.never()
        yield world
    if case.flaps:
        start = case.before + case.after + case.within
        phases = [("calm", case.before), ("bad", case.after + case.within + 60)]
        phases += [("calm", 15), ("bad", 45)] * 2
        world = World(case, "stays while it comes and goes", phases)
        for at in range(start, world.length, case.step):
            world.fires(at)
        yield world


def rebalance(case: Case) -> Iterator[World]:
    """Its series end in one process and go on in another, half a minute later; the waiting goes on."""
    if not case.moves:
        return
    half = case.after // 2 // case.step * case.step
    rest = case.after + case.within + 60 - half
    # What is counted is the proxy's, which does not move; but for it there would be nothing to see of two processes.
    world = World(case, "waits on through a rebalance", [("calm", case.before), ("bad", half + rest)])
    lines = world.document["input_series"] = []
    for series in case.series:
        if series.labels.get("job") != "exporter" or series.counts:
            lines.append(played(series, samples(series, world.phases, case.step)))
            continue
        ends: list[Phase] = [("calm", case.before), ("bad", half), ("gone", rest)]
        begins: list[Phase] = [("gone", case.before + half + 30), ("bad", rest - 30)]
        lines.append(played(series, samples(series, ends, case.step), "a"))
        lines.append(played(series, samples(series, begins, case.step).replace("stale", "_"), "b"))
    if case.after:
        world.silent(case.before + case.after - case.step)
    world.fires(case.before + case.after + case.within)
    yield world


VARIANTS: dict[str, Callable[[Case], Iterator[World]]] = {
    "firing": lambda case: iter((firing(case),)),
    "calm, little traffic, missing series": lambda case: iter((silent(case),)),
    "flapping": flapping,
    "rebalance": rebalance,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_when_it_should_and_never_else(case: Case, tmp_path: Path) -> None:
    """Firing, calm, with little traffic, with each series missing, flapping, through a rebalance."""
    worlds = [world for variant in VARIANTS.values() for world in variant(case)]
    play(tmp_path, worlds, case)


def play(folder: Path, worlds: Sequence[World], case: Case) -> None:
    """Let promtool judge, by the rules that the alert stands among and those that all build on."""
    needed = {file for file in RULES if file.stem == "drift" or f"alert: {case.alert}\n" in file.read_text()}
    document = {
        "rule_files": sorted(map(str, needed)),
        "evaluation_interval": f"{case.step}s",
        "tests": [world.document for world in worlds],
    }
    file = folder / "cases.yml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    """The watchdog alone has none: it always fires."""
    named = {
        rule["alert"]
        for file in RULES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert named == {case.alert for case in CASES} | {"Watchdog"}


@pytest.mark.parametrize("case", [case for case in CASES if case.traffic == DRIFT_TRAFFIC], ids=lambda case: case.alert)
def test_no_alert_about_a_window_fires_while_it_warms(case: Case, tmp_path: Path) -> None:
    """However far it has moved."""
    phases = [("calm", case.before), ("bad", case.after + case.within + 300)]
    world = World(case, "is silent while the window warms", phases)
    for line in world.document["input_series"]:
        if line["series"].startswith("drift_window_warming"):
            line["values"] = f"1x{world.length // case.step}"
    world.never()
    play(tmp_path, [world], case)
