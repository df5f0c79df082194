"""How far the two models agree: the figures of a model's pairs."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evidence import document
from evidence.document import ALL
from exporter.statistics.intervals import sign_test, wilson_interval
from exporter.windows.answers import NOTHING, NUMBER
from exporter.windows.models import ModelState
from exporter.windows.pairs import Held
from reference.profile import Column, Numeric

QUANTILES: Final = (0.05, 0.5, 0.95)


class Agreement(NamedTuple):
    """The pairs of one instant in figures."""

    pairs: int
    sampled: int
    """Sampled production instances in the ring: those of which a pair could be."""
    mismatched: int
    disagreement: tuple[document.Disagreement, ...]
    """The whole model first, then its tenants; of each that has a pair in which both said something."""
    delta: dict[str, float]
    """Quantiles of shadow - production, by their names; empty without a pair of numbers."""
    sign_pvalue: float | None

    @property
    def completeness(self) -> float | None:
        """The share of the sampled instances that found their partner."""
        return self.pairs / self.sampled if self.sampled else None


def agreement(state: ModelState) -> Agreement:
    """The figures of a model's pairs."""
    held, measured = state.pairs.held(), state.measured
    delta = held.delta()
    known, differs = disagreeing(held, measured.prediction, measured.model.pairs.tolerance)
    quantiles = {}
    if len(delta):
        with np.errstate(over="ignore", invalid="ignore"):  # between numbers as far apart as floats can be
            found = np.quantile(delta, QUANTILES).tolist()
        quantiles = {f"{at:g}": value for at, value in zip(QUANTILES, found, strict=True) if np.isfinite(value)}
    return Agreement(
        pairs=len(held.tenants),
        sampled=held.sampled,
        mismatched=held.mismatched,
        disagreement=_by_tenant(measured.tenants, held.tenants[known], differs[known]),
        delta=quantiles,
        sign_pvalue=sign_test(int((delta > 0).sum()), int((delta < 0).sum())) if len(delta) else None,
    )


def disagreeing(held: Held, column: Column | None, tolerance: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of n pairs, in which both models said something comparable, and in which they disagree.

    Classes that differ; lists of probabilities whose greatest stand in different places; predictions of different
    kinds; numbers that differ by more than `tolerance` times the reference's range of the prediction, from its 5 % to
    its 95 % quantile. Where the reference holds categories, numbers that differ at all. Without a reference of the
    prediction so do whole numbers; as soon as one pair has another number, how far apart is far is not known, and of
    the pairs of numbers nothing is said.
    """
    (ours, theirs), (first, second) = held.sorts, held.numbers
    known = (ours != NOTHING) & (theirs != NOTHING)
    numbers = (ours == NUMBER) & (theirs == NUMBER)
    differs = (ours != theirs) | (held.names[0] != held.names[1])
    far = 0.0
    if isinstance(column, Numeric):
        far = tolerance * (column.high - column.low)
    elif column is None and any((np.floor(side[numbers]) != side[numbers]).any() for side in (first, second)):
        known &= ~numbers
    with np.errstate(over="ignore"):
        differs[numbers] = np.abs(second[numbers] - first[numbers]) > far
    return known, differs


def _by_tenant(
    tenants: tuple[str, ...], whose: NDArray[np.int32], differs: NDArray[np.bool_]
) -> tuple[document.Disagreement, ...]:
    """`whose` holds the position of each pair's tenant; that of the whole model is never among them."""
    trials = np.bincount(whose[whose >= 0], minlength=len(tenants))
    hits = np.bincount(whose[(whose >= 0) & differs], minlength=len(tenants))
    everybody = tenants.index(ALL)
    trials[everybody], hits[everybody] = len(whose), np.count_nonzero(differs)
    lower, upper = wilson_interval(hits, trials)
    parts = (trials.tolist(), hits.tolist(), lower.tolist(), upper.tolist())
    return tuple(
        document.Disagreement(tenant=tenant, pairs=n, ratio=k / n, lower=low, upper=high)
        for tenant, n, k, low, high in zip(tenants, *parts, strict=True)
        if n
    )
