"""How soon drift is seen, and how often without drift: `python -m bench.detection`, some ten minutes of one core."""

from __future__ import annotations

import argparse
import os
import sys

import msgspec

from bench.detection import evidently
from bench.detection.measuring import Effort, delays, driftless_streams, full_windows, long_driftless
from bench.detection.report import Results, save, tables
from bench.processes import CHECKOUT
from tests.support.real_parts import LeftOutError, say


def measured(effort: Effort) -> Results:
    """Everything, one simulation after the other."""
    difference = evidently.difference()
    say(f"Evidently {evidently.version()}: differs from its formulas by {difference:.2%} of its threshold at most")
    alarms, thresholds = driftless_streams(effort, say)
    return Results(
        evidently=evidently.version(),
        evidently_difference=difference,
        effort=effort,
        false_alarms=alarms,
        delays=list(delays(effort, thresholds, say)),
        full_windows=list(full_windows(effort.full)),
        driftless=list(long_driftless(effort, 50, 20, say)),
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, and keep it in bench/results and docs, unless it was a quick look."""
    parser = argparse.ArgumentParser(prog="python -m bench.detection", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, printed and not kept")
    options = parser.parse_args(arguments)
    os.nice(10)
    effort = Effort()
    if options.quick:
        effort = Effort(requests=20_000, streams=4, seeds=40, million=100_000, full=100)
    try:
        found = measured(effort)
    except LeftOutError as reason:
        say(f"Evidently is missing, and nothing can be compared without it: {reason}")
        return 1
    if not options.quick:
        docs = CHECKOUT / "docs"
        save(
            _rounded(found), CHECKOUT / "bench" / "results", docs / "pictures" / "detection.svg", docs / "statistics.md"
        )
    sys.stdout.write(tables(found))
    return 0


def _rounded(found: Results) -> Results:
    """Six digits of each figure are more than it has."""

    def six(value: object) -> object:
        if isinstance(value, float):
            return float(f"{value:.6g}")
        if isinstance(value, list):
            return [six(each) for each in value]
        return {key: six(each) for key, each in value.items()} if isinstance(value, dict) else value

    return msgspec.convert(six(msgspec.to_builtins(found)), Results)


if __name__ == "__main__":
    sys.exit(main())
