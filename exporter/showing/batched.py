"""How much the instances of one request resemble each other, in the windows that hold requests of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from exporter.statistics.batches import spread_by_group
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
    places = _groups_of_cells(layout, groups)[rows.cells + layout.starts.astype(np.int32)]
    # A request's instances stand together.
    first = np.append(True, rows.requests[1:] != rows.requests[:-1])
    return spread_by_group(places, np.cumsum(first) - 1, groups)


def _groups_of_cells(layout: Layout, groups: Groups) -> NDArray[np.int32]:
    """The group of each cell of all columns; of one that is no bin, the number of groups."""
    found = np.full(layout.total, int(groups.sizes.sum()), np.int32)
    found[layout.usual] = found[layout.unseen] = groups.of_bin
    return found


def _of_side(groups: Groups, number: int, columns: int, bins: int) -> Groups:
    """The groups of one side's columns alone, numbered from 0."""
    mine = slice(number * columns, (number + 1) * columns)
    first = groups.starts[mine][0]
    of_bin = groups.of_bin[number * bins : (number + 1) * bins]
    return Groups(of_bin - first, groups.starts[mine] - first, groups.sizes[mine])
