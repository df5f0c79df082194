"""The family of the early warning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporter.showing.exposition import Family, Sample
from exporter.windows.models import ModelState


def warning_families(owned: Sequence[ModelState]) -> Iterator[Family]:
    """Of each column of the whole model."""
    samples: list[Sample] = []
    for state in owned:
        named = ("model", state.measured.name)
        ratios = state.early_warning.ratios().tolist()
        names = state.measured.columns.names
        samples += [((named, ("feature", name)), ratio) for name, ratio in zip(names, ratios, strict=True)]
    yield Family(
        "drift_early_warning_ratio",
        "gauge",
        "A sequential test of the whole model's production; from 1 on it warns. It informs, and never acts.",
        samples,
    )
