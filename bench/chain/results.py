"""What a run found, what it must be, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from bench.machine import Machine

Kind = Literal["severe", "unwitnessed", "ordinary"]

STAGES: Final = ("window", "pipeline", "scrape", "evaluation", "for", "group", "webhook", "switch")
"""Each ends where the next begins; together they are `in_all`.

`window`: from the first drifted request to the last that it took; `pipeline`: until the evidence tells; `scrape`:
until Prometheus has it; `evaluation`: until the alert is pending; `for`: until it fires; `group`: until Alertmanager
sends it; `webhook`: until the rollback has asked back and decided; `switch`: until the former version is asked for the
last time.
"""


SWITCH_SECONDS: Final = 1.0
"""By the active file."""


KEPT: Final = 0.02
"""How far what was sent may be off the rate; beyond it the machine was too busy to measure."""


class Traffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the clients did; `reached` in requests a second, from before the drift to the end."""

    reached: float
    sent: int
    failed: int
    skipped: int


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Slack was told, and how long after the first drifted request."""

    seconds: float
    title: str
    moved_most: str
    """The first of the columns that it names, with its numbers."""


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the rollback made of it, and how long after the first drifted request."""

    seconds: float
    decision: str
    reason: str
    text: str


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One drift at one rate; times in seconds."""

    kind: Kind
    rate: float
    window: int
    deviations: float
    """By how many of its standard deviations the feature moved."""
    requests: int
    """Sent from the first drifted one on until the evidence told."""
    seconds: dict[str, float]
    in_all: float | None
    """Until the stable version alone answers; None where nothing was to move."""
    slack: Message | None
    decision: Decision | None
    stable_asked: int
    """Requests that the stable version answered; clones are none."""
    traffic: Traffic
    others: float
    """The share of the machine that was used before anything was started."""


class Results(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `chain.json` holds."""

    machine: Machine
    versions: dict[str, str]
    runs: list[Run]


class Must(NamedTuple):
    """One thing that has to hold of a run."""

    what: str
    found: str
    holds: bool


def musts(run: Run) -> Iterator[Must]:
    """All that has to hold of it."""
    yield Must("no request failed", f"{run.traffic.failed} of {run.traffic.sent}", run.traffic.failed == 0)
    kept = abs(run.traffic.reached / run.rate - 1) <= KEPT
    yield Must("the rate is kept", f"{run.traffic.reached:g} of {run.rate:g} requests/s", kept)
    limit = longest(run.rate)
    if run.kind == "severe" and limit is not None and run.in_all is not None:
        yield Must(f"the stable model answers within {limit:g} s", f"{run.in_all:.1f} s", run.in_all <= limit)
    if run.kind == "severe":
        switch = run.seconds["switch"]
        yield Must(f"the switch takes at most {SWITCH_SECONDS:g} s", f"{switch:.2f} s", switch <= SWITCH_SECONDS)
    told = told_within(run)
    if told is not None:
        found = "never" if run.slack is None else f"{run.slack.seconds:.1f} s"
        yield Must(f"Slack is told within {told:g} s", found, run.slack is not None and run.slack.seconds <= told)
    if run.kind == "unwitnessed":
        found = "undecided" if run.decision is None else f"{run.decision.decision}, {run.decision.reason}"
        yield Must("refused for want of a witness", found, found == "refused, no_witness")
    if run.kind != "severe":
        yield Must("nothing moves", f"{run.stable_asked} requests to the stable version", run.stable_asked == 0)


def longest(rate: float) -> float | None:
    """How long severe drift may last before the stable model answers; None where the window alone takes minutes."""
    return 90.0 if rate >= 100 else 130.0 if rate >= 10 else None


def told_within(run: Run) -> float | None:
    """How long until Slack is told: of severe drift as soon as of the switch, of ordinary drift a window and 5:15."""
    return run.window / run.rate + 315.0 if run.kind == "ordinary" else longest(run.rate)


def load(path: Path) -> Results:
    """Read what `save` has written. Raises msgspec.ValidationError for anything else."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def save(found: Results, path: Path) -> None:
    """Write it."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def merged(former: Results | None, found: Results) -> Results:
    """A run takes the place of a former one of its kind and rate, or stands beside it."""
    runs = {(run.kind, run.rate): run for part in (former, found) if part is not None for run in part.runs}
    order = ("severe", "unwitnessed", "ordinary")
    kept = sorted(runs.values(), key=lambda run: (order.index(run.kind), run.rate))
    return msgspec.structs.replace(found, runs=kept)
