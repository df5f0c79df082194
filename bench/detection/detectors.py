"""The detectors that are compared, and what they make of one stream of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.detection.scores import (
    STEP,
    early_warnings,
    effects,
    evidently_default,
    psi_and_surprise,
    step_counts,
    windows,
)
from bench.detection.traffic import ReferenceColumn, Values
from exporter.statistics.divergence import Floats

WINDOWS: Final = (100, 300, 1_000)
COLUMNS: Final = 20
"""Of a model: what its levels and its early warning divide their alpha by."""
ALPHA: Final = 1e-6


class Detector(NamedTuple):
    """One way to tell drift: the window it looks at (0: none), the score it has, and the threshold it comes with."""

    name: str
    window: int
    score: str
    threshold: float

    @property
    def key(self) -> str:
        """Of it in results."""
        return f"{self.name}, {self.window:,}" if self.window else self.name


def _of_windows(name: str, score: str, threshold: float) -> list[Detector]:
    return [Detector(name, window, score, threshold) for window in WINDOWS]


DETECTORS: Final = (
    Detector("early warning", 0, "warning", 1.0),
    *_of_windows("level: moderate", "level", 0.1),
    *_of_windows("level: large", "level", 0.2),
    *_of_windows("PSI > 0.1", "psi", 0.1),
    *_of_windows("PSI > 0.2", "psi", 0.2),
    *_of_windows("Evidently's default", "evidently", 0.1),
)
TUNED: Final = (
    Detector("early warning", 0, "warning", 1.0),
    *_of_windows("levels", "surprise", 6.0),
    *_of_windows("PSI", "psi", 0.1),
    *_of_windows("Evidently's default", "evidently", 0.1),
)
"""Where a threshold is looked for. The levels' is one of significance: the PSI that they also ask for stays away, since
without drift it decides nothing."""

Scores = dict[tuple[str, int], list[Floats]]
"""By score and window what each column's is after each step from the first full window on."""


def scores(columns: Sequence[ReferenceColumn], live: Sequence[Values], batches: bool) -> Scores:
    """Every score of every column; `live` holds the columns' values, n each."""
    bins = [column.bins(values) for column, values in zip(columns, live, strict=True)]
    cells: NDArray[np.int16] = np.stack(bins, axis=1).astype(np.int16)
    told: Scores = {("warning", 0): list(early_warnings(columns, cells, COLUMNS).T)}
    for column, values, own in zip(columns, live, bins, strict=True):
        default = evidently_default(column)
        steps = step_counts(own, len(column.counts))
        for window in WINDOWS:
            effect = effects(own, column, window) if batches else None
            psi, surprise = psi_and_surprise(windows(steps, window), column, effect)
            level = np.where(surprise >= -np.log10(ALPHA / COLUMNS), psi, 0.0)
            found = {"psi": psi, "surprise": surprise, "level": level, "evidently": default.scores(values, window)}
            for name, score in found.items():
                told.setdefault((name, window), []).append(score)
    return told


def after(score: Floats, window: int, requests: int) -> Floats:
    """A score from the first evaluation on that knows `requests` requests or more."""
    begun = max(0, requests - max(window, STEP)) // STEP
    return score[begun:]
