"""The last W instances of one (model, tenant, role): a ring of cells, and how often each cell stands in it.

An instance costs O(columns) once, when it comes, and once when it goes; reading costs arithmetic over counts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reference.binning import Cells, absent_cell, cell_count, invalid_cell, missing_cell


class Layout:
    """Where each column's cells and bins stand in the flat arrays of a window's counts."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """`sizes` holds the number of bins B of each of F columns."""
        self.sizes: Final = np.array(sizes, np.int64)
        self.starts: Final = np.concatenate(([0], np.cumsum([cell_count(size) for size in sizes])[:-1]))[
            : len(sizes)
        ].astype(np.int64)
        self.total: Final = int(sum(cell_count(size) for size in sizes))
        self.bin_starts: Final = np.concatenate(([0], np.cumsum(self.sizes)[:-1]))[: len(sizes)].astype(np.intp)
        """Where each column begins among the bins of all."""
        usual = [start + np.arange(size) for start, size in zip(self.starts, sizes, strict=True)]
        self.usual: Final = np.concatenate([np.empty(0, np.int64), *usual])
        self.unseen: Final = self.usual + np.repeat(self.sizes, self.sizes)
        self.missing: Final = self.starts + missing_cell(0) + 2 * self.sizes
        self.invalid: Final = self.starts + invalid_cell(0) + 2 * self.sizes
        self.absent: Final = self.starts + absent_cell(0) + 2 * self.sizes


class Window:
    """A ring of W instances by F columns, with running counts that always equal a recount."""

    def __init__(self, layout: Layout, size: int) -> None:
        self.layout = layout
        self.size = size
        self.filled = 0
        """How many instances it holds, at most `size`."""
        self.counts: NDArray[np.int64] = np.zeros(layout.total, np.int64)
        self._next = 0
        self._cells = np.empty((size, len(layout.sizes)), np.int16)
        self._times = np.empty(size)

    def add(self, cells: Cells, times: NDArray[np.float64]) -> None:
        """Take n instances, n by F cells in their order, and let the oldest beyond W go."""
        cells, times = cells[-self.size :], times[-self.size :]
        slots = (self._next + np.arange(len(cells))) % self.size
        leaving = slots[self.size - self.filled :] if self.filled + len(cells) > self.size else slots[:0]
        self.counts += self._count(cells) - self._count(self._cells[leaving])
        self._cells[slots] = cells
        self._times[slots] = times
        self._next = (self._next + len(cells)) % self.size
        self.filled = min(self.size, self.filled + len(cells))

    def restart(self, column: int) -> None:
        """Forget what one column holds; the instances stay, as if nobody had been asked for it."""
        layout = self.layout
        start, absent = int(layout.starts[column]), int(layout.absent[column])
        self._cells[: self.filled, column] = absent - start
        self.counts[start : absent + 1] = 0
        self.counts[absent] = self.filled

    def recount(self) -> NDArray[np.int64]:
        """The counts worked out anew from the ring: the test of `counts`."""
        return self._count(self._cells[: self.filled])

    def oldest_time(self) -> float | None:
        """The event time, in seconds since 1970, of the instance that has been in it longest; None if it is empty."""
        if not self.filled:
            return None
        return float(self._times[self._next if self.filled == self.size else 0])

    def bins(self) -> NDArray[np.int64]:
        """The counts in the bins of all columns, one column after the other (`Layout.bin_starts`)."""
        bins: NDArray[np.int64] = self.counts[self.layout.usual] + self.counts[self.layout.unseen]
        return bins

    def _count(self, cells: Cells) -> NDArray[np.int64]:
        flat = (cells + self.layout.starts).ravel()
        counts: NDArray[np.int64] = np.bincount(flat, minlength=self.layout.total)
        return counts
