"""Windows compared: production with the reference and with the shadow, for all tenants of a model at once.

What was worked out of a window is kept until the window changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from evidence.document import ALL, LEVELS, Against
from exporter.showing.batched import spreads
from exporter.statistics.batches import design_effect
from exporter.statistics.divergence import js_divergence_by_column, psi_by_column
from exporter.statistics.significance import (
    critical_by_column,
    levels,
    merged_groups,
    pvalue_by_column,
    significant,
)
from exporter.windows.measured import OTHER, Measured
from exporter.windows.models import ModelState
from exporter.windows.window import Layout, Window

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Compared(NamedTuple):
    """The production window of one tenant against something, over the columns with a valid value on both sides."""

    tenant: str
    against: Against
    columns: NDArray[np.intp]
    """The positions of the columns that are compared, among the model's; the arrays below have one value for each."""
    psi: Floats
    js: Floats
    critical: Floats
    pvalue: Floats
    levels: NDArray[np.intp]
    """0 none, 1 moderate, 2 large, 3 severe."""
    instances: Ints
    """Valid values in the production window, and on the other side."""
    other_instances: Ints
    effects: Floats
    """The design effect f, by which χ² is divided where it is above 1."""
    shared: int
    """How many instances stand in both windows."""
    production: Ints
    """The counts in all bins of all columns (`Layout.bin_starts`), and those of the other side."""
    other: Ints


class Comparer:
    """Compares the windows of models, and remembers what it found until they change."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[ModelState, dict[tuple[str, Against], _Found]] = WeakKeyDictionary()

    def of(self, state: ModelState) -> list[Compared]:
        """Every comparison of a model: each tenant with the reference and, where there is one, with the shadow."""
        measured = state.measured
        if not measured.columns.names:
            return []
        found = self._found.setdefault(state, {})
        every = {side.key: side for side in _sides(state)}
        for gone in found.keys() - every.keys():  # another reference may leave room for fewer tenants
            del found[gone]
        sides = [side for key, side in every.items() if key not in found or found[key].marks != side.marks]
        for side, compared in zip(sides, _compare(measured, sides), strict=True):
            found[side.key] = _Found(side.marks, compared)
        return [each.compared for each in found.values()]


class _Found(NamedTuple):
    marks: tuple[int, int]
    compared: Compared


class _Side(NamedTuple):
    """What is to be compared, and the revisions of the windows that it is about."""

    tenant: str
    against: Against
    production: Window
    shadow: Window | None

    @property
    def key(self) -> tuple[str, Against]:
        return self.tenant, self.against

    @property
    def marks(self) -> tuple[int, int]:
        return self.production.revision, -1 if self.shadow is None else self.shadow.revision


def _sides(state: ModelState) -> Iterator[_Side]:
    shadowed = state.measured.model.shadow is not None
    for tenant, production in state.roles["production"].windows.items():
        yield _Side(tenant, "reference", production, None)
        if shadowed:
            yield _Side(tenant, "shadow", production, state.roles["shadow"].windows[tenant])


def _compare(measured: Measured, sides: Sequence[_Side]) -> Iterator[Compared]:
    """All of them in one go: S sides of F columns each are S·F columns."""
    if not sides:
        return
    columns = measured.columns
    layout, count = columns.layout, len(columns.names)
    ours = [side.production.bins() for side in sides]
    others = [columns.reference if side.shadow is None else side.shadow.bins() for side in sides]
    a, b = np.concatenate(ours), np.concatenate(others)
    total = int(layout.sizes.sum())
    starts = (np.arange(len(sides))[:, None] * total + layout.bin_starts).ravel()
    n, m = np.add.reduceat(a, starts), np.add.reduceat(b, starts)
    both = [_shared(layout, columns.predicted, side) for side in sides]
    shared = np.concatenate([per_column for _, per_column in both])
    groups = merged_groups(a, b, starts)
    effects = design_effect(n, m, *spreads(layout, [(side.production, side.shadow) for side in sides], groups))
    psi, js = psi_by_column(a, b, starts), js_divergence_by_column(a, b, starts)
    alpha = measured.model.drift.alpha
    critical = critical_by_column(n, m, shared, np.tile(layout.sizes, len(sides)), alpha)
    pvalues = pvalue_by_column(a, b, starts, shared, effects, groups)
    tested = (n > 0) & (m > 0)
    for number, side in enumerate(sides):
        mine = slice(number * count, (number + 1) * count)
        positions = np.flatnonzero(tested[mine])
        at = positions + number * count
        thresholds = [measured.thresholds[side.tenant][level] for level in LEVELS]
        yield Compared(
            side.tenant,
            side.against,
            positions,
            psi[at],
            js[at],
            critical[at],
            pvalues[at],
            levels(psi[at], significant(pvalues[at], alpha), thresholds),
            n[at],
            m[at],
            effects[at],
            both[number][0],
            ours[number],
            others[number],
        )


def _shared(layout: Layout, predicted: Sequence[int], side: _Side) -> tuple[int, Ints]:
    """How many instances stand in both windows, and of each column with a valid value in both.

    The two models' predictions are two values, and so none of theirs is shared.
    """
    none = np.zeros(len(layout.sizes), np.int64)
    if side.shadow is None or not side.shadow.filled or not side.production.filled:
        return 0, none
    ours, theirs = side.production.rows(), side.shadow.rows()
    _, first, second = np.intersect1d(ours.identities(), theirs.identities(), return_indices=True)
    valid = (ours.cells[first] < 2 * layout.sizes) & (theirs.cells[second] < 2 * layout.sizes)
    per_column = valid.sum(axis=0)
    per_column[list(predicted)] = 0
    return len(first), per_column


def drifted_tenants(compared: Sequence[Compared]) -> list[str]:
    """The named tenants with a column at `large` or beyond against the reference."""
    return [
        each.tenant
        for each in compared
        if each.against == "reference" and each.tenant not in {ALL, OTHER} and (each.levels >= _LARGE).any()
    ]


_LARGE: Final = LEVELS.index("large") + 1
