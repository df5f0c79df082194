"""What can testify against the version that serves: its predictions, shadow, accuracy, latency, errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from configuration import Model, Rollback
from rollback.facts import Facts, Finding, Traffic, unusable
from rollback.standing import Standing

SIGNIFICANT: Final = 0.05
"""Below this p-value two accuracies differ."""

MIN_LABELLED: Final = 30


@dataclass(frozen=True)
class Witnesses:
    """Whom to ask, about whom."""

    model: Model
    standing: Standing
    facts: Facts
    settings: Rollback
    now: float


Testimony: TypeAlias = tuple[Finding, str]
"""The finding, and the reason's word where it could not be told."""


def is_prediction(feature: str) -> bool:
    """Whether a column is the model's answer, not its input."""
    return feature == "prediction" or feature.startswith("prediction.")


def prediction_drift(asked: Witnesses) -> Testimony:
    """The prediction, large or more against the reference, among the answers of a version that serves."""
    name, evidence = "prediction_drift", asked.facts.evidence
    if (unknown := unusable(asked.facts, asked.settings.evidence, asked.now)) is not None or evidence is None:
        return _unknown(name, *(unknown or ("exporter_away", asked.facts.evidence_why)))
    window, comparison = evidence.window("production"), evidence.comparison("reference")
    if window is not None and window.version is not None and window.version not in asked.standing.entry.asked:
        return _unknown(name, "other_version", f"the predictions measured are those of {window.version}")
    columns = [] if comparison is None else [one for one in comparison.features if is_prediction(one.feature)]
    if not columns:
        return _unknown(name, "value_missing", "the prediction has no drift value")
    worst = max(columns, key=lambda column: column.psi)
    red = any(column.level in ("large", "severe") for column in columns)
    text = f"{worst.feature} has PSI {worst.psi:.3f} against the reference"
    return Finding(name, red, text, {"psi": worst.psi, "level": worst.level}), ""


def disagreement(asked: Witnesses) -> Testimony:
    """The shadow answers the same requests differently, more often than is allowed."""
    name, evidence = "disagreement", asked.facts.evidence
    if (unknown := unusable(asked.facts, asked.settings.evidence, asked.now)) is not None or evidence is None:
        return _unknown(name, *(unknown or ("exporter_away", asked.facts.evidence_why)))
    pairs = evidence.pairs
    whole = None if pairs is None else pairs.whole
    if pairs is None or whole is None:
        return _unknown(name, "value_missing", "there are no pairs")
    if pairs.production_version not in {None, *asked.standing.entry.asked}:
        return _unknown(name, "other_version", f"the pairs are those of {pairs.production_version}")
    if whole.pairs < asked.settings.evidence.pairs:
        return _unknown(name, "too_few", f"{whole.pairs} pairs; {asked.settings.evidence.pairs} are needed")
    limit = asked.settings.limits.disagreement
    interval = f"95 %: {whole.lower:.3f} to {whole.upper:.3f}"
    text = f"disagreement with the shadow {whole.ratio:.3f} ({interval}), limit {limit:g}"
    return Finding(name, whole.lower > limit, text, {"ratio": whole.ratio, "lower": whole.lower, "limit": limit}), ""


def accuracy(asked: Witnesses) -> Testimony:
    """On the same labelled requests the shadow is right more often, by more than chance."""
    name, evidence = "accuracy", asked.facts.evidence
    if evidence is None:
        return _unknown(name, "exporter_away", asked.facts.evidence_why)
    labels, pairs = evidence.labels, evidence.pairs
    if labels is None or labels.labelled < MIN_LABELLED:
        count = 0 if labels is None else labels.labelled
        return _unknown(name, "too_few", f"{count} labelled requests; {MIN_LABELLED} are needed")
    if pairs is not None and pairs.production_version not in {None, *asked.standing.entry.asked}:
        return _unknown(name, "other_version", f"the labels are those of {pairs.production_version}")
    ours, theirs, pvalue = labels.production.accuracy, labels.shadow.accuracy, labels.accuracy_pvalue
    if ours is None or theirs is None or pvalue is None:
        return _unknown(name, "value_missing", "the labels give no accuracy")
    text = f"accuracy {ours:.3f}, the shadow's {theirs:.3f} (McNemar p {pvalue:.2g}, {labels.labelled} labelled)"
    return Finding(name, ours < theirs and pvalue < SIGNIFICANT, text, {"pvalue": pvalue}), ""


def latency(asked: Witnesses) -> Testimony:
    """The p95 of a version that serves is above the limit, or far above that of another that serves beside it."""
    name, limits = "latency", asked.settings.limits
    known, why = _serving_traffic(asked, name)
    if why is not None:
        return why
    slow = {version: one.p95 for version, one in known.items() if one.p95 is not None}
    if not slow:
        return _unknown(name, "value_missing", "Prometheus has no latency of what serves")
    version = max(slow, key=lambda each: slow[each])
    worst, best = slow[version], min(slow.values())
    text = f"p95 of {version} is {worst * 1000:.0f} ms, limit {limits.latency * 1000:.0f} ms"
    red = worst > limits.latency or (len(slow) > 1 and worst > limits.latency_ratio * best)
    if len(slow) > 1:
        text += f"; beside it {best * 1000:.0f} ms, at most {limits.latency_ratio:g} times that"
    return Finding(name, red, text, {"p95_seconds": worst, "limit_seconds": float(limits.latency)}), ""


def errors(asked: Witnesses) -> Testimony:
    """Too large a share of the requests to a version that serves fails."""
    name, limit = "errors", asked.settings.limits.error_ratio
    known, why = _serving_traffic(asked, name)
    if why is not None:
        return why
    version = max(known, key=lambda each: known[each].error_ratio)
    worst = known[version]
    text = f"errors of {version}: {worst.error_ratio:.3f} of {worst.requests:.0f} requests, limit {limit:g}"
    return Finding(name, worst.error_ratio > limit, text, {"ratio": worst.error_ratio, "limit": limit}), ""


def _serving_traffic(asked: Witnesses, name: str) -> tuple[dict[str, Traffic], Testimony | None]:
    """The versions that serve and have enough requests to be judged by."""
    if asked.facts.traffic is None:
        return {}, _unknown(name, "prometheus_away", asked.facts.traffic_why)
    needed = asked.settings.evidence.requests
    found = {version: asked.facts.of("production", version) for version in asked.standing.entry.asked}
    enough = {version: traffic for version, traffic in found.items() if traffic.requests >= needed}
    if not enough:
        most = max((traffic.requests for traffic in found.values()), default=0.0)
        over = asked.settings.evidence.over
        return {}, _unknown(name, "too_few", f"{most:.0f} requests in {over:g} s; {needed} are needed")
    return enough, None


def _unknown(name: str, reason: str, text: str) -> Testimony:
    return Finding(name, None, text), reason


WITNESSES: Final[dict[str, Callable[[Witnesses], Testimony]]] = {
    "prediction_drift": prediction_drift,
    "disagreement": disagreement,
    "accuracy": accuracy,
    "latency": latency,
    "errors": errors,
}
