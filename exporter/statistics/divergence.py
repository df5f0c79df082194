"""How far two samples lie apart, from their counts in the same B bins.

Both statistics smooth with Jeffreys' ½: of counts a, n in all, p = (a + ½) / (n + B/2). So an empty bin is not an
infinity, and how large the value gets depends on the counts and not on a floor that somebody chose.

The `_by_column` forms take many columns at once: their counts one after the other, and where each begins.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Starts: TypeAlias = NDArray[np.intp]


def psi(a: ArrayLike, b: ArrayLike) -> float:
    """The population stability index: Σ (p - q) · ln(p / q) over B bins, in nats.

    `a` and `b` are B counts each (n and m in all); p = (a + ½)/(n + B/2), q likewise. At least 0, without an upper
    bound, symmetric; exactly 0 for identical counts and for one bin or none. By convention 0.1 is a moderate shift and
    0.2 a large one. An empty sample counts as uniform. Raises ValueError for counts that are negative or not finite,
    and for unequal lengths.

    Source: Yurdakul and Naranjo, Journal of Risk Model Validation 14(4), 2020. Smoothing: Jeffreys' prior.

    >>> psi([10, 20, 30], [10, 20, 30])
    0.0
    >>> round(psi([0, 1], [1, 0]), 4)
    1.0986
    """
    return _single(psi_by_column, a, b)


def js_divergence(a: ArrayLike, b: ArrayLike) -> float:
    """The Jensen-Shannon divergence in bits: ½ KL(p‖r) + ½ KL(q‖r), r = (p + q) / 2, logarithms to base 2.

    It is the divergence and not its square root, the distance, which `scipy.spatial.distance.jensenshannon` and most
    monitors give. `a` and `b` are B counts each, smoothed as in `psi`. In [0, 1], symmetric, exactly 0 for identical
    counts and for one bin or none, and 1 in the limit of large samples without a common bin. Raises as `psi` does.

    Source: Lin, IEEE Transactions on Information Theory 37(1), 1991. Smoothing: Jeffreys' prior.

    >>> js_divergence([5, 5], [5, 5])
    0.0
    """
    return _single(js_divergence_by_column, a, b)


def psi_by_column(a: Counts, b: Counts, starts: Starts) -> Floats:
    """`psi` of each of F columns: `a` and `b` hold their counts in a row, `starts` (F) where each column begins."""
    return np.maximum(_sums(psi_terms(a, b, starts), starts), 0.0)


def psi_terms(a: Counts, b: Counts, starts: Starts) -> Floats:
    """What each bin of F columns adds to `psi_by_column`: (p - q) · ln(p / q), never negative."""
    p, q = smoothed(a, starts), smoothed(b, starts)
    # A difference of logarithms: exchanging the samples changes both factors' signs and nothing else.
    terms: Floats = (p - q) * (np.log(p) - np.log(q))
    return terms


def js_divergence_by_column(a: Counts, b: Counts, starts: Starts) -> Floats:
    """`js_divergence` of each of F columns, laid out as for `psi_by_column`."""
    p, q = smoothed(a, starts), smoothed(b, starts)
    log_r = np.log2((p + q) / 2)
    terms = p * (np.log2(p) - log_r) + q * (np.log2(q) - log_r)
    return np.clip(_sums(terms, starts) / 2, 0.0, 1.0)


def smoothed(counts: Counts, starts: Starts) -> Floats:
    """The proportions of each column's B bins with Jeffreys' ½, above 0 and with sum 1: (a + ½)/(n + B/2)."""
    bins = np.diff(starts, append=len(counts))
    totals = _sums(counts, starts) + bins / 2
    return (counts + 0.5) / np.repeat(totals, bins)


def _sums(values: NDArray[np.generic], starts: Starts) -> Floats:
    """The sum of each column's values."""
    return np.add.reduceat(values, starts, dtype=np.float64) if len(starts) else np.empty(0)


def _single(statistic: object, a: ArrayLike, b: ArrayLike) -> float:
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"both samples need one count for each bin, got shapes {first.shape} and {second.shape}")
    if not all(np.isfinite(counts).all() and (counts >= 0).all() for counts in (first, second)):
        raise ValueError("counts must be finite and not negative")
    if not len(first):
        return 0.0
    return float(statistic(first, second, np.array([0]))[0])  # type: ignore[operator]
