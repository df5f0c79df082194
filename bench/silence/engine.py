"""Prometheus' own rule engine over kept series: the shipped rule files, as they are, by `promtool test rules`.

promtool compares answers with what a test expects and prints both where they differ. Expecting what can never be makes
it print every answer.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.silence.series import Kept
from lifecycle.refusal import Refusal
from tests.support.prometheus import RULES

Sample = tuple[dict[str, str], float]

_NEVER: Final = [{"labels": '{nobody="answers this"}', "value": -1}]
_ANSWER: Final = re.compile(r'expr: ("(?:[^"\\]|\\.)*"), time: [^\n]*\n\s+exp: [^\n]*\n\s+got: ([^\n]*)')
_SAMPLE: Final = re.compile(r'\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\} (\S+?)(?:, |$)')
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Question(NamedTuple):
    """An expression, and when it is asked: seconds since the first scrape."""

    expression: str
    at: int


def answers(kept: Kept, questions: Sequence[Question], folder: Path) -> list[list[Sample]]:
    """What the engine says to each. Raises `Refusal` where it says anything else."""
    document = {
        "rule_files": [str(file) for file in RULES],
        "evaluation_interval": f"{kept.interval}s",
        "tests": [
            {
                "interval": f"{kept.interval}s",
                "input_series": list(kept.told()),
                "promql_expr_test": [
                    {"expr": each.expression, "eval_time": f"{each.at}s", "exp_samples": _NEVER} for each in questions
                ],
            }
        ],
    }
    file = folder / "kept.yml"
    file.write_text(json.dumps(document))  # JSON is YAML too
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    found = _ANSWER.findall(done.stdout + done.stderr)
    if [json.loads(expression) for expression, _ in found] != [each.expression for each in questions]:
        raise Refusal(f"promtool did not answer all: {(done.stdout + done.stderr)[-500:]}")
    return [_samples(text) for _, text in found]


def _samples(text: str) -> list[Sample]:
    if text == "nil":
        return []
    return [(dict(_LABEL.findall(labels)), float(value)) for labels, value in _SAMPLE.findall(text)]


class Reached(NamedTuple):
    """How far one alert came."""

    alert: str
    severity: str
    pending: int
    """Evaluations at which it was pending."""
    firing: int
    longest_seconds: int
    """For how long its expression held without a break, at most."""


def reached(kept: Kept, folder: Path) -> list[Reached]:
    """Every alert that was ever pending or firing over all scrapes, the watchdog left out.

    Raises `Refusal` where the watchdog did not fire at every evaluation: then the rules were not evaluated.
    """
    last = (kept.scrapes - 1) * kept.interval
    span = f"{last + kept.interval}s"
    counted, held = answers(
        kept,
        [
            Question(f"sum by (alertname, severity, alertstate) (count_over_time(ALERTS[{span}]))", last),
            Question(
                "max by (alertname, severity) (max_over_time((timestamp(ALERTS_FOR_STATE) - ALERTS_FOR_STATE)"
                f"[{span}:{kept.interval}s]))",
                last,
            ),
        ],
        folder,
    )
    counts = {(labels["alertname"], labels["severity"], labels["alertstate"]): int(n) for labels, n in counted}
    longest = {(labels["alertname"], labels["severity"]): int(seconds) for labels, seconds in held}
    watched = counts.get(("Watchdog", "none", "firing"), 0)
    if watched != kept.scrapes:
        raise Refusal(f"the watchdog fired at {watched} of {kept.scrapes} evaluations")
    named = sorted({key[:2] for key in counts if key[0] != "Watchdog"})
    return [
        Reached(*key, counts.get((*key, "pending"), 0), counts.get((*key, "firing"), 0), longest.get(key, 0))
        for key in named
    ]
