"""The rollback: whether it may act, whether it has, and what it made of what it was asked."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import common as kinds

from grafana.panels.building import GREEN, MODEL, RED, YELLOW, Placed, asking, series_panel, stat_panel


def rollback() -> list[Placed]:
    """Empty where none runs."""
    decisions = f"sum by (decision, reason) (increase(rollback_decisions_total{{{MODEL}}}[$__rate_interval])) > 0"
    counted = f"sum by (decision, reason) (rollback_decisions_total{{{MODEL}}})"
    return [
        (asking(_armed(), (f"max(rollback_armed{{{MODEL}}})", "armed"), now=True), 4, 6),
        (asking(_latched(), (f"max(rollback_latched{{{MODEL}}})", "latched"), now=True), 4, 6),
        (asking(_counted(), (counted, "{{decision}}: {{reason}}"), now=True), 8, 6),
        (asking(_decisions(), (f"{decisions} or 0 * {counted}", "{{decision}}: {{reason}}")), 8, 6),
    ]


def _armed() -> Any:
    return stat_panel(
        "Armed",
        "1: an alert may move the traffic. 0: somebody has switched it off, and it only tells; "
        "`shadowdrift rollback arm`.",
        "none",
        decimals=0,
        steps=((None, YELLOW), (1.0, GREEN)),
    )


def _latched() -> Any:
    return stat_panel(
        "Latched",
        "1: it has acted, and does not again until a person restores and arms it: docs/runbooks/restore.md.",
        "none",
        decimals=0,
        steps=((None, GREEN), (1.0, RED)),
    )


def _counted() -> Any:
    return stat_panel(
        "Decisions since its start",
        "What it made of the alerts that asked: taken, refused (with why), inconclusive, failed. Inconclusive wants a "
        "person: docs/runbooks/rollback-inconclusive.md.",
        "short",
        decimals=0,
    ).text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)


def _decisions() -> Any:
    return (
        series_panel(
            "Decisions, when",
            "The same over the time shown. A decision that comes every minute is an alert that lasts; look at its "
            "reason.",
            "short",
        )
        .min(0)
        .decimals(0)
    )
