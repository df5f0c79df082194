"""One session at the terminal: the options, the run, and how it is told."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO, get_args

from configuration.option import Parser
from demo.drift import KINDS, check
from demo.observed import Observed
from demo.retraining import plan as retraining
from demo.retraining import story as closed_loop
from demo.slang import KINDS as SLANG_KINDS
from demo.story import Options, Scenario, tell
from demo.view import View, view
from lifecycle.process import run
from lifecycle.refusal import Refusal
from lifecycle.tether import Tether

LEAST_SECONDS = 10.0
SECONDS = 120.0
LEAST_RETRAIN_SECONDS = 20.0
MOST_SECONDS = 86_400.0


def main(arguments: list[str]) -> int:
    """Exit code 0 when everything was as worked out beforehand, 1 when not."""
    parsed = _parser().parse_args(arguments)
    if parsed.retrain:
        return _retrain(parsed)
    kind = _kind(parsed)
    if parsed.seconds is None:
        parsed.seconds = SECONDS
    if not parsed.seconds >= LEAST_SECONDS:
        raise Refusal(f"--seconds must be at least {LEAST_SECONDS:g}, to fill a window before the drift")
    options = Options(kind, parsed.seconds, parsed.seed, parsed.feature, parsed.size, parsed.scenario)
    surprises: list[str] = []

    async def serve(_: Tether, stop: asyncio.Event) -> None:
        surprises.extend(await _run(options, parsed.json, stop))

    return run(serve) or int(bool(surprises))


def _retrain(parsed: argparse.Namespace) -> int:
    """The closed loop. Raises `Refusal` for what does not go with it."""
    asked = {"--drift": parsed.drift, "--feature": parsed.feature, "--size": parsed.size}
    asked["--scenario"] = None if parsed.scenario == "flights" else parsed.scenario
    beside = next((f"{name} {value}" for name, value in asked.items() if value is not None), None)
    if beside is not None:
        raise Refusal(f"--retrain is about flights, and July's: it takes --seconds, --seed and --json, not {beside}")
    seconds = retraining.SECONDS if parsed.seconds is None else parsed.seconds
    if not LEAST_RETRAIN_SECONDS <= seconds <= MOST_SECONDS:
        raise Refusal(f"--seconds must be from {LEAST_RETRAIN_SECONDS:g} to {MOST_SECONDS:g} with --retrain")
    plan, surprises = retraining.Plan(parsed.seed, seconds), list[str]()

    async def serve(_: Tether, stop: asyncio.Event) -> None:
        async with _shown(parsed.json) as (directory, log, shown):
            figures = await closed_loop.tell(plan, directory, log, shown, stop)
            surprises.extend(_end(figures.surprises(), figures.summary(), shown, figures.line(), parsed.json))

    return run(serve) or int(bool(surprises))


def _kind(parsed: argparse.Namespace) -> str:
    """The drift that was asked for, or the scenario's own. Raises `Refusal` where it does not fit."""
    if parsed.scenario == "flights":
        kind = parsed.drift or "season"
        try:
            check(kind, parsed.feature, parsed.size)
        except ValueError as error:
            raise Refusal(str(error)) from None
        return str(kind)
    kind = parsed.drift or "slang"
    if kind not in SLANG_KINDS or parsed.feature is not None or parsed.size is not None:
        raise Refusal(f"--scenario tickets takes --drift {' or '.join(SLANG_KINDS)}, and neither --feature nor --size")
    return str(kind)


async def _run(options: Options, as_json: bool, stop: asyncio.Event) -> list[str]:
    async with _shown(as_json) as (directory, log, shown):
        observed, requests = await tell(options, directory, log, shown, stop)
        return _end(observed.surprises(), _summary(observed), shown, observed.line(requests), as_json)


@contextlib.asynccontextmanager
async def _shown(as_json: bool) -> AsyncIterator[tuple[Path, BinaryIO, View]]:
    """A directory for the while, the file of the parts' logs, and where the story is told. Raises `Refusal`."""
    path = log_path()
    try:
        log = path.open("wb")
    except OSError as error:  # another user's, as a rule
        raise Refusal(f"{path} cannot be written: {(error.strerror or str(error)).lower()}; set TMPDIR") from None
    shown = view(as_lines=as_json)
    try:
        with log, tempfile.TemporaryDirectory(prefix="shadowdrift-demo-") as directory:
            yield Path(directory), log, shown
    finally:
        shown.close()


def _end(surprises: list[str], summary: str, shown: View, line: dict[str, Any], as_json: bool) -> list[str]:
    """The last words: what was not as expected, and the whole in one line."""
    for surprise in surprises:
        shown.say(f"not as expected: {surprise} (the parts' logs: {log_path()})")
    shown.say(summary)
    if as_json:
        sys.stdout.write(json.dumps(line) + "\n")
    return surprises


def log_path() -> Path:
    """The file of the parts' logs."""
    return Path(tempfile.gettempdir()) / "shadowdrift-demo.log"


def _summary(observed: Observed) -> str:
    before = "" if observed.psi_before is None else f"largest PSI {observed.psi_before:.3f} before, "
    slang = f", slang found {observed.patterns_after} times, most moved: {observed.column}"
    slang = slang if observed.kind == "slang" else ""
    missing = f", {observed.missing_after:.0%} missing" if observed.kind == "missing" else ""
    seen = "" if observed.detect_seconds is None else f", seen after {observed.detect_seconds:.1f} s"
    right = "".join(
        f"; {role} right in {was:.1%} before, {observed.accuracy_after[role]:.1%} at the end"
        for role, was in observed.accuracy_before.items()
        if role in observed.accuracy_after
    )
    return f"{before}{observed.psi_after:.3f} at the end{missing}{slang}{seen}{right}; {observed.lost} answers lost"


def _parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="shadowdrift demo",
        description="Two models of flight delays, or of a help desk's tickets; 500 requests a second through the "
        "proxy, and drift at half time.",
        allow_abbrev=False,
    )
    made.add_argument(
        "--scenario",
        choices=get_args(Scenario),
        default="flights",
        help="flights, or a help desk's tickets (%(default)s)",
    )
    made.add_argument(
        "--drift",
        choices=dict.fromkeys([*KINDS, *SLANG_KINDS]),
        help="season is July's flights (season; of tickets slang)",
    )
    made.add_argument("--feature", help="the feature that shift, scale, category or missing changes")
    made.add_argument(
        "--size", type=float, help="in standard deviations (shift), as a factor (scale), as a share (category, missing)"
    )
    made.add_argument(
        "--retrain",
        action="store_true",
        help="the closed loop: drift, a training on recent flights, a promotion that the evidence has to carry",
    )
    made.add_argument(
        "--seconds", type=float, help=f"of traffic; {SECONDS:g}, about {retraining.SECONDS:g} with --retrain"
    )
    made.add_argument("--seed", type=int, default=1, help="of the split, the shuffling and the models; %(default)s")
    made.add_argument("--json", action="store_true", help="end with one JSON line on standard output")
    return made
