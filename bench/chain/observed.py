"""When what happened, from the records of those who did it; seconds since 1970."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from evidence.document import Evidence, Level, decode

_LOGGED: Final = re.compile(r'^ts=(\S+) .*aggrGroup="\{\}/\{(.*?)\}:.* msg=flushing alerts=\[(.*)\]$')


class Seen(NamedTuple):
    """The evidence of a drifted column."""

    at: float
    """When the evidence was made."""
    newest: float
    """When the newest request in it came."""


def seen(evidence: Evidence, feature: str, level: Level) -> Seen | None:
    """What the evidence tells of a column at a level, None where it is not there."""
    comparison = evidence.comparison("reference")
    if comparison is None or all(one.feature != feature for one in comparison.at(level)):
        return None
    newest = evidence.freshness.production
    return Seen(evidence.generated_at, evidence.generated_at if newest is None else newest)


def evidence_of(exporter: str, model: str) -> Evidence | None:
    """The exporter's evidence now; None where it has none yet."""
    try:
        with urllib.request.urlopen(f"http://{exporter}/evidence/{model}", timeout=10) as answer:
            return decode(answer.read())
    except urllib.error.URLError:
        return None


def first_above_zero(matrix: Iterable[Mapping[str, Any]], since: float) -> float | None:
    """The time of the first sample above 0 of Prometheus' answer to a range selector."""
    times = [
        float(at) for series in matrix for at, value in series["values"] if float(at) >= since and float(value) > 0
    ]
    return min(times, default=None)


def first_sent(log: str, alert: str, route: str, since: float) -> float | None:
    """When Alertmanager's log tells that it first sent this alert along a route, like `action="rollback"`."""
    for line in log.splitlines():
        found = _LOGGED.match(line)
        if found is None or found[2].replace("\\", "") != route:
            continue
        at = datetime.fromisoformat(found[1]).timestamp()
        if at >= since and re.search(rf"(?:^|\s){alert}\[\w+\]\[active\]", found[3]):
            return at
    return None


def decided(audit: str, alert: str) -> dict[str, Any] | None:
    """The rollback's first decision about this alert, by its audit log, and `at`: where it moved traffic, the begin."""
    lines = [json.loads(line) for line in audit.splitlines()]
    found = next((line for line in lines if line["what"] == "alert" and line["alert"] == alert), None)
    if found is None:
        return None
    began = next((line for line in lines if line["what"] == "begins"), found)
    return {**found, "at": datetime.fromisoformat(min(began["time"], found["time"])).timestamp()}


def message_about(messages: Sequence[Mapping[str, Any]], alert: str) -> tuple[str, str] | None:
    """The title of Slack's first message about an alert that fires, and the first column that it names."""
    for message in messages:
        title, text = message["texts"][:2]
        if title.removeprefix("CRITICAL: ").startswith(f"{alert} "):
            return title, next((line.strip() for line in text.splitlines() if ": PSI " in line), "")
    return None
