"""What each detector makes of a column's traffic: a score every STEP requests, the higher the more like drift.

Those of windows are computed from the counts of steps, added up over the window. Evidently's are its formulas (0.7,
defaults for a reference of more than 1,000 rows); `bench.detection.evidently` compares them with the package itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.detection.traffic import BATCH, Bins, ReferenceColumn, Values
from exporter.statistics.batches import design_effect, spread_by_column
from exporter.statistics.divergence import Floats, psi_by_column
from exporter.statistics.sequential import limit
from exporter.statistics.significance import merged_groups, pvalue_by_column
from exporter.windows.early_warning import EarlyWarning
from exporter.windows.window import Layout

Number = TypeVar("Number", np.int64, np.float64)

STEP: Final = 20
_FINE: Final = 200
_TAIL: Final = 60
_AT_ONCE: Final = 200
_LEAST: Final = 1e-300
"""Below it a p-value is no number any more."""


def step_counts(bins: Bins, size: int) -> NDArray[np.int64]:
    """How often each of `size` bins comes in each step; what is less than a step at the end is left out."""
    steps = len(bins) // STEP
    flat = bins[: steps * STEP] + np.repeat(np.arange(steps), STEP) * size
    return np.bincount(flat, minlength=steps * size).reshape(steps, size)


def windows(steps: NDArray[Number], size: int) -> NDArray[Number]:
    """The sums of the last `size` requests after each step from the first full window on."""
    sums = np.cumsum(np.concatenate((np.zeros_like(steps[:1]), steps)), axis=0, dtype=steps.dtype)
    told: NDArray[Number] = sums[size // STEP :] - sums[: len(sums) - size // STEP]
    return told


def psi_and_surprise(
    counts: NDArray[np.int64], column: ReferenceColumn, effects: Floats | None
) -> tuple[Floats, Floats]:
    """PSI and -log10 of the p-value of each window (its counts by row)."""
    many, size = counts.shape
    a, b, starts = counts.ravel(), np.tile(column.counts, many), np.arange(many) * size
    pvalues = pvalue_by_column(a, b, starts, effect=1.0 if effects is None else effects)
    return psi_by_column(a, b, starts), np.asarray(-np.log10(np.maximum(pvalues, _LEAST)))


def effects(bins: Bins, column: ReferenceColumn, size: int) -> Floats:
    """The design effect of each full window of requests that carry ten instances, as the exporter works it out."""
    counts = windows(step_counts(bins, len(column.counts)), size)
    inside = np.lib.stride_tricks.sliding_window_view(bins, size)[::STEP]
    requests, own = np.arange(size) // BATCH, len(column.counts)
    told = []
    for first in range(0, len(counts), _AT_ONCE):
        chosen = counts[first : first + _AT_ONCE]
        starts = np.arange(len(chosen)) * own
        groups = merged_groups(chosen.ravel(), np.tile(column.counts, len(chosen)), starts)
        spread = spread_by_column(inside[first : first + _AT_ONCE].T + starts, requests, groups)
        told.append(design_effect(size, int(column.counts.sum()), spread))
    return np.concatenate(told)


def early_warnings(columns: Sequence[ReferenceColumn], bins: NDArray[np.int16], of: int) -> Floats:
    """S by the limit for `of` columns, after each step: steps by F."""
    layout = Layout([len(column.counts) for column in columns])
    warning = EarlyWarning(layout, np.concatenate([column.counts for column in columns]))
    scale = limit(len(columns)) / limit(of)
    told = np.empty((len(bins) // STEP, len(columns)))
    for step in range(len(told)):
        warning.add(bins[step * STEP : (step + 1) * STEP])
        told[step] = warning.ratios() * scale
    return told


class Wasserstein:
    """Evidently's default for numbers: the first Wasserstein distance by the reference's standard deviation.

    The integral of |F - G| over 200 of the reference's quantiles and its 60 most extreme rows on either side; beyond
    these exactly.
    """

    threshold: Final = 0.1

    def __init__(self, reference: Values) -> None:
        ordered = np.sort(reference)
        inner = np.quantile(ordered, np.arange(1, _FINE) / _FINE)
        self._edges = np.unique(np.concatenate((ordered[:_TAIL], inner, ordered[-_TAIL:])))
        self._reference = np.searchsorted(ordered, self._edges, side="right") / len(ordered)
        self._widths = np.diff(self._edges)
        self._norm = max(float(np.std(reference)), 0.001)

    def scores(self, values: Values, size: int) -> Floats:
        """Of each full window after each step."""
        cells = np.searchsorted(self._edges, values, side="left")
        counts = windows(step_counts(cells, len(self._edges) + 1), size)
        apart = np.cumsum(counts, axis=1)[:, :-1] / size - self._reference
        # Between two edges the difference runs from one value to the other.
        left, right = np.abs(apart[:, :-1]), np.abs(apart[:, 1:])
        crossing = np.sign(apart[:, :-1]) * np.sign(apart[:, 1:]) < 0
        with np.errstate(invalid="ignore", divide="ignore"):
            heights = np.where(crossing, (left**2 + right**2) / (2 * (left + right)), (left + right) / 2)
        beyond = np.maximum(values - self._edges[-1], 0) + np.maximum(self._edges[0] - values, 0)
        steps = beyond[: len(values) // STEP * STEP].reshape(-1, STEP).sum(axis=1)
        return np.asarray((heights @ self._widths + windows(steps, size) / size) / self._norm)


class JensenShannon:
    """Evidently's default for categories: the Jensen-Shannon distance in √nats, over all categories of both."""

    threshold: Final = 0.1

    def __init__(self, reference: Values) -> None:
        self._share = np.bincount(reference.astype(np.int64)) / len(reference)

    def scores(self, values: Values, size: int) -> Floats:
        """Of each full window after each step."""
        q = self._share
        categories = max(len(q), int(values.max()) + 1)
        q = np.pad(q, (0, categories - len(q)))
        p = windows(step_counts(values.astype(np.int64), categories), size) / size
        middle = (p + q) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(p > 0, p * np.log(p / middle), 0) + np.where(q > 0, q * np.log(q / middle), 0)
        return np.asarray(np.sqrt(np.maximum(terms.sum(axis=1) / 2, 0)))


def evidently_default(column: ReferenceColumn) -> Wasserstein | JensenShannon:
    """What Evidently takes when nobody chooses."""
    return Wasserstein(column.values) if column.shape.numeric else JensenShannon(column.values)
