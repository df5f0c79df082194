"""At a glance: who serves, how far it has moved, whether anything is lost, what the rollback would do."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import gauge
from grafana_foundation_sdk.models import common as kinds

from grafana.panels.building import (
    GREEN,
    MODEL,
    RED,
    REFERENCE,
    TENANT,
    YELLOW,
    Placed,
    Target,
    asking,
    last,
    stat_panel,
    steps_of,
    threshold,
)

_PSI = f"max by (feature) (drift_psi{{{REFERENCE}}})"


def glance() -> list[Placed]:
    """Single values, of this instant."""
    bad = f'sum by (role) (rate(inference_requests_total{{{MODEL}, outcome!="ok"}}[$__rate_interval]))'
    all_of = f"sum by (role) (rate(inference_requests_total{{{MODEL}}}[$__rate_interval]))"
    queries: list[tuple[Any, int, Target]] = [
        (_active(), 4, (f"inference_active_info{{{MODEL}}}", "{{version}} ({{reason}})")),
        (_share(), 5, (f"max({_PSI}) / {threshold('large')}", "of the threshold")),
        (_worst(), 4, (f"topk(1, {_PSI})", "{{feature}}")),
        (_window(), 4, (f"max by (role) (drift_window_instances{{{TENANT}}})", "{{role}}")),
        (_errors(), 4, (f"{bad} / ({all_of} > 0) or 0 * {all_of}", "{{role}}")),
        (_lost(), 3, (f"sum(increase(events_lost_total{{{MODEL}}}[$__range]))", "lost")),
    ]
    return [(asking(panel, query, now=True), width, 5) for panel, width, query in queries]


def _active() -> Any:
    return stat_panel(
        "Active version",
        "The version that answers clients, and why. If it is not the one you expect, look what has switched it.",
        "none",
    ).text_mode(kinds.BigValueTextMode.NAME)


def _share() -> Any:
    return (
        gauge.Panel()
        .title("Largest PSI, of its threshold")
        .description(
            "The feature that moved most, in per cent of the threshold of a large drift (drift.large in the "
            "configuration). At 100 % and red: see which feature it is, and follow docs/runbooks/feature-drift.md."
        )
        .unit("percentunit")
        .decimals(0)
        .min(0)
        .max(2)
        .reduce_options(last())
        .thresholds(steps_of((None, GREEN), (0.5, YELLOW), (1.0, RED)))
        .show_threshold_markers(True)
    )


def _worst() -> Any:
    return stat_panel(
        "Moved most",
        "The feature with the largest PSI against the reference. Start looking at this one.",
        "none",
        decimals=3,
    ).text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)


def _window() -> Any:
    return stat_panel(
        "Window",
        "Instances in the windows. Drift counts from 101 on; below the configured size the window still fills, so "
        "wait before you judge.",
        "short",
        steps=((None, YELLOW), (101.0, GREEN)),
    ).text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)


def _errors() -> Any:
    return stat_panel(
        "Not ok, now",
        "The share of inferences with another outcome than ok. A shadow that fails spoils the comparison; production "
        "that fails is an incident.",
        "percentunit",
        decimals=1,
        steps=((None, GREEN), (0.01, YELLOW), (0.05, RED)),
    ).text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)


def _lost() -> Any:
    return stat_panel(
        "Events lost",
        "Captured answers that Kafka did not get in the time shown. Anything above 0: docs/runbooks/events-lost.md.",
        "short",
        steps=((None, GREEN), (1.0, RED)),
        decimals=0,
    )
