"""The families of predictions: classes counted, numbers in a histogram, for each version and role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporter.showing.exposition import Family, Sample, histogram
from exporter.windows.models import ModelState


def prediction_families(owned: Sequence[ModelState]) -> Iterator[Family]:
    """What was predicted since this process owns the model."""
    classes: list[Sample] = []
    text: list[str] = []
    for state in owned:
        for role, found in state.roles.items():
            for version, counted in found.predictions.classes.items():
                labels = (("model", state.measured.name), ("version", version), ("role", role))
                classes += [((*labels, ("class", name)), count) for name, count in counted.items()]
            for version, values in found.predictions.values.items():
                labels = (("model", state.measured.name), ("version", version), ("role", role))
                counts, edges = values.counts.tolist(), values.edges.tolist()
                text += histogram(labels, "drift_prediction_value", edges, counts, values.sum)
    yield Family("drift_predictions_total", "counter", "Predictions by class.", classes)
    yield Family("drift_prediction_value", "histogram", "Predictions that are numbers.", text=text)
