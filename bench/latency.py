"""From a model that slows to 530 ms to the stable one, stage by stage, with the shipped rules and timings.

    python -m bench.latency

100 requests/s through nginx and the proxy, whose production takes 200 ms and the stable version 210. Then production
takes 530. Our parts run as `shadowdrift up` runs them before a real Kafka, beside a real Prometheus and Alertmanager
with their shipped intervals, rules and routes. p95 is given as clients saw it and as Prometheus has it out of the
histogram, whose edges nearby are 0.25, 0.5 and 1 s: exact at the alert's 0.5, a guess between.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from bench.pages import begin, into
from tests.support import acts
from tests.support.kafka import Kafka
from tests.support.loop import SHIPPED
from tests.support.looping import looping
from tests.support.slowed import Slowed, a_slow_model_is_left

RESULT: Final = Path(__file__).parent / "results" / "latency.json"
PAGE: Final = Path(__file__).parent.parent / "docs" / "rollback.md"
MARK: Final = begin("bench-latency", RESULT.name)
RATE: Final = 100.0

STAGES: Final = {
    "seen": "until Prometheus has a p95 above 500 ms",
    "firing": "until the alert fires",
    "decided": "until the rollback has decided",
    "switched": "until the slow version was asked last",
    "back": "until p95 is below 500 ms in Prometheus, whose rate is over a minute",
}

_WHO: Final = (("clients", "as clients saw it"), ("prometheus", "in Prometheus"))


async def measure(folder: Path) -> dict[str, Any]:
    """One run."""
    with Kafka(folder / "kafka") as kafka:
        run = folder / "loop"
        run.mkdir()
        async with looping(run, kafka, SHIPPED, rate=RATE, looks_at="country", bias=0.0) as loop:
            loop.run.slow("v2", 0.2)
            loop.run.slow("v1", 0.21)
            await acts.nothing_happens(loop, requests=int(RATE * 60), watchdogs=1)
            seen = await a_slow_model_is_left(loop)
            counts = loop.run.counts()
    return {**figures(seen), "requests": counts["sent"], "failed": counts["failed"]}


def figures(seen: Slowed) -> dict[str, Any]:
    """Seconds of each stage and in all until the stable version alone answers; p95 in milliseconds."""
    moments = {stage: seen.moments[stage] for stage in ("slow", *STAGES)}
    # The last request to the slow version may have come before the log of the decision was read.
    moments["decided"] = min(moments["decided"], moments["switched"])
    return {
        "seconds": {after: round(moments[after] - moments[before], 2) for before, after in pairwise(moments)},
        "in_all": round(moments["switched"] - moments["slow"], 2),
        "p95_ms": {
            "clients": {when: round(1000 * value) for when, value in seen.clients.items()},
            "prometheus": {when: round(1000 * value) for when, value in seen.prometheus.items()},
        },
    }


def section(found: dict[str, Any]) -> str:
    """What the documentation says of it."""
    stages = [f"| {STAGES[stage]} | {seconds:.1f} |" for stage, seconds in found["seconds"].items()]
    p95 = [f"| {who} | " + " | ".join(f"{ms} ms" for ms in found["p95_ms"][key].values()) + " |" for key, who in _WHO]
    failed = f"{found['failed']} of {found['requests']:,} requests failed"
    lines = ["| stage | seconds |", "|---|---:|", *stages, ""]
    lines += [f"In all {found['in_all']:.0f} s from the first slow request to the last; {failed}. Meanwhile"]
    lines += [f"{found['load']:.0f} processes wanted the machine ({found['machine']}).", ""]
    lines += ["| p95 | before | while it was slow | after |", "|---|---:|---:|---:|", *p95, ""]
    return "\n".join(lines)


def main() -> int:
    """The command; exit code 1 when a request failed."""
    made = argparse.ArgumentParser(description="From a model that slows to the stable one, stage by stage.")
    made.add_argument("--output", type=Path, default=RESULT)
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder)))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
    found = {"machine": machine, "rate": RATE, **found, "load": round(os.getloadavg()[2], 1)}
    options.output.write_text(json.dumps(found, indent=1) + "\n")
    if options.output == RESULT:
        PAGE.write_text(into(PAGE.read_text(), MARK, section(found)))
    sys.stdout.write(f"{json.dumps(found)}\nwritten to {options.output}\n")
    return int(found["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
