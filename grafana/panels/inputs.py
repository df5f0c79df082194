"""The inputs' quality, what texts hold, and the tenants: whether a shift is a broken input, and whose."""

from __future__ import annotations

from typing import Any

from grafana.panels.building import GREEN, MODEL, RED, TENANT, YELLOW, Placed, asking, series_panel, stat_panel

_WINDOW = f'{TENANT}, role="production"'


def inputs() -> list[Placed]:
    """Production's window."""

    def worst(family: str) -> str:
        return f"topk(5, max by (feature) ({family}{{{_WINDOW}}}))"

    named = f'{MODEL}, tenant!~"_all|_other", against="reference"'
    red = f'max by (tenant) (drift_features_drifted{{{named}, level="large"}})'
    texts = f"sum by (feature, pattern) (rate(drift_text_pattern_total{{{MODEL}}}[$__rate_interval]))"
    broken = f"sum by (field, rule) (rate(inference_schema_violations_total{{{MODEL}}}[$__rate_interval]))"
    return [
        (
            asking(
                _absent(),
                (worst("drift_feature_missing_ratio"), "{{feature}} missing"),
                (worst("drift_feature_invalid_ratio"), "{{feature}} invalid"),
            ),
            8,
            8,
        ),
        (
            asking(
                _foreign(),
                (worst("drift_feature_out_of_range_ratio"), "{{feature}} out of range"),
                (worst("drift_feature_unseen_ratio"), "{{feature}} unseen"),
            ),
            8,
            8,
        ),
        (asking(_broken(), (broken, "{{field}}: {{rule}}")), 8, 8),
        (asking(_tenants(), (f"max(drift_tenants_drifted{{{MODEL}}})", "tenants"), now=True), 4, 8),
        (asking(_by_tenant(), (f"topk(10, {red})", "{{tenant}}")), 10, 8),
        (asking(_texts(), (texts, "{{feature}}: {{pattern}}")), 10, 8),
    ]


def _absent() -> Any:
    return _share(
        "Missing and invalid, the five worst",
        "Such values are in no bin, so PSI does not see them. A jump is a broken input: "
        "docs/runbooks/missing-features.md.",
    )


def _foreign() -> Any:
    return _share(
        "Out of range and unseen, the five worst",
        "Values that the training data does not hold: the model guesses there. A unit, a code, or a new market: "
        "docs/runbooks/out-of-distribution.md.",
    )


def _share(title: str, description: str) -> Any:
    return series_panel(title, description, "percentunit").min(0).axis_soft_max(0.1)


def _broken() -> Any:
    return series_panel(
        "Broken rules of the schema",
        "Requests a second that break a rule of the reference's schema, by field; they are served all the same. Empty "
        "where validation is off. docs/runbooks/schema-violation.md.",
        "reqps",
    ).min(0)


def _tenants() -> Any:
    return stat_panel(
        "Tenants that drifted",
        "Named tenants with a column at large against the reference. Three raise TenantsDrifted; one alone is that "
        "client. docs/runbooks/tenants-drifted.md.",
        "short",
        decimals=0,
        steps=((None, GREEN), (1.0, YELLOW), (3.0, RED)),
    )


def _by_tenant() -> Any:
    return (
        series_panel(
            "Columns at large, by tenant",
            "The ten tenants with most of them. Choose one above to see which columns they are.",
            "short",
        )
        .min(0)
        .decimals(0)
    )


def _texts() -> Any:
    return series_panel(
        "What texts hold",
        "Matches a second of the patterns that the configuration names, counted before the text is hashed: addresses, "
        "numbers, words. A line that begins is something new in the traffic.",
        "cps",
    ).min(0)
