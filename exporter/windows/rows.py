"""Instances to rows of cells: what a batch of events says about every column of the profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from events.inference import Instance
from exporter.windows.window import Layout
from reference.binning import ABSENT, Absent, Bins, Cells, absent_cell, bins_of, invalid_cell, missing_cell
from reference.profile import PREDICTION, Profile

_NEVER_ASKED: Final = msgspec.UNSET


class Columns:
    """The columns of one model: those of its profile, none without a profile. The prediction, if known, is the last."""

    def __init__(self, profile: Profile | None) -> None:
        columns = {} if profile is None else profile.columns
        self.names: Final = tuple(columns)
        self.bins: Final[tuple[Bins, ...]] = tuple(bins_of(column) for column in columns.values())
        self.layout: Final = Layout([bins.size for bins in self.bins])
        self.prediction: Final = len(self.names) - 1 if PREDICTION in columns else None
        """The position of the prediction's column."""
        self._index = {name: position for position, name in enumerate(self.names)}
        self._features = len(self.names) - (self.prediction is not None)

    def cells(self, instances: Sequence[Instance], asked: Sequence[bool]) -> tuple[Cells, int]:
        """The n by F cells of n instances, and how many of their feature values no column of the profile takes.

        `asked` tells of each instance whether a model was asked for a prediction; if not, its absence is no miss.
        """
        rows = [instance.features for instance in instances]
        cells = np.empty((len(rows), len(self.names)), np.int16)
        taken = 0
        for position in range(self._features):
            name = self.names[position]
            values = [row.get(name, ABSENT) for row in rows]
            types = set(map(type, values))
            cells[:, position] = self.bins[position].cells(values, types)
            taken += len(rows) if Absent not in types else sum(value is not ABSENT for value in values)
        if self.prediction is not None:
            cells[:, self.prediction] = self._predictions(instances, asked)
        self._mark_invalid(cells, instances)
        return cells, sum(map(len, rows)) - taken if self.names else 0

    def _predictions(self, instances: Sequence[Instance], asked: Sequence[bool]) -> Cells:
        bins = self.bins[-1]
        values: list[Any] = [
            None if instance.prediction is _NEVER_ASKED else instance.prediction for instance in instances
        ]
        cells = bins.cells(values, set(map(type, values)))
        cells[~np.array(asked, bool)] = absent_cell(bins.size)
        return cells

    def _mark_invalid(self, cells: Cells, instances: Sequence[Instance]) -> None:
        """A value that JSON cannot carry came as null, with its feature's name in `invalid`."""
        for row, instance in enumerate(instances):
            for name in instance.invalid if instance.invalid else ():
                position = self._index.get(name)
                if position is None:
                    continue
                size = self.bins[position].size
                if cells[row, position] == missing_cell(size):
                    cells[row, position] = invalid_cell(size)
