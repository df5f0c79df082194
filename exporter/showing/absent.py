"""What the reference itself lacks, so that a column that was always half empty is no news."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporter.showing.exposition import Family, Sample
from exporter.windows.models import ModelState


def absent_families(owned: Sequence[ModelState]) -> Iterator[Family]:
    """Of each column of a profile the share of its rows, 0 to 1, that were missing or invalid."""
    samples: list[Sample] = []
    for state in owned:
        profile = state.measured.profile
        for name, column in () if profile is None else profile.columns.items():
            absent = column.missing + column.invalid
            labels = (("model", state.measured.name), ("feature", name))
            samples.append((labels, absent / (absent + column.valid)))
    yield Family(
        "drift_reference_absent_ratio",
        "gauge",
        "Share of the reference's rows whose value is missing or invalid.",
        samples,
    )
