"""A training column's values to its description in the profile: its kind, its bins or categories, its counts.

The kind is settled once (`tally`). Numbers without a fraction and at most 20 distinct values are categories; other
numbers are numeric; texts and booleans are categories. 3 and 3.0 are the category `3`, a boolean is `true` or `false`.

A categorical column is of one type (string, number or boolean), and a live value of another type is *unseen*: the text
"3" is not the number 3, because a pipeline that begins to send texts has changed. A CSV file has texts alone, so a
column whose cells are all numbers holds numbers there, one whose cells all read true or false (in any case) booleans,
and any other strings (`csv_rows`). An empty string is missing, of whatever type the column is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reference.categories import boolean_category as boolean_category
from reference.categories import number_category as number_category
from reference.profile import Binning, Categorical, CategoryType, Column, Numeric
from reference.tally import Kind, Tally

MAX_MONITORED: Final = 50
MIN_MONITORED_ROWS: Final = 20
"""A category with fewer rows has no bin of its own: chosen and counted from the same rows it would alarm by itself."""

MAX_LISTED: Final = 10_000


def column_of(values: Sequence[Any], binning: Binning, kind: Kind | None = None) -> Column | None:
    """The column of n decoded JSON values; see `column_from`."""
    tally = Tally(kind)
    tally.add(values)
    return column_from(tally, binning)


def column_from(tally: Tally, binning: Binning) -> Column | None:
    """The column of the values that a tally has counted, None where not one of them is valid.

    In a numeric column values of other types are invalid, in a categorical one they are valid, not listed, and counted
    in `_other`.
    """
    counts = tally.counts()
    scalars = counts.numbers + counts.texts + counts.booleans
    if tally.is_numeric():
        return numeric_column(tally.numbers(), counts.missing, counts.invalid + counts.texts + counts.booleans, binning)
    kind, categories = tally.categories()
    return categorical_column(categories, kind, counts.missing, counts.invalid, scalars - categories.total())


def numeric_column(values: NDArray[np.float64], missing: int, invalid: int, binning: Binning) -> Numeric | None:
    """The column of n finite numbers; None where n is 0."""
    if not len(values):
        return None
    open_ended = binning.binning == "quantile"
    edges = _quantile_edges(values, binning.bins) if open_ended else _equal_width_edges(values, binning)
    codes = bin_index(values, edges, open_ended)
    low, high = _quantiles(values, (0.05, 0.95))
    return Numeric(
        edges=tuple(edges.tolist()),
        counts=tuple(np.bincount(codes, minlength=len(edges) + 1).tolist()),
        open_ended=open_ended,
        valid=len(values),
        missing=missing,
        invalid=invalid,
        minimum=float(values.min()),
        maximum=float(values.max()),
        low=low,
        high=high,
    )


def categorical_column(
    counts: Mapping[str, int], kind: CategoryType, missing: int, invalid: int = 0, others: int = 0
) -> Categorical | None:
    """The column of categories with their rows; `others` are valid rows of another type. None without a valid row."""
    valid = sum(counts.values()) + others
    if not valid:
        return None
    listed = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_LISTED]
    monitored = [(name, rows) for name, rows in listed[:MAX_MONITORED] if rows >= MIN_MONITORED_ROWS]
    inside = [rows for _, rows in monitored]
    return Categorical(
        type=kind,
        monitored=tuple(name for name, _ in monitored),
        counts=(*inside, valid - sum(inside)),
        categories=dict(listed),
        valid=valid,
        missing=missing,
        invalid=invalid,
    )


def bin_index(values: NDArray[np.float64], edges: NDArray[np.float64], open_ended: bool) -> NDArray[np.intp]:
    """The bin of each of n finite numbers, 0 … B - 1.

    Between k + 1 edges lie k inner bins [a, b), the last one [a, b], as in `numpy.histogram`, with one below and one
    above them. Open-ended: all k edges are inner ones, and every bin is [a, b).
    """
    index = np.searchsorted(edges, values, side="right")
    if not open_ended:
        index -= values == edges[-1]
    return index


def _equal_width_edges(values: NDArray[np.float64], binning: Binning) -> NDArray[np.float64]:
    """The inner edges: `bins` of equal width, one without a row joined to its left neighbour (the first to its right).

    Equal quantiles give one inner bin that holds them alone.
    """
    low, high = _quantiles(values, binning.range)
    if low == high:
        return np.array([low, high])
    # Halved, so that the width of a range as wide as all floats is itself a float.
    edges = np.linspace(low / 2, high / 2, binning.bins + 1) * 2
    edges[0], edges[-1] = low, high
    filled = np.flatnonzero(np.bincount(bin_index(values, edges, False), minlength=binning.bins + 2)[1:-1])
    return np.concatenate(([low], edges[filled[1:]], [high]))


def _quantile_edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """The edges at j / bins, j = 1 … bins - 1, equal ones once.

    Each is a value of the column (`method="higher"`), not a mean of two, so that an increasing transform of the
    feature moves no live value into another bin.
    """
    return np.unique(np.quantile(values, np.arange(1, bins) / bins, method="higher"))


def _quantiles(values: NDArray[np.float64], at: tuple[float, float]) -> tuple[float, float]:
    """Two quantiles by linear interpolation, also of values whose differences are beyond a float."""
    low, high = np.quantile(values / 4, at) * 4 if np.abs(values).max() > 1e300 else np.quantile(values, at)
    return float(low), float(high)
