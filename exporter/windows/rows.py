"""Instances to rows of cells: what a batch of events says about every column of the profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np

from events.inference import InferenceEvent, Instance
from exporter.windows.window import Layout, Rows
from reference.binning import ABSENT, Bins, Cells, absent_cell, bin_names, bins_of, invalid_cell, missing_cell
from reference.probabilities import greatest, likeliest
from reference.profile import CONFIDENCE, PREDICTION, Profile

MAX_FEATURES: Final = 1_000
"""Features beyond it, in the order of their names, have no column."""
MAX_UNKNOWN: Final = 50
"""So many names that the profile lacks are remembered, to be shown."""
_MOST_OF_NAME: Final = 256
"""Characters of such a name; a producer that is not our proxy may have put megabytes there."""

_NEVER_ASKED: Final = msgspec.UNSET


class Columns:
    """The columns of one model: those of its profile, none without a profile. The prediction, if known, is the last.

    `prediction.confidence` is no feature of a request either: the profile may have it as a column, and live values
    come out of the prediction.
    """

    def __init__(self, profile: Profile | None) -> None:
        described = {} if profile is None else profile.columns
        # In the order of their names: the profile's own may change without its hash, and what is kept goes by that.
        features = sorted(() if profile is None else profile.features)
        self._beyond = frozenset(features[MAX_FEATURES:])
        names = [*features[:MAX_FEATURES], *(name for name in (PREDICTION, CONFIDENCE) if name in described)]
        columns = {name: described[name] for name in names}
        self.names: Final = tuple(columns)
        self.bins: Final[tuple[Bins, ...]] = tuple(bins_of(column) for column in columns.values())
        self.layout: Final = Layout([bins.size for bins in self.bins])
        self.reference: Final = np.concatenate([np.empty(0, np.int64), *(bins.reference for bins in self.bins)])
        """The reference's counts in the bins of all columns."""
        self.bin_names: Final = tuple(name for column in columns.values() for name in bin_names(column))
        """A name for each bin of all columns."""
        self.numeric: Final = np.array([bins.numeric for bins in self.bins], bool)
        self.unknown: Final[dict[str, None]] = {}
        """Names of features that requests carried and the profile lacks: the first few."""
        self.absent: Final = np.array([absent_cell(bins.size) for bins in self.bins], self.layout.dtype)
        """Of each column the cell of a value that nobody was asked for."""
        self.index: Final = {name: position for position, name in enumerate(self.names)}
        self.predicted: Final = [self.index[name] for name in (PREDICTION, CONFIDENCE) if name in self.index]
        """The positions of the columns that come out of the prediction."""
        self._features = [name for name in self.names if name not in {PREDICTION, CONFIDENCE}]
        self._known = frozenset(self._features)
        self._get = _getter(self._features)
        self._texts = () if profile is None else tuple(profile.texts)
        """Features that have no column of their own, and yet are known."""
        self._key_id = None if profile is None else profile.key_id
        keyed = frozenset[str]() if profile is None else profile.keyed_columns
        self._keyed = [self.index[name] for name in self.names if name in keyed]
        self.foreign_key = False
        """Whether the last event was hashed under another key than the reference: its keyed columns mean nothing."""

    def rows(self, events: Sequence[InferenceEvent], keys: Sequence[int], left_out: Counter[str]) -> Rows:
        """The rows of all instances of these events, whose keys are given, one row each in their order.

        `left_out` takes, by reason, how many of their feature values no column takes.
        """
        instances = [instance for event in events for instance in event.instances]
        times = np.array([event.time for event in events], np.float64)
        requests = np.array(keys, np.uint64)
        asked = np.array([event.outcome == "ok" for event in events], bool)
        places = np.zeros(len(instances), np.int32)
        lengths = [len(event.instances) for event in events]
        if lengths.count(1) != len(lengths):
            times, requests, asked = (np.repeat(part, lengths) for part in (times, requests, asked))
            places = (np.arange(len(instances)) - np.repeat(np.cumsum(lengths) - lengths, lengths)).astype(np.int32)
        features = [instance.features for instance in instances]
        cells = np.empty((len(instances), len(self.names)), np.int16)
        if instances and self.names:
            untaken = sum(map(len, features)) - self._fill(cells, features)
            if untaken:
                self._leave_out(features, untaken, left_out)
            if self.predicted:
                self._predict(cells, instances, asked)
            self._mark_invalid(cells, instances)
            if self._keyed:
                self._leave_out_foreign(cells, events, lengths)
        return Rows(cells, times, requests, places)

    def _leave_out_foreign(self, cells: Cells, events: Sequence[InferenceEvent], lengths: Sequence[int]) -> None:
        """Hashes under another key than the reference's are as if nobody had been asked: each would seem new."""
        foreign = np.array([event.key_id != self._key_id for event in events], bool)
        self.foreign_key = bool(foreign[-1])
        if foreign.any():
            rows = np.flatnonzero(np.repeat(foreign, lengths))
            cells[rows[:, None], self._keyed] = self.absent[self._keyed]

    def _leave_out(self, features: Sequence[dict[str, Any]], untaken: int, left_out: Counter[str]) -> None:
        """Count the values that no column takes, and remember some of the names that the profile lacks."""
        beyond = sum(name in self._beyond for row in features for name in row) if self._beyond else 0
        untaken -= sum(name in row for name in self._texts for row in features)
        left_out["features"] += beyond
        left_out["not_in_reference"] += untaken - beyond
        if len(self.unknown) < MAX_UNKNOWN:
            names = dict.fromkeys(name for row in features[:MAX_UNKNOWN] for name in row)
            for name in names:
                known = name in self._known or name in self._beyond or name in self._texts
                if not known and len(self.unknown) < MAX_UNKNOWN:
                    self.unknown[name[:_MOST_OF_NAME]] = None

    def _fill(self, cells: Cells, rows: Sequence[dict[str, Any]]) -> int:
        """The cells of the features; how many values were taken."""
        names = self._features
        if not names:
            return 0
        try:
            columns: list[Sequence[Any]] = list(zip(*map(self._get, rows), strict=True))
            whole = True
        except KeyError:  # somebody lacks a feature
            columns, whole = [[row.get(name, ABSENT) for row in rows] for name in names], False
        taken = len(rows) * len(names)
        for name, values in zip(names, columns, strict=True):
            position = self.index[name]
            cells[:, position] = self.bins[position].cells(values)
            if not whole:
                taken -= sum(value is ABSENT for value in values)
        return taken

    def _predict(self, cells: Cells, instances: Sequence[Instance], asked: np.ndarray[Any, Any]) -> None:
        values: list[Any] = [
            None if instance.prediction is _NEVER_ASKED else instance.prediction for instance in instances
        ]
        lists = list in set(map(type, values))
        for position in self.predicted:
            found: list[Any] = values
            if self.names[position] == CONFIDENCE:
                found = [greatest(value) for value in values]
            elif lists:
                found = [likeliest(value) for value in values]
            bins = self.bins[position]
            cells[:, position] = bins.cells(found)
            cells[~asked, position] = absent_cell(bins.size)

    def _mark_invalid(self, cells: Cells, instances: Sequence[Instance]) -> None:
        """A value that JSON cannot carry came as null, with its feature's name in `invalid`."""
        for row, instance in enumerate(instances):
            if not instance.invalid:
                continue
            for name in instance.invalid:
                position = self.index.get(name)
                if position is None:
                    continue
                size = self.bins[position].size
                if cells[row, position] == missing_cell(size):
                    cells[row, position] = invalid_cell(size)


def _getter(names: Sequence[str]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """All values of a row in the order of the names, a KeyError where it lacks one."""
    if len(names) == 1:
        only = names[0]
        return lambda row: (row[only],)
    return itemgetter(*names) if names else lambda _: ()
