"""The families of the pairs, and their part of the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from evidence import document
from exporter.showing.agreement import agreement
from exporter.showing.exposition import Family, Sample
from exporter.windows.models import ModelState

_GAUGES: Final = {
    "drift_pairs": "Instances that both models answered, among the last sampled ones.",
    "drift_pair_completeness_ratio": "Share of the last sampled production instances that the shadow answered too.",
    "drift_pair_sign_pvalue": "Whether one model's numbers are the greater ones more often: the sign test's p-value.",
    "drift_disagreement_ratio": "Share of the pairs in which the two models disagree.",
    "drift_disagreement_ratio_lower": "Lower end of its 95 % interval (Wilson).",
    "drift_disagreement_ratio_upper": "Upper end of its 95 % interval (Wilson).",
    "drift_prediction_delta": "Quantiles of the shadow's number less production's.",
}
_COUNTERS: Final = {
    "drift_pairs_mismatched_total": "Pairs whose features differ: a fault of the pipeline.",
    "drift_pairs_unequal_total": "Requests of which the models answered different numbers of instances; no pairs.",
}


def pair_families(owned: Sequence[ModelState]) -> Iterator[Family]:
    """Of each model that has a shadow."""
    samples: dict[str, list[Sample]] = {name: [] for name in (*_GAUGES, *_COUNTERS)}
    for state in owned:
        if state.measured.model.shadow is not None:
            for name, labels, value in _figures(state):
                samples[name].append(((("model", state.measured.name), *labels), value))
    for name, text in _GAUGES.items():
        yield Family(name, "gauge", text, samples[name])
    for name, text in _COUNTERS.items():
        yield Family(name, "counter", text, samples[name])


def _figures(state: ModelState) -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
    found = agreement(state)
    yield "drift_pairs", (), found.pairs
    if found.completeness is not None:
        yield "drift_pair_completeness_ratio", (), found.completeness
    if found.sign_pvalue is not None:
        yield "drift_pair_sign_pvalue", (), found.sign_pvalue
    for each in found.disagreement:
        labels = (("tenant", each.tenant),)
        yield "drift_disagreement_ratio", labels, each.ratio
        yield "drift_disagreement_ratio_lower", labels, each.lower
        yield "drift_disagreement_ratio_upper", labels, each.upper
    for quantile, value in found.delta.items():
        yield "drift_prediction_delta", (("quantile", quantile),), value
    yield "drift_pairs_mismatched_total", (), state.pairs.mismatched
    yield "drift_pairs_unequal_total", (), state.pairs.unequal


def pairs_of(state: ModelState) -> document.Pairs | None:
    """A model's pairs as evidence; None without a shadow."""
    if state.measured.model.shadow is None:
        return None
    found = agreement(state)
    return document.Pairs(
        pairs=found.pairs,
        sampled=found.sampled,
        size=state.pairs.size,
        completeness=found.completeness,
        production_version=state.shadowed.version("production"),
        shadow_version=state.shadowed.version("shadow"),
        disagreement=found.disagreement,
        delta=found.delta,
        sign_pvalue=found.sign_pvalue,
        mismatched=found.mismatched,
    )
