"""Whether the evidence carries a promotion: each thing that stands against it, with its number and its limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from configuration import Model, Rollback
from evidence.document import Evidence, Labels
from rollback.facts import Facts, unusable
from rollback.standing import Standing
from rollback.witnesses import SIGNIFICANT, is_prediction


@dataclass(frozen=True)
class Obstacle:
    """One thing against it."""

    rule: str
    text: str
    value: float | None = None
    limit: float | None = None

    def told(self) -> dict[str, Any]:
        """As it stands in answers and in the audit log."""
        return {"rule": self.rule, "text": self.text, "value": self.value, "limit": self.limit}


@dataclass(frozen=True)
class Asked:
    """What is to become production, and by what it is judged."""

    model: Model
    version: str
    standing: Standing
    facts: Facts
    settings: Rollback
    now: float


def impossible(model: Model, version: str | None, standing: Standing) -> Obstacle | None:
    """What `force` cannot overcome either."""
    if standing.unreadable:
        return Obstacle("active_file", standing.unreadable)
    if version is None:
        return Obstacle("no_shadow", "the configuration names no shadow to promote")
    if version not in model.targets:
        return Obstacle("unknown_version", f"{version} is none of the targets: {', '.join(model.targets)}")
    if standing.entry.asked == {version}:
        return Obstacle("serves_already", f"{version} serves already")
    return None


def obstacles(asked: Asked) -> list[Obstacle]:
    """All that stands against it; empty where the evidence carries it."""
    found = list(_shadow(asked))
    unknown = unusable(asked.facts, asked.settings.evidence, asked.now)
    if unknown is not None:
        found.append(Obstacle(*unknown))
    evidence = asked.facts.evidence
    if evidence is not None:
        found += [*_freshness(asked, evidence), *_pairs(asked, evidence), *_labels(asked, evidence)]
        found += _features(evidence)
    return [*found, *_traffic(asked)]


def _shadow(asked: Asked) -> Iterator[Obstacle]:
    if asked.version != asked.model.shadow:
        yield Obstacle("not_the_shadow", f"{asked.version} is not the shadow, so there is no evidence of it")


def _freshness(asked: Asked, evidence: Evidence) -> Iterator[Obstacle]:
    limit = float(asked.settings.evidence.max_age)
    if evidence.freshness.shadow is None:
        yield Obstacle("stale_evidence", "no shadow event has reached the exporter", None, limit)
    elif (age := asked.now - evidence.freshness.shadow) > limit:
        yield Obstacle("stale_evidence", f"the latest shadow event is {age:.0f} s old, at most {limit:g} s", age, limit)


def _pairs(asked: Asked, evidence: Evidence) -> Iterator[Obstacle]:
    needed, pairs = asked.settings.promotion, evidence.pairs
    if pairs is None or pairs.pairs < needed.pairs:
        count = 0 if pairs is None else pairs.pairs
        yield Obstacle("too_few_pairs", f"{count} pairs, {needed.pairs} are needed", count, needed.pairs)
    if pairs is None:
        return
    if pairs.shadow_version not in {None, asked.version}:
        yield Obstacle("other_version", f"the pairs are those of {pairs.shadow_version}, not of {asked.version}")
    if pairs.production_version not in {None, *asked.standing.entry.asked}:
        yield Obstacle("other_version", f"the pairs compare with {pairs.production_version}, which does not serve")
    whole = pairs.completeness
    if whole is None or whole < needed.completeness:
        shown = "unknown" if whole is None else f"{whole:.3f}"
        text = f"completeness of the pairs is {shown}, {needed.completeness:g} is needed"
        yield Obstacle("incomplete_pairs", text, whole, needed.completeness)
    ratio = pairs.mismatched / pairs.pairs if pairs.pairs else 0.0
    if ratio > needed.mismatched_ratio:
        text = f"in {ratio:.3f} of the pairs the features differ, at most {needed.mismatched_ratio:g}"
        yield Obstacle("mismatched_pairs", text, ratio, needed.mismatched_ratio)
    yield from _disagreement(asked, evidence)


def _disagreement(asked: Asked, evidence: Evidence) -> Iterator[Obstacle]:
    """Where the labels show that the shadow is the better one, it is right to disagree."""
    limit = asked.settings.promotion.disagreement
    pairs = evidence.pairs
    whole = None if pairs is None else pairs.whole
    if whole is None:
        yield Obstacle("disagreement", "the disagreement with production is unknown", None, limit)
    elif whole.upper > limit and not _better(evidence.labels):
        text = f"disagreement {whole.ratio:.3f} (95 %: up to {whole.upper:.3f}), at most {limit:g}"
        yield Obstacle("disagreement", text, whole.upper, limit)


def _better(labels: Labels | None) -> bool:
    """Whether the shadow is more accurate, by more than chance."""
    if labels is None or labels.accuracy_pvalue is None or labels.accuracy_pvalue >= SIGNIFICANT:
        return False
    ours, theirs = labels.production.accuracy, labels.shadow.accuracy
    return ours is not None and theirs is not None and theirs > ours


def _labels(asked: Asked, evidence: Evidence) -> Iterator[Obstacle]:
    needed, labels = asked.settings.promotion.labels, evidence.labels
    count = 0 if labels is None else labels.labelled
    if count < needed:
        yield Obstacle("too_few_labels", f"{count} labelled requests, {needed} are needed", count, needed)
    if labels is None or not count:
        return
    ours, theirs, pvalue = labels.production, labels.shadow, labels.accuracy_pvalue
    if ours.accuracy is not None and theirs.accuracy is not None:
        if theirs.accuracy < ours.accuracy and pvalue is not None and pvalue < SIGNIFICANT:
            text = f"accuracy {theirs.accuracy:.3f}, production's {ours.accuracy:.3f}, of {count} labelled"
            yield Obstacle("accuracy", f"{text} (McNemar p {pvalue:.2g})", theirs.accuracy, ours.accuracy)
        return
    if ours.absolute_error is None or theirs.absolute_error is None:
        return
    limit = ours.absolute_error * _ERROR_MARGIN
    if theirs.absolute_error > limit:
        text = f"mean absolute error {theirs.absolute_error:.4g}, production's {ours.absolute_error:.4g}"
        yield Obstacle("absolute_error", text, theirs.absolute_error, limit)


_ERROR_MARGIN = 1.05
"""Numbers come without a test of significance: a twentieth is let pass."""


def _features(evidence: Evidence) -> Iterator[Obstacle]:
    comparison = evidence.comparison("reference")
    if comparison is None:
        yield Obstacle("features", "whether the features have drifted is unknown: there is no reference")
        return
    drifted = [one for one in comparison.at("large") if not is_prediction(one.feature)]
    if drifted:
        worst = max(drifted, key=lambda one: one.psi)
        limit = comparison.thresholds.get("large")
        text = f"{len(drifted)} features have drifted from the reference, {worst.feature} most (PSI {worst.psi:.3f})"
        yield Obstacle("features", text, worst.psi, limit)


def _traffic(asked: Asked) -> Iterator[Obstacle]:
    needed, asks = asked.settings.promotion, asked.settings.evidence
    if asked.facts.traffic is None:
        yield Obstacle("prometheus_away", f"latency and errors are unknown: {asked.facts.traffic_why}")
        return
    ours = asked.facts.of("production", asked.standing.serving)
    theirs = asked.facts.of("shadow", asked.version)
    for name, traffic in (("production", ours), ("the shadow", theirs)):
        if traffic.requests < asks.requests:
            text = f"{traffic.requests:.0f} requests to {name} in {asks.over:g} s, {asks.requests} are needed"
            yield Obstacle("too_few_requests", text, traffic.requests, asks.requests)
            return
    if ours.p95 is None or theirs.p95 is None:
        yield Obstacle("latency", "the latency is unknown")
    elif theirs.p95 > (limit := ours.p95 * needed.latency_ratio):
        allowed = f"{needed.latency_ratio:g} times production's {ours.p95 * 1000:.0f} ms"
        text = f"p95 {theirs.p95 * 1000:.0f} ms, at most {allowed}"
        yield Obstacle("latency", text, theirs.p95, limit)
    limit = ours.error_ratio + needed.error_ratio
    if theirs.error_ratio > limit:
        text = (
            f"errors {theirs.error_ratio:.3f}, at most production's {ours.error_ratio:.3f} and {needed.error_ratio:g}"
        )
        yield Obstacle("errors", text, theirs.error_ratio, limit)
