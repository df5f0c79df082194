"""Drift of the features: how far, how far is far, what level, and the early warning."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import heatmap
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import heatmap as heatmap_kinds

from grafana.panels.building import (
    GREEN,
    MODEL,
    RED,
    REFERENCE,
    SOURCE,
    TENANT,
    YELLOW,
    Placed,
    asking,
    dashed,
    series_panel,
    stat_panel,
    threshold,
)

_PSI = f"max by (feature) (drift_psi{{{REFERENCE}}})"


def drift() -> list[Placed]:
    """Against the reference."""
    critical = f"max by (feature) (drift_psi_critical{{{REFERENCE}}})"
    levels = f"max by (level) (drift_features_drifted{{{REFERENCE}}})"
    early = f"topk(5, max by (feature) (drift_early_warning_ratio{{{MODEL}}}))"
    bins = f"max by (feature, bin, role) (drift_bin_ratio{{{TENANT}}})"
    return [
        (
            asking(
                _psi(),
                (_PSI, "{{feature}}"),
                (threshold("large"), "large"),
                (threshold("moderate"), "moderate"),
                (threshold("severe"), "severe"),
            ),
            12,
            10,
        ),
        (asking(_beyond(), (f"{_PSI} / {critical}", "{{feature}}")), 12, 10),
        (asking(_levels(), (levels, "{{level}}"), now=True), 6, 8),
        (asking(_early(), (early, "{{feature}}")), 9, 8),
        (asking(_bins(), (bins, "{{feature}} {{bin}}, {{role}}"), now=True), 9, 8),
        (asking(_js(), (f"max by (feature) (drift_js_divergence{{{REFERENCE}}})", "{{feature}}")), 24, 8),
    ]


def _psi() -> Any:
    return (
        series_panel(
            "PSI against the reference, by feature",
            "Population stability index of production's window. A line above the dashed red one (large) for five "
            "minutes raises FeatureDrift, above the dotted one (severe) for a minute SevereFeatureDrift, if it is no "
            "chance: see beside. One feature alone is often a broken input; many at once are other traffic.",
            "none",
        )
        .min(0)
        .axis_soft_max(0.4)
        .decimals(3)
        .override_by_name("severe", dashed(RED, (2, 6)))
        .override_by_name("large", dashed(RED))
        .override_by_name("moderate", dashed(YELLOW))
    )


def _beyond() -> Any:
    return (
        series_panel(
            "PSI, in multiples of its critical value",
            "Driftless traffic stays below 1 at these sizes of the windows, but for a chance of drift.alpha. A PSI "
            "that looks large in a small window lies below it: wait. Above 1 and below the thresholds: real, "
            "and small.",
            "none",
        )
        .min(0)
        .decimals(2)
    )


def _levels() -> Any:
    return stat_panel(
        "Columns by level",
        "How many columns are significantly beyond each threshold, the prediction among them; each level includes "
        "those above it. The alerts count by this: docs/runbooks/feature-drift.md.",
        "short",
        decimals=0,
        steps=((None, GREEN), (1.0, RED)),
    ).text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)


def _early() -> Any:
    return (
        series_panel(
            "Early warning, the five nearest to it",
            "A sequential test of the whole model's stream: from 1 on it warns, some hundred requests after a shift "
            "and long before the window is full of it. It informs and raises no alert; look at PSI as the "
            "window fills.",
            "none",
        )
        .min(0)
        .axis_soft_max(1)
        .decimals(2)
    )


def _bins() -> Any:
    return stat_panel(
        "Where it moved: the bins",
        "The bins that contribute most, of the columns that moved most: their shares in production, in the shadow and "
        "in the reference. It says in which direction a feature went.",
        "percentunit",
        decimals=1,
    ).text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)


def _js() -> Any:
    return (
        heatmap.Panel()
        .title("Jensen-Shannon divergence, by feature")
        .description(
            "In bits, 0 (same distribution) to 1; dark is calm. Read along a row to see when a feature began to move, "
            "and down a column to see what moved together."
        )
        .datasource(SOURCE)
        .unit("none")
        .decimals(4)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_kinds.HeatmapColorMode.SCHEME)
            .scheme("Turbo")
            .fill("dark-orange")
            .exponent(0.5)
            .steps(64)
            .min(0)
            .max(0.1)
        )
        .cell_gap(1)
        .y_axis(heatmap.YAxisConfig().axis_placement(kinds.AxisPlacement.LEFT))
        .show_legend()
    )
