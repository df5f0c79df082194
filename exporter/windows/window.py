"""The last W instances of one (model, tenant, role): a ring of cells, and how often each cell stands in it.

An instance costs O(columns) once, when it comes, and once when it goes; reading costs arithmetic over counts alone.
Predictions are shown of one version (`leading`): those of the others stand in the ring, and count as if nobody had been
asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.windows.leading import NOBODY, Leading
from reference.binning import absent_cell, cell_count, invalid_cell, missing_cell

_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
"""An odd constant, so that the instances of one request get identities far apart."""


class Layout:
    """Where each column's cells and bins stand in the flat arrays of a window's counts."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """`sizes` holds the number of bins B of each of F columns."""
        self.sizes: Final = np.array(sizes, np.int64)
        self.starts: Final = np.concatenate(([0], np.cumsum([cell_count(size) for size in sizes])[:-1]))[
            : len(sizes)
        ].astype(np.int64)
        self.total: Final = int(sum(cell_count(size) for size in sizes))
        self.dtype: Final = np.dtype("<u1" if all(cell_count(size) <= 256 for size in sizes) else "<i2")
        """Of a cell in the ring."""
        self.bin_starts: Final = np.concatenate(([0], np.cumsum(self.sizes)[:-1]))[: len(sizes)].astype(np.intp)
        """Where each column begins among the bins of all."""
        usual = [start + np.arange(size) for start, size in zip(self.starts, sizes, strict=True)]
        self.usual: Final = np.concatenate([np.empty(0, np.int64), *usual])
        self.unseen: Final = self.usual + np.repeat(self.sizes, self.sizes)
        self.missing: Final = self.starts + missing_cell(0) + 2 * self.sizes
        self.invalid: Final = self.starts + invalid_cell(0) + 2 * self.sizes
        self.absent: Final = self.starts + absent_cell(0) + 2 * self.sizes


class Rows(NamedTuple):
    """n instances in their order, F columns each."""

    cells: NDArray[np.integer[Any]]
    """n by F."""
    times: NDArray[np.float64]
    """Of their events, in seconds since 1970."""
    requests: NDArray[np.uint64]
    """The key of the request that each belongs to; a request's instances stand together."""
    places: NDArray[np.int32]
    """The position of each within its request."""

    def chosen(self, which: NDArray[Any] | slice) -> Rows:
        """Some of them, by a mask, positions or a slice."""
        return Rows(self.cells[which], self.times[which], self.requests[which], self.places[which])

    def identities(self) -> NDArray[np.uint64]:
        """64 bits for each instance, equal for production's and the shadow's answer to the same one."""
        return self.requests + self.places.astype(np.uint64) * _SPREAD


class Answered(NamedTuple):
    """n instances in their order, and of each answer that they came in the version and how many of them it has."""

    rows: Rows
    versions: Sequence[str]
    lengths: Sequence[int]


class Entered(NamedTuple):
    """What answers have brought into a window."""

    rows: Rows
    """Theirs; predictions that are not shown are absent."""
    taken_over: bool
    """Whether another version's predictions are shown since one of them, and none that came before it."""


class Window:
    """A ring of W instances by F columns, with running counts that always equal a recount."""

    def __init__(self, layout: Layout, size: int, predicted: Sequence[int] = ()) -> None:
        """`predicted` are the positions of the columns that come out of the prediction."""
        self.layout = layout
        self.size = size
        self.filled = 0
        """How many instances it holds, at most `size`."""
        self.counts: NDArray[np.int64] = np.zeros(layout.total, np.int64)
        self.leading = Leading(size)
        """Whose predictions are shown."""
        self.revision = 0
        """Another number after each change, for whoever keeps what was worked out of a window."""
        self._next = 0
        self._ring = Rows(
            np.empty((size, len(layout.sizes)), layout.dtype),
            np.empty(size),
            np.empty(size, np.uint64),
            np.empty(size, np.int32),
        )
        self._periods = np.full(size, NOBODY, np.int64)
        """Of the versions that have answered the instances in the ring."""
        self._shown = NOBODY
        self._predicted: Final = list(predicted)
        self._absent: Final = (layout.absent - layout.starts)[self._predicted]

    @property
    def version(self) -> str | None:
        """Whose predictions are shown; None before the first."""
        return self.leading.version

    def led_as(self, other: Window) -> None:
        """Show predictions of the version that another window shows, which has held the same instances."""
        self.leading, self._shown = other.leading, other._shown

    def enter(self, answered: Answered) -> Entered:
        """Take answers, and let the oldest instances beyond W go."""
        rows, versions, lengths = answered
        if not len(rows.times):  # answers without instances neither lead nor interrupt
            return Entered(rows, False)
        if set(versions) == {self.version}:  # as it nearly always is
            self.leading.went_on(len(rows.times))
            self.add(rows, self._shown)
            return Entered(rows, False)
        of_each, begun = self.leading.take_all(versions, lengths)
        periods = np.repeat(np.array(of_each, np.int64), lengths)
        self.add(rows, periods)
        if begun is not None:
            self._shown = self.leading.period
            self.counts = self.recount()
            self.revision += 1
            periods[:begun] = NOBODY
        return Entered(rows._replace(cells=self._as_shown(rows.cells, periods)), begun is not None)

    def enter_again(self, answered: Answered) -> None:
        """Take answers that `leading` knows already."""
        of_each = [self.leading.period_of(version) for version in answered.versions]
        self.add(answered.rows, np.repeat(np.array(of_each, np.int64), answered.lengths))

    def add(self, rows: Rows, periods: NDArray[np.int64] | int = NOBODY) -> None:
        """Take n instances of these versions' periods, and let the oldest beyond W go."""
        rows = rows.chosen(slice(-self.size, None))
        if not isinstance(periods, int):
            periods = periods[-self.size :]
        count = len(rows.times)
        if not count:
            return
        slots: slice | NDArray[np.intp] = slice(self._next, self._next + count)
        if self._next + count > self.size:
            slots = (self._next + np.arange(count)) % self.size
        overwritten = self._ring.cells[slots]
        free = self.size - self.filled
        if free < count:
            self.counts -= self._count(self._as_shown(overwritten[free:], self._periods[slots][free:]))
        self._periods[slots] = periods
        all_shown = isinstance(periods, int) and periods == self._shown
        self.counts += self._count(rows.cells if all_shown else self._as_shown(rows.cells, self._periods[slots]))
        ring = self._ring
        ring.cells[slots], ring.times[slots] = rows.cells, rows.times
        ring.requests[slots], ring.places[slots] = rows.requests, rows.places
        self._next = (self._next + count) % self.size
        self.filled = min(self.size, self.filled + count)
        self.revision += 1

    def rows(self) -> Rows:
        """Its instances, the oldest first; predictions that are not shown are absent."""
        order = self._order()
        rows = self._ring.chosen(order)
        return rows._replace(cells=self._as_shown(rows.cells, self._periods[order]))

    def batched(self) -> bool:
        """Whether some of its instances came together, in one request."""
        return bool(self._ring.places[: self.filled].any())

    def recount(self) -> NDArray[np.int64]:
        """The counts worked out anew from the ring: the test of `counts`."""
        held = slice(self.filled)
        return self._count(self._as_shown(self._ring.cells[held], self._periods[held]))

    def oldest_time(self) -> float | None:
        """The event time, in seconds since 1970, of the instance that has been in it longest; None if it is empty."""
        return float(self._ring.times[self._next if self.filled == self.size else 0]) if self.filled else None

    def newest_time(self) -> float | None:
        """The event time of the instance that came last; None if it is empty."""
        return float(self._ring.times[self._next - 1]) if self.filled else None

    def bins(self) -> NDArray[np.int64]:
        """The counts in the bins of all columns, one column after the other (`Layout.bin_starts`)."""
        bins: NDArray[np.int64] = self.counts[self.layout.usual] + self.counts[self.layout.unseen]
        return bins

    def kept(self) -> dict[str, Any]:
        """What survives a restart: its instances, the oldest first, each part as bytes; and whose predictions."""
        order = self._order()
        rows = self._ring.chosen(order)
        return {
            "size": self.size,
            "leading": self.leading.kept(),
            "periods": self._periods[order].astype("<i8").tobytes(),
            "cells": rows.cells.tobytes(),
            "times": rows.times.astype("<f8").tobytes(),
            "requests": rows.requests.astype("<u8").tobytes(),
            "places": rows.places.astype("<i4").tobytes(),
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave under the same size and layout; one without columns takes any, and lets cells go.

        Raises ValueError for anything else.
        """
        layout = self.layout
        times = np.frombuffer(kept["times"], "<f8")
        cells = kept["cells"] if len(layout.sizes) else b""
        rows = Rows(
            np.frombuffer(cells, layout.dtype).reshape(len(times), len(layout.sizes)),
            times,
            np.frombuffer(kept["requests"], "<u8"),
            np.frombuffer(kept["places"], "<i4"),
        )
        periods = np.frombuffer(kept["periods"], "<i8")
        lengths = {len(part) for part in (times, rows.requests, rows.places, periods)}
        if kept["size"] != self.size or lengths != {len(times)} or len(times) > self.size:
            raise ValueError("what is kept is of another window")
        if (rows.cells > absent_cell(0) + 2 * layout.sizes).any() or (rows.cells < 0).any():
            raise ValueError("what is kept is of other columns")
        self.leading.restore(kept["leading"])
        self._shown = self.leading.period
        self.filled = self._next = 0
        self.counts[:] = 0
        self.add(rows, periods)
        self.revision += 1

    def _order(self) -> slice | NDArray[np.intp]:
        """Where its instances lie, the oldest first."""
        return slice(self.filled) if self.filled < self.size else (self._next + np.arange(self.size)) % self.size

    def _as_shown(self, cells: NDArray[np.integer[Any]], periods: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """Cells without the predictions of versions that are not shown; the cells themselves where there are none."""
        if not self._predicted:
            return cells
        others = np.flatnonzero(periods != self._shown)
        if len(others):
            cells = cells.copy()
            cells[others[:, None], self._predicted] = self._absent
        return cells

    def _count(self, cells: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        flat = (cells + self.layout.starts).ravel()
        counts: NDArray[np.int64] = np.bincount(flat, minlength=self.layout.total)
        return counts
