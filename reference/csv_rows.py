"""A CSV file to a profile, in two passes: the first settles each column's kind, the second counts.

So a file of a million rows needs the memory of its numbers and of its distinct categories, not that of its text. An
empty cell is missing. A cell is a number when it reads like one and has no leading zeros (`007` is a text); `nan` and
`inf` are numbers that are not finite, and so invalid. See `columns` for what the kinds mean.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Final

import numpy as np

from lifecycle.refusal import Refusal
from reference.columns import (
    MAX_INTEGER_CATEGORIES,
    MAX_LISTED,
    Kind,
    boolean_category,
    categorical_column,
    integers_are_categories,
    number_category,
    numeric_column,
)
from reference.profile import FORMAT, PREDICTION, Binning, Column, Profile

_CHUNK_ROWS: Final = 10_000
_MAX_CELL: Final = 16 * 1024 * 1024
_NUMBER: Final = re.compile(r"\s*[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\s*", re.ASCII)
_NOT_FINITE: Final = re.compile(r"\s*[-+]?(?:nan|inf(?:inity)?)\s*", re.IGNORECASE)
_BOOLEAN: Final = re.compile(r"\s*(?:true|false)\s*", re.IGNORECASE)

Chunk = list[tuple[str, ...]]
"""Columns of up to 10,000 cells each."""


@dataclass
class Result:
    """A profile, and one line for each thing that the user should know of it."""

    profile: Profile
    warnings: list[str]


def profile_of(path: Path, binning: Binning, kinds: Mapping[str, Kind], description: str = "") -> Result:
    """Read the training data. Raises `Refusal`, one line, for a file that is not a table."""
    names = _header(path)
    unknown = [name for name in kinds if name not in names]
    if unknown:
        raise Refusal(f"--kind {unknown[0]}: {path} has no such column; it has {', '.join(names)}")
    shapes = [_Shape() for _ in names]
    rows = 0
    for chunk in _chunks(path, names):
        rows += len(chunk[0])
        for shape, cells in zip(shapes, chunk, strict=True):
            shape.look_at(cells)
    if not rows:
        raise Refusal(f"{path} has a header and no rows; give it the training data")
    counters = [shape.counter(kinds.get(name)) for name, shape in zip(names, shapes, strict=True)]
    for chunk in _chunks(path, names):
        for counter, cells in zip(counters, chunk, strict=True):
            counter.add(cells)
    columns, warnings = _finished(dict(zip(names, counters, strict=True)), binning)
    prediction = columns.pop(PREDICTION, None)
    if not columns and prediction is None:
        raise Refusal(f"{path} has no column with a valid value")
    return Result(Profile(FORMAT, rows, binning, columns, prediction, description), warnings)


def _finished(counters: Mapping[str, _Counter], binning: Binning) -> tuple[dict[str, Column], list[str]]:
    columns: dict[str, Column] = {}
    warnings = []
    for name, counter in counters.items():
        column = counter.column(binning)
        if column is None:
            warnings.append(f"column {name} has no valid value and is left out")
            continue
        columns[name] = column
        if counter.distinct > MAX_LISTED:
            warnings.append(
                f"column {name} has {counter.distinct} categories, of which {MAX_LISTED} are listed; "
                f"--kind {name}=numeric if it holds numbers"
            )
    return columns, warnings


@dataclass
class _Shape:
    """What a column's cells look like, as far as they have been read."""

    numbers: bool = True
    booleans: bool = True
    whole: set[float] | None = field(default_factory=set)
    """The distinct whole numbers; None from the first fraction or the first too many on."""

    def look_at(self, cells: tuple[str, ...]) -> None:
        if not (self.numbers or self.booleans):
            return
        distinct = {cell for cell in set(cells) if cell and not cell.isspace()}
        self.booleans = self.booleans and all(map(_BOOLEAN.fullmatch, distinct))
        finite = {cell for cell in distinct if not _NOT_FINITE.fullmatch(cell)}
        self.numbers = self.numbers and all(map(_NUMBER.fullmatch, finite))
        if self.numbers and self.whole is not None:
            values = set(map(float, finite))
            self.whole |= values
            if len(self.whole) > MAX_INTEGER_CATEGORIES or not all(map(float.is_integer, values)):
                self.whole = None

    def counter(self, wanted: Kind | None) -> _Counter:
        categories = self.whole is not None and integers_are_categories(len(self.whole))
        if wanted == "numeric" or (wanted is None and self.numbers and not categories):
            return _NumberCounter()
        if self.booleans:
            return _CategoryCounter("boolean")
        return _CategoryCounter("number" if self.numbers else "string")


class _NumberCounter:
    distinct = 0

    def __init__(self) -> None:
        self._values = array("d")
        self._missing = 0
        self._invalid = 0

    def add(self, cells: tuple[str, ...]) -> None:
        try:
            values = list(map(float, cells))
        except ValueError:
            values = [self._read(cell) for cell in cells if cell and not cell.isspace()]
            self._missing += len(cells) - len(values)
        finite = [value for value in values if isfinite(value)]
        self._invalid += len(values) - len(finite)
        self._values.extend(finite)

    def _read(self, cell: str) -> float:
        try:
            return float(cell)
        except ValueError:
            return float("nan")

    def column(self, binning: Binning) -> Column | None:
        return numeric_column(np.array(self._values), self._missing, self._invalid, binning)


class _CategoryCounter:
    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._cells: Counter[str] = Counter()
        self.distinct = 0

    def add(self, cells: tuple[str, ...]) -> None:
        self._cells.update(cells)

    def column(self, binning: Binning) -> Column | None:
        del binning
        missing = self._cells.pop("", 0)
        if self._kind == "string":
            self.distinct = len(self._cells)
            return categorical_column(self._cells, "string", missing)
        counts: Counter[str] = Counter()
        invalid = 0
        for cell, rows in self._cells.items():
            if cell.isspace():
                missing += rows
            elif self._kind == "boolean":
                counts[boolean_category(cell.strip().lower() == "true")] += rows
            elif isfinite(float(cell)):
                counts[number_category(_number(cell))] += rows
            else:
                invalid += rows
        self.distinct = len(counts)
        return categorical_column(counts, "boolean" if self._kind == "boolean" else "number", missing, invalid)


_Counter = _NumberCounter | _CategoryCounter


def _number(cell: str) -> float:
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def _header(path: Path) -> list[str]:
    names = next(_lines(path), (0, []))[1]
    if not names:
        raise Refusal(f"{path} is empty; its first line must name the columns")
    if not all(name.strip() for name in names):
        raise Refusal(f"{path} line 1: column {[bool(name.strip()) for name in names].index(False) + 1} has no name")
    if all(_NUMBER.fullmatch(name) for name in names):
        raise Refusal(f"{path} line 1 holds numbers where the columns' names should stand; add a header")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise Refusal(f"{path} line 1 names the column {twice[0]} twice")
    return names


def _chunks(path: Path, names: list[str]) -> Iterator[Chunk]:
    """The rows after the header, in columns, some thousands at a time. Every row must be as long as the header."""
    lines = _lines(path)
    next(lines, None)
    while part := list(islice(lines, _CHUNK_ROWS)):
        rows = []
        for number, row in part:
            if len(row) != len(names):
                if not row and len(names) > 1:
                    continue  # an empty line
                if row or len(names) > 1:
                    raise Refusal(f"{path} line {number} has {len(row)} cells, but the header has {len(names)}")
                row = [""]
            rows.append(row)
        if rows:
            yield list(zip(*rows, strict=True))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(_MAX_CELL)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for row in reader:
                yield reader.line_num, row
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise Refusal(f"{path} is not UTF-8 text: {error.reason}; save it as UTF-8") from None
    except csv.Error as error:
        raise Refusal(f"{path} line {reader.line_num} is not CSV: {error}") from None
