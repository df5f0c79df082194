"""The early warning: a sequential test of each column of the whole model's production against the reference.

It takes the cells that enter production's window of `_all`, and answers the same however polls cut them into batches:
what it sums are whole numbers, and a column's blocks are counted from its own first valid instance.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exporter.statistics.divergence import Floats, smoothed
from exporter.statistics.sequential import BLOCK, HISTORY, allowance, limit, log_ratio
from exporter.windows.window import Layout
from reference.binning import Cells

_RING: Final = HISTORY + BLOCK
"""What p̂ rests on, and the block that is not yet part of it."""
_NONE: Final = -1
_UNIT: Final = 2.0**36
"""One nat. Sums of whole numbers do not depend on where a batch ends, as rounded ones would."""
_MOST: Final = 2**61
"""What S stays at when drift has gone on for some hundred million instances."""
_AT_ONCE: Final = 7_000
"""Cells, so that what is worked out for them stays within a processor's cache, and in memory that is there already."""


class EarlyWarning:
    """S of each of F columns, and the valid instances that its p̂ rests on."""

    def __init__(self, layout: Layout, reference: NDArray[np.int64]) -> None:
        """`reference` holds its counts in the bins of all columns, one column after the other."""
        columns = len(layout.sizes)
        rows = np.add.reduceat(reference, layout.bin_starts) if columns else np.empty(0, np.int64)
        self._sizes, self._starts, self._total = layout.sizes, layout.bin_starts, int(layout.sizes.sum())
        self._narrow = layout.sizes.astype(np.int16)
        # One more place, for what is in no bin.
        self._proportions = np.append(smoothed(reference, layout.bin_starts), 1.0)
        self._allowance = allowance(layout.sizes, rows)
        self._limit = limit(columns)
        self._sums = np.zeros(columns, np.int64)
        self._seen = np.zeros(columns, np.int64)
        self._across = np.arange(columns)
        # And one more row, for what is no instance.
        self._ring = np.full((_RING + 1, columns), _NONE, np.int16)
        self._counts = np.zeros(self._total + 1, np.int64)

    def add(self, cells: Cells) -> None:
        """Take n instances, n by F cells in their order; missing, invalid and absent values do not count."""
        rows = max(1, _AT_ONCE // max(1, len(self._sizes)))
        for first in range(0, len(cells) if len(self._sizes) else 0, rows):
            self._add(cells[first : first + rows])

    def restart(self, column: int) -> None:
        """Begin one column anew: its instances are another version's from now on."""
        start, size = int(self._starts[column]), int(self._sizes[column])
        self._sums[column] = self._seen[column] = 0
        self._ring[:, column] = _NONE
        self._counts[start : start + size] = 0

    def ratios(self) -> Floats:
        """S over its limit for each of F columns, at least 0; beyond 1 it warns."""
        told: Floats = self._sums / _UNIT / self._limit
        return told

    def kept(self) -> dict[str, Any]:
        """All that `restore` needs: S and the instances counted, F each, and the last valid bins."""
        return {"sums": self._sums.tobytes(), "seen": self._seen.tobytes(), "ring": self._ring[:_RING].tobytes()}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on where `kept` was; for the same reference only."""
        self._sums = np.frombuffer(kept["sums"], np.int64).copy()
        self._seen = np.frombuffer(kept["seen"], np.int64).copy()
        self._ring[:_RING] = np.frombuffer(kept["ring"], np.int16).reshape(_RING, -1)
        complete = self._seen - self._seen % BLOCK
        self._counts = self._counted(self._places(self._from_ring(complete - HISTORY, HISTORY)), HISTORY)[0]

    def _add(self, cells: Cells) -> None:
        """At most so many instances that the counts before each block fit into memory."""
        begun = self._seen % BLOCK
        first = self._seen - begun
        bins, counted = self._aligned(cells, begun)
        if not len(bins):
            return
        places = self._places(bins)
        # What stands in the history before each block and after the last: a block leaves when its 40th successor comes.
        change = self._counted(places, BLOCK)
        entering, kept = change.copy(), min(HISTORY, len(bins))
        change[: kept // BLOCK] -= self._counted(self._places(self._from_ring(first - HISTORY, kept)), BLOCK)
        change[kept // BLOCK :] -= entering[: len(entering) - kept // BLOCK]
        history = np.concatenate((self._counts[None], change))
        history.cumsum(axis=0, out=history)
        steps = self._steps(places, first, history)
        row = np.arange(len(bins)).reshape(-1, BLOCK, 1)
        steps[(row < begun) | (row >= begun + counted)] = 0
        last, lowest = _walk(steps)
        self._sums = np.minimum(self._sums + last - np.minimum(self._sums + lowest, 0), _MOST)
        self._remember(bins, first, begun + counted)
        complete = np.repeat((begun + counted) // BLOCK, self._sizes)
        self._counts[:-1] = history[complete, np.arange(self._total)]
        self._seen += counted

    def _aligned(self, cells: Cells, begun: NDArray[np.int64]) -> tuple[Cells, NDArray[np.int64]]:
        """Each column's valid bins without gaps, from the start of its open block, and how many of them are new."""
        valid = cells < 2 * self._narrow
        usual = np.where(cells < self._narrow, cells, cells - self._narrow)
        counted = valid.sum(axis=0)
        rows = -(-int((begun + counted).max()) // BLOCK) * BLOCK
        places = begun + np.arange(len(cells))[:, None]
        odd = np.flatnonzero(counted < len(cells))
        # What is in no bin goes to a row behind the last.
        places[:, odd] = np.where(valid[:, odd], begun[odd] + valid[:, odd].cumsum(axis=0) - 1, rows)
        bins = np.full((rows + 1, len(self._sizes)), _NONE, np.int16)
        open_block = np.where(np.arange(BLOCK)[:, None] < begun, self._from_ring(self._seen - begun, BLOCK), _NONE)
        bins[:BLOCK] = open_block[: len(bins)]
        bins.ravel()[places * len(begun) + self._across] = usual
        return bins[:rows], counted

    def _steps(
        self, places: NDArray[np.int64], first: NDArray[np.int64], history: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """What each instance adds to S, in units: blocks by BLOCK by F."""
        blocks = places.reshape(-1, BLOCK, len(first))
        block = np.arange(len(blocks))[:, None, None]
        counts = history.ravel()[blocks + block * (self._total + 1)]
        before = np.minimum(first + block * BLOCK, HISTORY)
        steps = log_ratio(counts, before, self._proportions[blocks])
        steps -= self._allowance
        steps *= _UNIT
        return np.rint(steps, out=steps).astype(np.int64)

    def _remember(self, bins: Cells, first: NDArray[np.int64], filled: NDArray[np.int64]) -> None:
        """Keep the last instances, `filled` of `bins` from their first block on."""
        row = np.maximum(filled - _RING, 0) + np.arange(min(_RING, len(bins)))[:, None]
        slots = np.where(row < filled, (first + row) % _RING, _RING)
        kept = bins.ravel()[np.minimum(row, len(bins) - 1) * len(first) + self._across]
        self._ring.ravel()[slots * len(first) + self._across] = kept

    def _from_ring(self, first: NDArray[np.int64], rows: int) -> Cells:
        """So many instances of each column, from the given one on; no bin where there was none."""
        slots = (first + np.arange(rows)[:, None]) % _RING
        found: Cells = self._ring.ravel()[slots * len(first) + self._across]
        return found

    def _counted(self, places: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
        """The counts of each so many rows in all columns' bins, and a 0 for what is in none."""
        width, blocks = self._total + 1, len(places) // rows
        flat = places.reshape(blocks, -1) + np.arange(blocks)[:, None] * width
        counts: NDArray[np.int64] = np.bincount(flat.ravel(), minlength=blocks * width).reshape(blocks, width)
        counts[:, -1] = 0
        return counts

    def _places(self, bins: Cells) -> NDArray[np.int64]:
        """Where each bin stands among those of all columns; what is none, behind the last."""
        places: NDArray[np.int64] = bins + self._starts
        places[bins < 0] = self._total
        return places


def _walk(steps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each column's sum of all steps ends, and its lowest; `steps` (blocks by BLOCK by F) is used up."""
    for row in range(1, BLOCK):
        steps[:, row] += steps[:, row - 1]
    ends = steps[:, -1].cumsum(axis=0)
    lowest = ends - steps[:, -1] + steps.min(axis=1)
    return ends[-1], lowest.min(axis=0)
