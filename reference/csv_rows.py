"""A CSV file's rows, in two passes: the first settles what each column's cells are, the second reads them as that.

A cell is a number when it reads like one and has no leading zeros (`007` is a text); `nan` and `inf` are numbers that
are not finite, and so invalid. An empty cell is missing.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

from lifecycle.refusal import Refusal
from reference.draft import CHUNK_ROWS, Draft
from reference.tally import MAX_INTEGER_CATEGORIES, Kind

_MAX_CELL: Final = 16 * 1024 * 1024
_NUMBER: Final = re.compile(r"\s*[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\s*", re.ASCII)
_NOT_FINITE: Final = re.compile(r"\s*[-+]?(?:nan|inf(?:inity)?)\s*", re.IGNORECASE)
_BOOLEAN: Final = re.compile(r"\s*(?:true|false)\s*", re.IGNORECASE)

Cells: TypeAlias = tuple[str, ...]


def read_csv(path: Path, kinds: Mapping[str, Kind], draft: Draft) -> None:
    """Read the training data into the draft. Raises `Refusal`, one line, for a file that is not a table."""
    names = _header(path)
    shapes = [_Shape(kinds.get(name)) for name in names]
    rows = 0
    for columns in _chunks(path, names):
        rows += len(columns[0])
        for shape, cells in zip(shapes, columns, strict=True):
            shape.look_at(cells)
    if not rows:
        raise Refusal(f"{path} has a header and no rows; give it the training data")
    for columns in _chunks(path, names):
        values = (shape.read(cells) for shape, cells in zip(shapes, columns, strict=True))
        draft.add(dict(zip(names, values, strict=True)), len(columns[0]))


@dataclass
class _Shape:
    """What a column's cells look like, as far as they have been read."""

    kind: Kind | None
    numbers: bool = True
    booleans: bool = True
    few: set[str] | None = field(default_factory=set)
    """The distinct cells that are numbers; None once they are too many to be categories, unless those were told."""

    def look_at(self, cells: Cells) -> None:
        """Take the first pass over some cells."""
        if not (self.numbers or self.booleans):
            return
        distinct = {cell for cell in set(cells) if cell and not cell.isspace()}
        self.booleans = self.booleans and all(map(_BOOLEAN.fullmatch, distinct))
        finite = {cell for cell in distinct if not _NOT_FINITE.fullmatch(cell)}
        self.numbers = self.numbers and all(map(_NUMBER.fullmatch, finite))
        if self.numbers and self.few is not None:
            self.few |= finite
            if self.kind is None and len(set(map(float, self.few))) > MAX_INTEGER_CATEGORIES:
                self.few = None

    def read(self, cells: Cells) -> list[Any]:
        """The values of some cells: numbers, booleans or texts, None for a cell that is missing."""
        if self.kind == "text":
            return list(cells)
        if self.kind == "numeric" or (self.numbers and self.few is None):
            try:
                return list(map(float, cells))
            except ValueError:
                return self._each(cells, _number_or_text)
        if self.booleans:
            return self._each(cells, lambda cell: cell.strip().lower() == "true")
        return self._each(cells, _number) if self.numbers else list(cells)

    def _each(self, cells: Cells, read: Any) -> list[Any]:
        values = {cell: read(cell) if cell and not cell.isspace() else None for cell in set(cells)}
        return [values[cell] for cell in cells]


def _number(cell: str) -> float:
    """An integer as such: a float has no room for its last digits beyond 2**53."""
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def _number_or_text(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


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


def _chunks(path: Path, names: list[str]) -> Iterator[list[Cells]]:
    """The rows after the header, in columns, some thousands at a time. Every row must be as long as the header."""
    lines = _lines(path)
    next(lines, None)
    while part := list(islice(lines, CHUNK_ROWS)):
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
