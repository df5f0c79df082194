"""Each window's data quality: the shares of its instances whose value is missing, invalid, or new to the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.windows.rows import Columns
from exporter.windows.window import Window


class Ratios(NamedTuple):
    """Shares of a window's instances for one column; None where it does not apply to the column's kind."""

    missing: float
    invalid: float
    out_of_range: float | None
    unseen: float | None


class Shares(NamedTuple):
    """The same of many columns at once; those that nobody was asked for, and those of an empty window, are left out."""

    columns: NDArray[np.intp]
    """Their positions among the model's; the arrays below have one value for each."""
    missing: NDArray[np.float64]
    invalid: NDArray[np.float64]
    odd: NDArray[np.float64]
    """Out of the reference's range for a numeric column, unseen by it for a categorical one."""


def shares(window: Window) -> Shares:
    """What a window holds that the reference would not have led to expect."""
    layout, counts = window.layout, window.counts
    if not len(layout.sizes):
        nothing = np.empty(0)
        return Shares(np.empty(0, np.intp), nothing, nothing, nothing)
    instances = window.filled - counts[layout.absent]
    columns = np.flatnonzero(instances)
    total = instances[columns]
    odd = np.add.reduceat(counts[layout.unseen], layout.bin_starts)
    parts = (counts[layout.missing], counts[layout.invalid], odd)
    return Shares(columns, *(part[columns] / total for part in parts))


def ratios(columns: Columns, window: Window) -> Iterator[tuple[str, Ratios]]:
    """Each column's shares, by its name."""
    found = shares(window)
    for position, missing, invalid, odd in zip(*(part.tolist() for part in found), strict=True):
        numeric = columns.bins[position].numeric
        yield columns.names[position], Ratios(missing, invalid, odd if numeric else None, None if numeric else odd)
