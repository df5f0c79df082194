"""A profile in the making: rows go in, from whatever source; a profile comes out, and what is odd about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

from configuration.privacy import FieldType
from lifecycle.refusal import Refusal
from reference.columns import column_from
from reference.oddities import few_rows, oddities, telling
from reference.probabilities import greatest, likeliest
from reference.profile import CONFIDENCE, FORMAT, PREDICTION, Binning, Column, Profile, Vocabulary
from reference.tally import Kind, Tally
from reference.texts import looks_like_text, text_columns
from reference.treatment import Treatment, holds_hashes

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
    types: Mapping[str, FieldType]
    """What most values of a column were before they were hidden, of columns that a rule hides."""


class Draft:
    """Counts what the sources bring. `where` names the source in messages, `kinds` are those that the user told."""

    def __init__(
        self, where: str, kinds: Mapping[str, Kind], treatment: Treatment | None = None, *, hidden: bool = False
    ) -> None:
        """`treatment`: how the configuration hides values, for training data in clear.

        `hidden`: the rows have gone through a proxy, which has told of texts what it tells, so none is looked for.
        """
        self._where = where
        self._hidden = hidden
        self._treatment = treatment
        self.key_ids: set[str] = set()
        """The keys under which rows came hashed already."""
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
                hashed = self._treatment is not None and self._treatment.rules(name) == "hash"
                tally = self._tallies[name] = Tally(self._kinds.get(name), exact=hashed)
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
        made = _Made(self.rows, binning, self._treatment, texts=not self._hidden)
        for name, tally in self._tallies.items():
            tally.add_missing(self.rows - tally.seen)
            made.take(name, tally)
        return made.profile(self._where, description, self.key_ids)

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


class _Made:
    """A profile's columns as they are made, one after the other."""

    def __init__(self, rows: int, binning: Binning, treatment: Treatment | None, *, texts: bool) -> None:
        self._looks_for_texts = texts
        self._rows = rows
        self._binning = binning
        self._treatment = treatment
        self._columns: dict[str, Column] = {}
        self._texts: dict[str, Vocabulary] = {}
        self._hashed: list[str] = []
        self._types: dict[str, FieldType] = {}
        self._warnings = list(few_rows(rows))

    def take(self, name: str, tally: Tally) -> None:
        """Make the column, or the columns, of a tally."""
        treatment = self._treatment
        answer = name in (PREDICTION, CONFIDENCE)
        told = tally.kind == "text" or (treatment is not None and name in treatment.texts)
        if not answer and (told or (self._looks_for_texts and looks_like_text(tally))):
            key = treatment.vocabulary_key if treatment is not None else b""
            text = text_columns(name, tally, self._binning, key)
            if text is None:
                self._warnings.append(f"column {name} has no text and is left out")
                return
            columns, self._texts[name] = text
            self._columns |= columns
            return
        if treatment is not None and treatment.drops(name):
            return
        treated = tally if treatment is None else treatment.treated(name, tally)
        column = column_from(treated, self._binning)
        if column is None:
            self._warnings.append(f"column {name} has no valid value and is left out")
            return
        self._columns[name] = column
        if treatment is not None and treatment.hashes(name, column):
            self._hashed.append(name)
        self._warnings += oddities(name, column, treated)
        if treatment is not None and treatment.rules(name):
            self._types[name] = _commonest(tally)
        else:
            self._warnings += telling(name, tally)

    def profile(self, where: str, description: str, key_ids: set[str]) -> Result:
        """What has been made. Raises `Refusal` where that is nothing."""
        columns, warnings = self._columns, self._warnings
        if not columns:
            raise Refusal(f"{where} has no column with a valid value")
        key_id = self._treatment.key_id if self._treatment is not None and (self._hashed or self._texts) else None
        if key_ids:
            self._hashed = [name for name, column in columns.items() if holds_hashes(column)]
            key_id = min(key_ids) if self._hashed else None
            if len(key_ids) > 1:
                warnings.append(
                    f"the events were hashed under {len(key_ids)} keys; hashes of one are new to the others"
                )
        prediction, confidence = columns.pop(PREDICTION, None), columns.pop(CONFIDENCE, None)
        profile = Profile(
            FORMAT, self._rows, self._binning, columns, prediction, description, confidence,
            self._texts, key_id, tuple(self._hashed),
        )  # fmt: skip
        return Result(profile, warnings, self._types)


def _commonest(tally: Tally) -> FieldType:
    counts = tally.counts()
    of: dict[FieldType, int] = {"number": counts.numbers, "string": counts.texts, "boolean": counts.booleans}
    return max(of, key=of.__getitem__)


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
