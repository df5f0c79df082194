"""How quiet the alerts are, in time that is compressed: `python -m bench.silence`, some forty minutes of two cores.

`calm`: a day of the demo's traffic without drift goes through the exporter's and the proxy's own objects, event by
event; what Prometheus would have scraped every 15 s is judged by its own rule engine with the shipped rules.

`square`: an hour in which drift comes and goes; its alerts go through a real Alertmanager, whose clock is quicker,
to the rollback's own desk.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

from bench.machine import machine
from bench.processes import CHECKOUT
from bench.silence.calm import SCENARIOS, run
from bench.silence.flights import DAY_SECONDS, World
from bench.silence.square import SPEED, WAVES, square
from bench.silence.wave import Wave

RESULT: Final = CHECKOUT / "bench" / "results" / "silence.json"

CALM_INTERVAL: Final = 15
"""Seconds, not the 5 that are shipped: promtool looks at 10,000 samples at once, and one rule at a day of a series."""

_WORLDS: Final[dict[int, World]] = {}
"""The one that runs share, where they do: forked processes have it already."""


def _calm(name: str, seed: int, hours: float, interval: int) -> dict[str, Any]:
    os.nice(1)
    began = time.monotonic()
    found = run(SCENARIOS[name], seed, int(hours * 3600), _WORLDS.get(0), interval)
    return {**found, "took_seconds": round(time.monotonic() - began)}


def calm(hours: float, jobs: int, only: str, seeds: Sequence[int], interval: int) -> Iterator[dict[str, Any]]:
    """Every scenario with each of its seeds, or with other ones in one world, as they end."""
    if seeds:
        _WORLDS[0] = World(seeds[0])
    chosen = range(seeds[0], seeds[1] + 1) if seeds else ()
    work = [(name, seed) for name, scenario in SCENARIOS.items() if only in name for seed in chosen or scenario.seeds]
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        for done in as_completed([pool.submit(_calm, name, seed, hours, interval) for name, seed in work]):
            yield done.result()


def _square(wave: Wave, on_feature_drift: str, speed: float) -> dict[str, Any]:
    os.nice(1)
    return square(_WORLDS[0], wave, on_feature_drift, speed)


def squares(jobs: int, speed: float) -> Iterator[dict[str, Any]]:
    """Every wave, as they end."""
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        for done in as_completed([pool.submit(_square, *each, speed) for each in WAVES]):
            yield done.result()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit code is 1 where anything fired without drift, or traffic moved more than once."""
    parser = argparse.ArgumentParser(prog="python -m bench.silence", description=__doc__)
    parser.add_argument("what", nargs="*", choices=("calm", "square"), default=("calm", "square"))
    parser.add_argument("--hours", type=float, default=DAY_SECONDS / 3600, help="of each run without drift (24)")
    parser.add_argument("--only", default="", help="runs without drift whose name holds this")
    parser.add_argument(
        "--seeds", type=int, nargs=2, default=(), metavar=("FIRST", "LAST"),
        help="of the traffic without drift, all with the first one's models; else each scenario's own",
    )  # fmt: skip
    parser.add_argument("--interval", type=int, default=CALM_INTERVAL, help="seconds between scrapes (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--speed", type=float, default=SPEED, help="of Alertmanager's clock (10)")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    told = machine()
    # What is not measured now stays as it was measured.
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    results["machine"] = f"{told.cpu}, {told.cores} cores, Python {told.python}"
    if "calm" in options.what:
        found = []
        for each in calm(options.hours, options.jobs, options.only, options.seeds, options.interval):
            found.append(each)
            _say(each)
        kept = [each for each in results.get("calm", ()) if not any(_same(each, one) for one in found)]
        results["calm"] = sorted([*kept, *found], key=lambda each: each["seed"])
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    if "square" in options.what:
        results["square"] = []
        _WORLDS[0] = World(1)
        for each in squares(options.jobs, options.speed):
            results["square"].append(each)
            _say(each)
            options.output.write_text(json.dumps(results, indent=1) + "\n")
    fired = any(each["fired"] and each["driftless"] for each in results.get("calm", ()))
    return int(fired or any(each["switches"] > 1 for each in results.get("square", ())))


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one["scenario"], one["seed"]) == (other["scenario"], other["seed"])


def _say(found: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
