"""One column's values counted as they come, in chunks; at the end its kind is settled, once, for all sources alike.

A tally needs the memory of its numbers (8 bytes each) and of its distinct texts, not that of the rows.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from reference.categories import boolean_category, number_category
from reference.profile import CategoryType

Kind = Literal["numeric", "categorical", "text"]

MAX_INTEGER_CATEGORIES: Final = 20
"""With more distinct values than this, whole numbers are numeric."""

_NUMBERS: Final = {int, float}


class Counts(NamedTuple):
    """How many of a tally's values were of each sort."""

    numbers: int
    texts: int
    booleans: int
    missing: int
    invalid: int


class Tally:
    """The values of one column. `kind` may be told; else the commonest type decides.

    `exact`: every number is kept to its last digit, however many distinct ones there are.
    """

    def __init__(self, kind: Kind | None = None, *, exact: bool = False) -> None:
        self.kind: Kind | None = kind
        self._keeps_all = exact
        self.seen = 0
        """How many values it was given."""
        self._numbers = array("d")
        self._exact: Counter[float] | None = Counter()
        """The numbers as they came, as long as they may be categories; a float holds no integer beyond 2**53."""
        self._texts: Counter[str] = Counter()
        self._booleans: Counter[bool] = Counter()
        self._missing = 0
        self._invalid = 0

    def add(self, values: Sequence[Any]) -> None:
        """Take decoded JSON values.

        None and "" are missing; a list, an object, and a number that is not finite or beyond a float, are invalid.
        """
        self.seen += len(values)
        types = set(map(type, values))
        if types <= _NUMBERS:
            self._add_numbers(values)
        elif types <= {str, type(None)}:
            self._texts.update(value for value in values if value)
            self._missing += sum(not value for value in values)
        else:
            self._add_mixed(values)

    def add_missing(self, rows: int) -> None:
        """As many rows that lack the column."""
        self.seen += rows
        self._missing += rows

    def counts(self) -> Counts:
        """How many values there were of each sort."""
        return Counts(len(self._numbers), self._texts.total(), self._booleans.total(), self._missing, self._invalid)

    def is_numeric(self) -> bool:
        """Whether the column is one of numbers rather than of categories.

        Numbers must be more than half of the valid values; whole ones with at most 20 distinct values are categories.
        """
        if self.kind is not None:
            return self.kind == "numeric"
        counts = self.counts()
        return 2 * counts.numbers > counts.numbers + counts.texts + counts.booleans and not self.whole_and_few()

    def whole_and_few(self) -> bool:
        """Whether all its numbers are whole, and at most 20 distinct ones, where no kind is told."""
        return self.kind is None and bool(self._exact)

    def numbers(self) -> NDArray[np.float64]:
        """Its finite numbers, in their order."""
        return np.array(self._numbers)

    def texts(self) -> Counter[str]:
        """Its distinct texts, and how often each came."""
        return self._texts

    def changed(
        self,
        kind: Kind | None,
        text: Callable[[str], Any],
        number: Callable[[float], Any],
        boolean: Callable[[bool], Any],
    ) -> Tally:
        """A tally of what becomes of each value; what is missing or invalid stays so."""
        made = Tally(kind)
        numbers = self._exact if self._exact is not None else Counter(self._numbers)
        for values, change in ((self._texts, text), (numbers, number), (self._booleans, boolean)):
            for value, times in values.items():
                made.add([change(value)] * times)  # type: ignore[arg-type] # each counter holds what its change takes
        made.seen = self.seen
        made._missing += self._missing
        made._invalid += self._invalid
        return made

    def categories(self) -> tuple[CategoryType, Counter[str]]:
        """The commonest type of its values, and how often each category of it came."""
        counts = self.counts()
        if counts.numbers >= max(counts.texts, counts.booleans):
            numbers = self._exact if self._exact is not None else Counter(self._numbers)
            names: Counter[str] = Counter()
            for number, times in numbers.items():
                names[number_category(number)] += times
            return "number", names
        if counts.texts >= counts.booleans:
            return "string", self._texts
        return "boolean", Counter({boolean_category(value): times for value, times in self._booleans.items()})

    def _add_mixed(self, values: Sequence[Any]) -> None:
        numbers = []
        for value in values:
            if value is None or value == "":
                self._missing += 1
            elif type(value) is str:
                self._texts[value] += 1
            elif type(value) is bool:
                self._booleans[value] += 1
            elif _is_number(value):
                numbers.append(value)
            else:
                self._invalid += 1
        if numbers:
            self._add_numbers(numbers)

    def _add_numbers(self, values: Sequence[float]) -> None:
        try:
            numbers = np.array(values, np.float64)
        except OverflowError:  # an integer beyond every float
            finite_ones = [value for value in values if _is_number(value)]
            self._invalid += len(values) - len(finite_ones)
            values, numbers = finite_ones, np.array(finite_ones, np.float64)
        finite = np.isfinite(numbers)
        if not finite.all():
            self._invalid += int((~finite).sum())
            values = [value for value, fits in zip(values, finite, strict=True) if fits]
            numbers = numbers[finite]
        self._numbers.frombytes(numbers.tobytes())
        self._count_exactly(values, numbers)

    def _count_exactly(self, values: Sequence[float], numbers: NDArray[np.float64]) -> None:
        if self._exact is None:
            return
        if self._keeps_all:
            self._exact.update(values)
            return
        if self.kind is None and not (numbers == np.floor(numbers)).all():
            self._exact = None
        elif self.kind != "numeric":
            self._exact.update(values)
            if self.kind is None and len(self._exact) > MAX_INTEGER_CATEGORIES:
                self._exact = None


def _is_number(value: Any) -> TypeGuard[float]:
    if type(value) not in _NUMBERS:
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
