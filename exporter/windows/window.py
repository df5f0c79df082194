"""The last W instances of one (model, tenant, role): a ring of cells, and how often each cell stands in it.

An instance costs O(columns) once, when it comes, and once when it goes; reading costs arithmetic over counts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


class Window:
    """A ring of W instances by F columns, with running counts that always equal a recount."""

    def __init__(self, layout: Layout, size: int) -> None:
        self.layout = layout
        self.size = size
        self.filled = 0
        """How many instances it holds, at most `size`."""
        self.counts: NDArray[np.int64] = np.zeros(layout.total, np.int64)
        self.version: str | None = None
        """Whose predictions it holds: that of the last instance."""
        self.revision = 0
        """Another number after each change, for whoever keeps what was worked out of a window."""
        self._next = 0
        self._ring = Rows(
            np.empty((size, len(layout.sizes)), layout.dtype),
            np.empty(size),
            np.empty(size, np.uint64),
            np.empty(size, np.int32),
        )

    def add(self, rows: Rows) -> None:
        """Take n instances, and let the oldest beyond W go."""
        rows = rows.chosen(slice(-self.size, None))
        count = len(rows.times)
        if not count:
            return
        slots: slice | NDArray[np.intp] = slice(self._next, self._next + count)
        if self._next + count > self.size:
            slots = (self._next + np.arange(count)) % self.size
        overwritten = self._ring.cells[slots]
        free = self.size - self.filled
        if free < count:
            self.counts -= self._count(overwritten[free:])
        self.counts += self._count(rows.cells)
        ring = self._ring
        ring.cells[slots], ring.times[slots] = rows.cells, rows.times
        ring.requests[slots], ring.places[slots] = rows.requests, rows.places
        self._next = (self._next + count) % self.size
        self.filled = min(self.size, self.filled + count)
        self.revision += 1

    def restart(self, column: int) -> None:
        """Forget what one column holds; the instances stay, as if nobody had been asked for it."""
        layout = self.layout
        start, absent = int(layout.starts[column]), int(layout.absent[column])
        self._ring.cells[: self.filled, column] = absent - start
        self.counts[start : absent + 1] = 0
        self.counts[absent] = self.filled
        self.revision += 1

    def rows(self) -> Rows:
        """Its instances, the oldest first."""
        if self.filled < self.size:
            return self._ring.chosen(slice(self.filled))
        return self._ring.chosen((self._next + np.arange(self.size)) % self.size)

    def batched(self) -> bool:
        """Whether some of its instances came together, in one request."""
        return bool(self._ring.places[: self.filled].any())

    def recount(self) -> NDArray[np.int64]:
        """The counts worked out anew from the ring: the test of `counts`."""
        return self._count(self._ring.cells[: self.filled])

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
        rows = self.rows()
        return {
            "size": self.size,
            "version": self.version,
            "cells": rows.cells.tobytes(),
            "times": rows.times.astype("<f8").tobytes(),
            "requests": rows.requests.astype("<u8").tobytes(),
            "places": rows.places.astype("<i4").tobytes(),
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave under the same layout and size. Raises ValueError for anything else."""
        layout = self.layout
        times = np.frombuffer(kept["times"], "<f8")
        rows = Rows(
            np.frombuffer(kept["cells"], layout.dtype).reshape(len(times), len(layout.sizes)),
            times,
            np.frombuffer(kept["requests"], "<u8"),
            np.frombuffer(kept["places"], "<i4"),
        )
        if kept["size"] != self.size or not len(times) == len(rows.requests) == len(rows.places) <= self.size:
            raise ValueError("what is kept is of another window")
        if (rows.cells > absent_cell(0) + 2 * layout.sizes).any() or (rows.cells < 0).any():
            raise ValueError("what is kept is of other columns")
        self.filled = self._next = 0
        self.counts[:] = 0
        self.add(rows)
        self.version = kept["version"]
        self.revision += 1

    def _count(self, cells: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        flat = (cells + self.layout.starts).ravel()
        counts: NDArray[np.int64] = np.bincount(flat, minlength=self.layout.total)
        return counts
