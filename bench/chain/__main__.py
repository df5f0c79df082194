"""The command: `python -m bench.chain`."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import pages
from bench.chain.report import tables, told
from bench.chain.results import Kind, Results, Run, load, merged, musts, save
from bench.chain.runs import DRIFTS, about, measure
from bench.machine import machine
from bench.processes import CHECKOUT
from lifecycle.refusal import Refusal
from tests.support import alertmanager, kafka, prometheus

RESULT: Final = CHECKOUT / "bench" / "results" / "chain.json"
PAGE: Final = CHECKOUT / "docs" / "rollback.md"
MARK: Final = pages.begin("bench-chain", "chain.json")
RATES: Final = (1.0, 10.0, 100.0, 1000.0)
BESIDE: Final = 100.0
"""The rate at which the other kinds of drift are measured."""


def planned(rates: Sequence[float], kinds: Sequence[Kind]) -> list[tuple[Kind, float]]:
    """Severe drift at each rate, the others at one."""
    return [(kind, rate) for kind in kinds for rate in (rates if kind == "severe" else [BESIDE])]


def keep(run: Run, output: Path) -> None:
    """Beside what former runs have found, and in the documentation unless it goes elsewhere."""
    former = load(output) if output.exists() else None
    found = merged(former, Results(machine(), versions(), [run]))
    save(found, output)
    if output == RESULT:
        PAGE.write_text(pages.into(PAGE.read_text(), MARK, tables(found)))


def say(line: str) -> None:
    """One line of progress, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def versions() -> dict[str, str]:
    """Of the real parts."""
    programs = {"prometheus": "prometheus", "alertmanager": alertmanager.binary() or ""}
    told = {
        name: subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        for name, program in programs.items()
    }
    found = {name: re.search(r"version (\d[\d.]*)", each.stdout + each.stderr) for name, each in told.items()}
    return {**{name: each[1] if each else "unknown" for name, each in found.items()}, "kafka": kafka.VERSION}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit code 1 where something that must hold does not."""
    made = argparse.ArgumentParser(
        prog="python -m bench.chain",
        description="From the first drifted request to the stable model and to Slack, stage by stage.",
        epilog="What is not measured again stays in the results as it was.",
    )
    made.add_argument("--rates", type=float, nargs="+", default=RATES, help="of severe drift, requests a second")
    made.add_argument("--kinds", nargs="+", choices=tuple(DRIFTS), default=tuple(DRIFTS), help="of drift (all)")
    made.add_argument("--output", type=Path, default=RESULT)
    options = made.parse_args(arguments)
    plan = planned(options.rates, options.kinds)
    say(f"{len(plan)} runs, about {sum(about(DRIFTS[kind], rate) for kind, rate in plan) / 60:.0f} minutes")
    fails = 0
    try:
        for missing in (kafka.missing(), prometheus.missing(), alertmanager.missing()):
            if missing is not None:
                raise Refusal(missing)
        for kind, rate in plan:
            fails += _measured(kind, rate, options.output)
    except Refusal as refusal:
        say(f"bench.chain: {refusal}")
        return 1
    say(f"written to {options.output}")
    return int(fails > 0)


def _measured(kind: Kind, rate: float, output: Path) -> int:
    """One run, kept and told; how many things that must hold do not."""
    say(f"{kind} drift at {rate:g} requests/s, about {about(DRIFTS[kind], rate) / 60:.1f} minutes")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = measure(DRIFTS[kind], rate, Path(folder))
    keep(run, output)
    for line in told(run):
        say(line)
    say(f"  took {(time.monotonic() - began) / 60:.1f} minutes")
    return sum(not must.holds for must in musts(run))


if __name__ == "__main__":
    sys.exit(main())
