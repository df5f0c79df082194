"""The family of patterns that were found in texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporter.showing.exposition import Family, Sample
from exporter.windows.models import ModelState


def text_families(owned: Sequence[ModelState]) -> Iterator[Family]:
    """What production was asked, since this process owns the model: a clone holds the same text once more."""
    samples: list[Sample] = []
    for state in owned:
        for (feature, pattern), count in state.roles["production"].patterns.counts.items():
            labels = (("model", state.measured.name), ("feature", feature), ("pattern", pattern))
            samples.append((labels, count))
    yield Family("drift_text_pattern_total", "counter", "Times that a pattern was found in a text.", samples)
