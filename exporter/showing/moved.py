"""Which bins of a column moved most: those that contribute most to its PSI."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from exporter.showing.comparisons import Compared
from exporter.statistics.divergence import psi_terms
from exporter.windows.window import Layout

TOP_COLUMNS: Final = 5
TOP_BINS: Final = 3


def top_columns(compared: Compared) -> list[int]:
    """The five columns with the greatest PSI, the greatest first, by their positions among the model's."""
    columns: list[int] = compared.columns[np.argsort(-compared.psi, kind="stable")[:TOP_COLUMNS]].tolist()
    return columns


def top_bins(layout: Layout, compared: Compared) -> list[list[int]]:
    """Of each of the model's columns the three bins that contribute most to its PSI, the greatest first.

    A bin is told by its position among those of all columns.
    """
    terms = psi_terms(compared.production, compared.other, layout.bin_starts)
    order = np.lexsort((-terms, np.repeat(np.arange(len(layout.sizes)), layout.sizes)))
    starts, counts = layout.bin_starts.tolist(), np.minimum(layout.sizes, TOP_BINS).tolist()
    return [order[start : start + count].tolist() for start, count in zip(starts, counts, strict=True)]


def bin_shares(layout: Layout, counts: NDArray[np.int64]) -> list[float]:
    """The share of its column's valid values in each bin of all columns; 0 in a column without any."""
    valid = np.maximum(np.add.reduceat(counts, layout.bin_starts), 1)
    shares: list[float] = (counts / np.repeat(valid, layout.sizes)).tolist()
    return shares
