"""How much the instances of one request resemble each other, in the windows that hold requests of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.statistics.batches import spread_by_column
from exporter.statistics.significance import Groups
from exporter.windows.window import Layout, Window

Floats = NDArray[np.float64]


def spreads(layout: Layout, sides: Sequence[tuple[Window, Window | None]], groups: Groups) -> tuple[Floats, Floats]:
    """D of each column of S comparisons, F columns each: that of the production window, and that of the other side.

    The other side is a window, or None for a reference, whose D is 1. `groups` are those of all S·F columns.
    """
    count = len(layout.sizes)
    first, second = np.ones(len(sides) * count), np.ones(len(sides) * count)
    for number, windows in enumerate(sides):
        for spread, window in zip((first, second), windows, strict=True):
            if window is not None and window.batched():
                mine = _of_side(groups, number, count, int(layout.sizes.sum()))
                spread[number * count : (number + 1) * count] = _spread(layout, window, mine)
    return first, second


def _spread(layout: Layout, window: Window, groups: Groups) -> Floats:
    rows = window.rows()
    return spread_by_column(_bins(layout, rows.cells), rows.requests, groups)


def _bins(layout: Layout, cells: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """The bin of each value among those of all columns, -1 for one that is in none."""
    bins = np.where(cells >= layout.sizes, cells - layout.sizes, cells) + layout.bin_starts
    return np.where(cells < 2 * layout.sizes, bins, -1)


def _of_side(groups: Groups, number: int, columns: int, bins: int) -> Groups:
    """The groups of one side's columns alone, numbered from 0."""
    mine = slice(number * columns, (number + 1) * columns)
    first = groups.starts[mine][0]
    of_bin = groups.of_bin[number * bins : (number + 1) * bins]
    return Groups(of_bin - first, groups.starts[mine] - first, groups.sizes[mine])
