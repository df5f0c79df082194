"""Which bins of a column moved most: those that contribute most to its PSI, by a name that a person can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.showing.comparisons import Compared
from exporter.statistics.divergence import psi_terms
from exporter.windows.models import Measured

TOP_COLUMNS: Final = 5
TOP_BINS: Final = 3


class Moved(NamedTuple):
    """One bin of one column: its share of the valid values on both sides."""

    number: int
    """Its position among the column's bins."""
    bin: str
    production: float
    other: float


def top_columns(compared: Compared) -> list[int]:
    """The positions, among the columns that are compared, of the five with the greatest PSI, the greatest first."""
    positions: list[int] = np.argsort(-compared.psi, kind="stable")[:TOP_COLUMNS].tolist()
    return positions


def top_bins(measured: Measured, compared: Compared, at: int) -> Iterator[Moved]:
    """The three bins of the column at position `at` that contribute most to its PSI, the greatest first."""
    column, layout = int(compared.columns[at]), measured.columns.layout
    start, size = int(layout.bin_starts[column]), int(layout.sizes[column])
    ours, theirs = compared.production[start : start + size], compared.other[start : start + size]
    terms = psi_terms(ours, theirs, np.zeros(1, np.intp))
    names = measured.columns.bin_names[column]
    for bin_ in np.argsort(-terms, kind="stable")[:TOP_BINS].tolist():
        yield Moved(bin_, names[bin_], float(ours[bin_] / ours.sum()), float(theirs[bin_] / theirs.sum()))


def share(measured: Measured, counts: NDArray[np.int64], column: int, number: int) -> float | None:
    """The share of a column's valid values in one of its bins; None without a valid value."""
    layout = measured.columns.layout
    start = int(layout.bin_starts[column])
    valid = int(counts[start : start + int(layout.sizes[column])].sum())
    return int(counts[start + number]) / valid if valid else None
