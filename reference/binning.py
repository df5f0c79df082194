"""Where live values fall: a list of decoded JSON values to one small integer each, for a whole batch at once.

A column of B bins has 2B + 3 cells, and every value falls into one of them: cell b is bin b; cell B + b is bin b of a
value that the reference has not seen (out of its range, or not among its categories); then come missing, invalid, and
absent, which is a prediction that nobody was asked for. So one array of counts tells the bins and all the ratios.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reference.columns import bin_index
from reference.profile import Categorical, Column, Numeric

Cells: TypeAlias = NDArray[np.int16]


class Absent:
    """The type of `ABSENT`, the value of a feature that a request does not carry."""


ABSENT: Final = Absent()

_NOTHING: Final = {type(None), Absent}
_NUMBERS: Final = {float, int}
_OTHER: Final = "_other"
"""The last bin of categories; a category of that very name is told in quotes."""


class Bins(Protocol):
    """One column's map from values to cells."""

    size: int
    """B, the number of bins."""
    reference: NDArray[np.int64]
    """The reference's rows in each bin, B of them."""
    numeric: bool

    def cells(self, values: Sequence[Any]) -> Cells:
        """The cell of each of n values."""


def bins_of(column: Column) -> Bins:
    """The map of a profile's column."""
    return NumericBins(column) if isinstance(column, Numeric) else CategoricalBins(column)


def cell_count(size: int) -> int:
    """How many cells a column of `size` bins has."""
    return 2 * size + 3


def missing_cell(size: int) -> int:
    """The cell of null, of an empty string, and of a feature that is not there."""
    return 2 * size


def invalid_cell(size: int) -> int:
    """The cell of a value of the wrong type, or of a number that is not finite."""
    return 2 * size + 1


def absent_cell(size: int) -> int:
    """The cell of a prediction that was never made."""
    return 2 * size + 2


def bin_names(column: Column) -> tuple[str, ...]:
    """A name for each bin, no two alike: an interval as mathematics writes it, or the category."""
    if not isinstance(column, Numeric):
        return (*(f'"{name}"' if name == _OTHER else name for name in column.monitored), _OTHER)
    edges = _texts(column.edges)
    if column.open_ended:
        closed = [f"[{low}, {high})" for low, high in pairwise(edges)]
        return (f"(-inf, {edges[0]})", *closed, f"[{edges[-1]}, +inf)")
    inner = [f"[{low}, {high})" for low, high in pairwise(edges)]
    inner[-1] = inner[-1][:-1] + "]"
    return (f"(-inf, {edges[0]})", *inner, f"({edges[-1]}, +inf)")


def _texts(edges: Sequence[float]) -> list[str]:
    """As few digits as tell the edges apart, four at least."""
    for digits in range(4, 17):
        texts = [f"{edge:.{digits}g}" for edge in edges]
        if len(set(texts)) == len(set(edges)):
            return texts
    return [repr(edge) for edge in edges]


class NumericBins:
    """Numbers: by edges. Anything that is not a finite number is missing or invalid."""

    numeric = True

    def __init__(self, column: Numeric) -> None:
        self.size = len(column.counts)
        self.reference = np.array(column.counts, np.int64)
        self._edges = np.array(column.edges)
        self._open_ended = column.open_ended
        self._minimum, self._maximum = column.minimum, column.maximum

    def cells(self, values: Sequence[Any]) -> Cells:
        """See `Bins`."""
        try:
            # A quarter of what numpy takes to look at each; it takes no texts, and booleans for 0 and 1.
            plain = np.frombuffer(struct.pack(f"{len(values)}d", *values))
        except (struct.error, OverflowError):  # not all of them numbers, or an integer beyond every float
            plain = None
        if plain is not None and not (((plain == 0) | (plain == 1)).any() and bool in set(map(type, values))):
            return self._of_numbers(plain)
        numbers = np.array([_number(value) for value in values])
        cells = self._of_numbers(numbers)
        missing = [row for row, value in enumerate(values) if value is None or value is ABSENT or value == ""]
        cells[missing] = missing_cell(self.size)
        return cells

    def _of_numbers(self, numbers: NDArray[np.float64]) -> Cells:
        cells = bin_index(numbers, self._edges, self._open_ended)
        cells[(numbers < self._minimum) | (numbers > self._maximum)] += self.size
        finite = np.isfinite(numbers)
        if not finite.all():
            cells[~finite] = invalid_cell(self.size)
        return cells.astype(np.int16)


class CategoricalBins:
    """Categories: by a dictionary. A value of another type is unseen; a list or an object is invalid."""

    numeric = False

    def __init__(self, column: Categorical) -> None:
        self.size = len(column.counts)
        self.reference = np.array(column.counts, np.int64)
        self._type = column.type
        other = self.size - 1
        self._unseen = self.size + other
        bins = {name: index for index, name in enumerate(column.monitored)}
        self._cells: dict[object, int] = {
            _as_value(name, column.type): bins.get(name, other) for name in column.categories
        }
        self._cells.update(dict.fromkeys(("", None, ABSENT), missing_cell(self.size)))
        # Python holds True and 1 to be equal, so where the two could meet the types are looked at one by one.
        self._simple = {str, *_NOTHING, bool if column.type == "boolean" else int}

    def cells(self, values: Sequence[Any]) -> Cells:
        """See `Bins`."""
        get, unseen = self._cells.get, self._unseen
        if set(map(type, values)) <= self._simple:
            cells = struct.pack(f"{len(values)}h", *[get(value, unseen) for value in values])
            return np.frombuffer(cells, np.int16)
        return np.array([self._one(value, type(value)) for value in values], np.int16)

    def _one(self, value: Any, kind: type) -> int:
        if kind in (list, dict) or (kind is float and not math.isfinite(value)):
            return invalid_cell(self.size)
        if kind is bool and self._type != "boolean":
            return self._unseen
        if kind in _NUMBERS and self._type == "boolean":
            return self._unseen
        return self._cells.get(value, self._unseen)


def _as_value(name: str, kind: str) -> object:
    """The value whose equals are the live values of that category."""
    if kind == "number":
        try:
            return int(name)
        except ValueError:
            return float(name)
    return name == "true" if kind == "boolean" else name


def _number(value: Any) -> float:
    """A number as a float; NaN for anything else, which is invalid."""
    if type(value) not in _NUMBERS:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
