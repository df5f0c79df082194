"""The families of the labels, and their part of the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from evidence import document
from exporter.showing.exposition import Family, Sample, labelled
from exporter.statistics.intervals import mcnemar
from exporter.windows.models import ModelState
from exporter.windows.scores import Measures, Quality

_BY_ROLE: Final = {
    "accuracy": ("drift_accuracy_ratio", "Share of the last labelled instances whose class was right."),
    "absolute_error": ("drift_absolute_error", "Mean distance of the prediction from the truth, in its own unit."),
    "brier": ("drift_brier_score", "Mean squared distance of the probabilities from the truth; 0 is perfect."),
}


def label_families(owned: Sequence[ModelState], results: Mapping[tuple[str, str], int]) -> Iterator[Family]:
    """Of each model that has a shadow; `results` counts label events by model and result."""
    samples: dict[str, list[Sample]] = {measure: [] for measure in Quality._fields}
    sizes: list[Sample] = []
    pvalues: list[Sample] = []
    for state in owned:
        if state.measured.model.shadow is None:
            continue
        found, named = _measures(state), ("model", state.measured.name)
        sizes.append(((named,), found.labelled))
        pvalue = _pvalue(found)
        if pvalue is not None:
            pvalues.append(((named,), pvalue))
        for role, quality in (("production", found.production), ("shadow", found.shadow)):
            for measure, value in quality._asdict().items():
                if value is not None:
                    samples[measure].append(((named, ("role", role)), value))
    yield Family("drift_labelled_instances", "gauge", "Labelled instances that both models answered.", sizes)
    for measure, (name, text) in _BY_ROLE.items():
        yield Family(name, "gauge", text, samples[measure])
    yield Family(
        "drift_accuracy_pvalue", "gauge", "Whether one model is right more often: McNemar's exact p-value.", pvalues
    )
    yield Family("drift_labels_total", "counter", "What became of labels.", labelled(("model", "result"), results))


def labels_of(state: ModelState) -> document.Labels | None:
    """A model's labels as evidence; None without a shadow."""
    if state.measured.model.shadow is None:
        return None
    found = _measures(state)
    return document.Labels(
        labelled=found.labelled,
        size=state.labels.size,
        production=document.Labelled(**found.production._asdict()),
        shadow=document.Labelled(**found.shadow._asdict()),
        accuracy_pvalue=_pvalue(found),
        only_production_right=found.only_production_right,
        only_shadow_right=found.only_shadow_right,
    )


def _measures(state: ModelState) -> Measures:
    return state.labels.measures(state.measured.prediction)


def _pvalue(found: Measures) -> float | None:
    if found.production.accuracy is None or found.shadow.accuracy is None:
        return None
    return mcnemar(found.only_production_right, found.only_shadow_right)
