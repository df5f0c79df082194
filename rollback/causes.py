"""What an alert claims, and whether the evidence that was asked back carries it.

An alert is a hint. What moves traffic is what the exporter and Prometheus say now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from configuration import Model, Rollback
from evidence.document import Evidence, FeatureDrift, Level
from rollback.facts import Facts, Finding, unusable
from rollback.standing import Standing
from rollback.webhook import Alert
from rollback.witnesses import WITNESSES, Witnesses, is_prediction

Cause = Literal["feature_drift", "prediction_drift", "disagreement", "accuracy", "latency", "errors", "alert"]

CAUSES: Final[dict[str, Cause]] = {
    "FeatureDrift": "feature_drift",
    "SevereFeatureDrift": "feature_drift",
    "TenantsDrifted": "feature_drift",
    "PredictionDrift": "prediction_drift",
    "ShadowDisagreement": "disagreement",
    "AccuracyDrop": "accuracy",
    "LatencySpike": "latency",
    "LatencyRegression": "latency",
    "ErrorRate": "errors",
}
"""By the rule's name. Any other that asks for a rollback, such as a business metric's, has to fire in Prometheus."""


@dataclass(frozen=True)
class Verdict:
    """Whether the evidence carries the claim."""

    word: Literal["go", "refused", "inconclusive"]
    reason: str
    text: str
    findings: tuple[Finding, ...] = ()


def cause_of(alert: Alert) -> Cause:
    """What it claims."""
    return CAUSES.get(alert.name, "alert")


def confirm(alert: Alert, model: Model, standing: Standing, facts: Facts, settings: Rollback, now: float) -> Verdict:
    """Whether the claim holds now."""
    cause = cause_of(alert)
    witnesses = Witnesses(model, standing, facts, settings, now)
    if cause == "feature_drift":
        return _feature_drift(alert, model, facts, settings, witnesses, now)
    if cause == "alert":
        return _fires(alert, facts)
    finding, missing = WITNESSES[cause](witnesses)
    if finding.red is None:
        return Verdict("inconclusive", missing or "value_missing", finding.text, (finding,))
    if not finding.red:
        return Verdict("refused", "not_confirmed", f"the evidence does not carry it: {finding.text}", (finding,))
    return Verdict("go", cause, finding.text, (finding,))


def _fires(alert: Alert, facts: Facts) -> Verdict:
    if facts.firing is None:
        return Verdict("inconclusive", "prometheus_away", facts.traffic_why)
    if alert.name not in facts.firing:
        return Verdict("refused", "not_confirmed", f"{alert.name} does not fire in Prometheus")
    return Verdict("go", "alert", f"{alert.name} fires in Prometheus")


def _feature_drift(
    alert: Alert, model: Model, facts: Facts, settings: Rollback, witnesses: Witnesses, now: float
) -> Verdict:
    unknown = unusable(facts, settings.evidence, now)
    if unknown is not None:
        return Verdict("inconclusive", *unknown)
    assert facts.evidence is not None
    level: Level = "severe" if alert.name == "SevereFeatureDrift" else "large"
    columns = _columns(alert, facts.evidence, level)
    if columns is None:
        return Verdict("inconclusive", "value_missing", "the evidence has no value for what the alert is about")
    if alert.name == "TenantsDrifted":
        drift = _tenants(model, facts.evidence, settings)
        if not drift.red:
            return Verdict("refused", "not_confirmed", drift.text, (drift,))
    elif not columns:
        return Verdict("refused", "not_confirmed", f"no feature is at {level} in the evidence")
    else:
        drift = _drifted(columns)
    severe = [column for column in columns if column.level == "severe"]
    if settings.on_feature_drift == "alone" and severe:
        return Verdict("go", "feature_drift", drift.text, (drift,))
    return _corroborated(model, facts.evidence, settings, witnesses, drift)


def _columns(alert: Alert, evidence: Evidence, level: Level) -> list[FeatureDrift] | None:
    """The features at a level, the prediction left out; None where the evidence lacks what the alert names."""
    comparison = evidence.comparison("reference")
    if comparison is None or not comparison.features:
        return None
    named = alert.labels.get("feature")
    if named is not None and named not in {column.feature for column in comparison.features}:
        return None
    return [column for column in comparison.at(level) if not is_prediction(column.feature)]


def _drifted(columns: list[FeatureDrift]) -> Finding:
    worst = sorted(columns, key=lambda column: -column.psi)[:5]
    text = ", ".join(f"{column.feature} (PSI {column.psi:.3f}, critical {column.critical:.3f})" for column in worst)
    more = f" and {len(columns) - len(worst)} more" if len(columns) > len(worst) else ""
    return Finding("feature_drift", True, f"drifted: {text}{more}", {"features": len(columns)})


def _tenants(model: Model, evidence: Evidence, settings: Rollback) -> Finding:
    """Whether enough named tenants have drifted: three, or all of fewer."""
    allowed = () if model.tenant is None else model.tenant.allow
    needed = min(settings.limits.tenants, len(allowed))
    drifted = [tenant for tenant in evidence.tenants_drifted if tenant in allowed]
    red = bool(allowed) and len(drifted) >= needed
    text = f"{len(drifted)} of {len(allowed)} tenants have drifted; {needed} are needed"
    return Finding("tenants", red, text, {"drifted": drifted[:20], "needed": needed})


def _corroborated(
    model: Model, evidence: Evidence, settings: Rollback, witnesses: Witnesses, drift: Finding
) -> Verdict:
    """Feature drift is a fact about traffic; a second witness has to say that the model suffers."""
    if model.tenant is not None and model.tenant.allow:
        tenants = _tenants(model, evidence, settings)
        if not tenants.red:
            return Verdict("refused", "too_few_tenants", f"{drift.text}; but {tenants.text}", (drift, tenants))
        drift_and_tenants: tuple[Finding, ...] = (drift, tenants)
    else:
        drift_and_tenants = (drift,)
    told = [ask(witnesses) for ask in _ASKED]
    findings = (*drift_and_tenants, *(finding for finding, _ in told))
    red = [finding for finding, _ in told if finding.red]
    if red:
        return Verdict("go", "feature_drift", f"{drift.text}; and {red[0].text}", findings)
    if any(missing == "prometheus_away" for _, missing in told):
        text = f"{drift.text}; no second witness, and Prometheus cannot be asked for the others"
        return Verdict("inconclusive", "prometheus_away", f"{text}: {witnesses.facts.traffic_why}", findings)
    text = "; ".join(finding.text for finding, _ in told)
    return Verdict("refused", "no_witness", f"{drift.text}; but no second witness: {text}", findings)


_ASKED: Final[tuple[Callable[[Witnesses], tuple[Finding, str]], ...]] = tuple(WITNESSES.values())
