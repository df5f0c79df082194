"""The two models on the same requests: pairs, and the truth where it comes."""

from __future__ import annotations

from typing import Any

from grafana.panels.building import GREEN, MODEL, RED, TENANT, YELLOW, Placed, asking, dashed, series_panel, stat_panel


def pairs() -> list[Placed]:
    """Disagreement, its direction, and accuracy."""

    def disagreement(end: str) -> str:
        return f"max(drift_disagreement_ratio{end}{{{TENANT}}})"

    delta = f"max by (quantile) (drift_prediction_delta{{{MODEL}}})"
    pvalues = (
        (f"max(drift_accuracy_pvalue{{{MODEL}}})", "accuracies differ (McNemar)"),
        (f"max(drift_pair_sign_pvalue{{{MODEL}}})", "one is higher (sign test)"),
    )
    counts = (
        (f"max(drift_pairs{{{MODEL}}})", "pairs"),
        (f"max(drift_labelled_instances{{{MODEL}}})", "labelled"),
    )
    return [
        (
            asking(
                _disagreement(),
                (disagreement(""), "disagreement"),
                (disagreement("_lower"), "lower end"),
                (disagreement("_upper"), "upper end"),
            ),
            8,
            8,
        ),
        (asking(_delta(), (delta, "quantile {{quantile}}")), 8, 8),
        (
            asking(
                _accuracy(),
                (f"max by (role) (drift_accuracy_ratio{{{MODEL}}})", "{{role}} accuracy"),
                (f"max by (role) (drift_absolute_error{{{MODEL}}})", "{{role}} absolute error"),
                (f"max by (role) (drift_brier_score{{{MODEL}}})", "{{role}} Brier score"),
            ),
            8,
            8,
        ),
        (asking(_complete(), (f"min(drift_pair_completeness_ratio{{{MODEL}}})", "complete"), now=True), 6, 5),
        (asking(_enough(), *counts, now=True), 8, 5),
        (asking(_chance(), *pvalues, now=True), 10, 5),
    ]


def _disagreement() -> Any:
    return (
        series_panel(
            "Disagreement, with its 95 % interval",
            "The share of the same requests that production and shadow answer differently. The lower end above 10 % "
            "for ten minutes raises ShadowDisagreement; a wide interval wants more pairs.",
            "percentunit",
        )
        .min(0)
        .override_by_regexp("end$", dashed())
    )


def _delta() -> Any:
    return series_panel(
        "Shadow less production",
        "Quantiles of the difference between the two predictions for the same request. All on one side: another "
        "calibration. Around 0 and wide: the models differ case by case.",
        "none",
    ).decimals(4)


def _accuracy() -> Any:
    return series_panel(
        "By the labels",
        "Both models against the truth on the same labelled requests. Before a promotion the shadow should be no "
        "worse; production below it: docs/runbooks/accuracy-drop.md.",
        "none",
    ).decimals(4)


def _complete() -> Any:
    return stat_panel(
        "Pairs, complete",
        "The share of sampled requests that have both answers. Below 80 % the comparison speaks of the rest alone: "
        "docs/runbooks/pairs-incomplete.md.",
        "percentunit",
        decimals=1,
        steps=((None, RED), (0.8, YELLOW), (0.95, GREEN)),
    )


def _enough() -> Any:
    return stat_panel(
        "Pairs and labels",
        "How much there is to judge by: pairs in the rings, and how many instances have a label. A "
        "promotion is refused while there are too few.",
        "short",
        decimals=0,
    )


def _chance() -> Any:
    return stat_panel(
        "Is it chance?",
        "p-values: that both models are equally accurate, and that neither predicts higher. Below 0.001 AccuracyDrop "
        "takes the difference for real.",
        "none",
        decimals=4,
    )
