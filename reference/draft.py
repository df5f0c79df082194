"""A profile in the making: rows go in, from whatever source; a profile comes out, and what is odd about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

from lifecycle.refusal import Refusal
from reference.columns import column_from
from reference.oddities import few_rows, oddities
from reference.probabilities import greatest, likeliest
from reference.profile import CONFIDENCE, FORMAT, PREDICTION, Binning, Column, Profile
from reference.tally import Kind, Tally

CHUNK_ROWS: Final = 10_000

MAX_COLUMNS: Final = 5_000
"""Beyond this the rows' keys are no names of columns."""

Chunk: TypeAlias = Mapping[str, Sequence[Any]]
"""Columns of n decoded JSON values each, by name; a column that is not there is missing in all n rows."""


@dataclass(frozen=True)
class Result:
    """A profile, and one line for each thing that the user should know of it."""

    profile: Profile
    warnings: list[str]


class Draft:
    """Counts what the sources bring. `where` names the source in messages, `kinds` are those that the user told."""

    def __init__(self, where: str, kinds: Mapping[str, Kind]) -> None:
        self._where = where
        self._kinds = kinds
        self._tallies: dict[str, Tally] = {}
        self._lists = 0
        """How many predictions were lists of probabilities."""
        self.rows = 0

    def add(self, chunk: Chunk, rows: int) -> None:
        """Take n rows as columns. Raises `Refusal` for too many columns."""
        chunk = self._with_confidence(chunk)
        self._check_names(chunk)
        for name, values in chunk.items():
            tally = self._tallies.get(name)
            if tally is None:
                tally = self._tallies[name] = Tally(self._kinds.get(name))
            tally.add(values)
        self.rows += rows

    def add_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take n rows as objects; a name that a row lacks is missing in it."""
        names = dict.fromkeys(chain.from_iterable(rows))
        self._check_names(names)
        self.add({name: [row.get(name) for row in rows] for name in names}, len(rows))

    def finished(self, binning: Binning, description: str = "") -> Result:
        """The profile of all rows. Raises `Refusal`, one line, where there is nothing to make it of."""
        if not self.rows:
            raise Refusal(f"{self._where} has no rows; give it the training data")
        unknown = [name for name in self._kinds if name not in self._tallies]
        if unknown:
            raise Refusal(f"--kind {unknown[0]}: {self._where} has no such column; it has {', '.join(self._tallies)}")
        if 2 * self._lists > self.rows:
            self._settle(PREDICTION, "categorical")  # a position is a class, however many there are
            self._settle(CONFIDENCE, "numeric")
        columns: dict[str, Column] = {}
        warnings = list(few_rows(self.rows))
        for name, tally in self._tallies.items():
            tally.add_missing(self.rows - tally.seen)
            column = column_from(tally, binning)
            if column is None:
                warnings.append(f"column {name} has no valid value and is left out")
                continue
            columns[name] = column
            warnings += oddities(name, column, tally)
        if not columns:
            raise Refusal(f"{self._where} has no column with a valid value")
        prediction, confidence = columns.pop(PREDICTION, None), columns.pop(CONFIDENCE, None)
        return Result(Profile(FORMAT, self.rows, binning, columns, prediction, description, confidence), warnings)

    def _check_names(self, names: Mapping[str, object]) -> None:
        if len(self._tallies.keys() | names.keys()) > MAX_COLUMNS:
            raise Refusal(f"{self._where} has more than {MAX_COLUMNS} columns; the rows must name columns, not values")

    def _with_confidence(self, chunk: Chunk) -> Chunk:
        """Where predictions are lists of probabilities, the class and its probability in their place."""
        predictions = chunk.get(PREDICTION)
        if predictions is None or list not in set(map(type, predictions)):
            return chunk
        values = [_probabilities(value) for value in predictions]
        self._lists += sum(type(value) is list and bool(value) for value in values)
        told = {PREDICTION: list(map(likeliest, values)), CONFIDENCE: list(map(greatest, values))}
        return {**chunk, **told}

    def _settle(self, name: str, kind: Kind) -> None:
        if name not in self._kinds:
            self._tallies[name].kind = kind


def _probabilities(value: Any) -> Any:
    """A prediction as an event would carry it: a list of one is its value, one of other than numbers is no list."""
    if type(value) is not list:
        return value
    if len(value) == 1:
        return value[0]
    return value if all(type(each) in (int, float) and abs(each) < float("inf") for each in value) else []


def chunks(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Rows some thousands at a time."""
    part: list[Mapping[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == CHUNK_ROWS:
            yield part
            part = []
    if part:
        yield part
