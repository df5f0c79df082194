"""How large is large: what PSI chance alone makes, and whether a column's counts are more than chance.

The `_by_column` forms take F columns at once. Counts come as in `divergence`: flat, with `starts` saying where each
column begins. `n` and `m` are a column's valid values in the two windows and `shared` those that stand in both, k:
v = 1/n + 1/m - 2k/(nm) is the variance that the two samples' difference has left.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, chdtri

from exporter.statistics.divergence import Counts, Floats, Starts

EXPECTED: Final = 5
"""Each group of bins expects at least so many values of both samples."""


class Groups(NamedTuple):
    """Neighbouring bins of F columns, merged until each expects enough."""

    of_bin: NDArray[np.intp]
    """The group of each bin, numbered through all columns."""
    starts: Starts
    """The first group of each column; F of them."""
    sizes: NDArray[np.intp]
    """G, the groups of each column; at least one."""


def critical_by_column(n: ArrayLike, m: ArrayLike, shared: ArrayLike, bins: ArrayLike, alpha: float) -> Floats:
    """The PSI that driftless columns stay below with probability 1 - alpha, in nats, at least 0.

    v times the 1 - alpha quantile of χ²(B - 1), over all B bins, merged or not.
    `n`, `m`, `shared` and `bins` (B) are numbers or F of them each. 0 where v ≤ 0 (both windows hold the same
    instances), for one bin or none, and where a sample is empty. What the Jensen-Shannon divergence stays below is
    this by 8 ln 2.

    Source: Yurdakul and Naranjo, Journal of Risk Model Validation 14(4), 2020; the shared instances are ours.

    >>> critical_by_column(1_000, 10_000, 0, 12, 1e-6).round(4).tolist()
    0.0538
    """
    sizes = np.asarray(bins, np.intp)
    different, which = np.unique(sizes, return_inverse=True)
    quantiles = np.where(different > 1, chdtri(np.maximum(different - 1, 1), alpha), 0.0)
    critical: Floats = np.maximum(_variance(n, m, shared), 0.0) * quantiles[which].reshape(sizes.shape)
    return critical


def pvalue_by_column(
    a: Counts,
    b: Counts,
    starts: Starts,
    shared: ArrayLike = 0,
    effect: ArrayLike = 1.0,
    groups: Groups | None = None,
) -> Floats:
    """The chance, without drift, of counts at least as unlike as these: Pearson's two-sample χ², in [0, 1].

    χ² = Σ (m·a - n·b)² / (nm(a + b)) over the G groups of `merged_groups` (which may be given, or is called), without
    smoothing; divided by n·m·v/(n + m) = 1 - 2k/(n + m) where the windows share k instances, and by the design effect f
    where it is above 1 (`exporter.statistics.batches`); then the upper tail of χ²(G - 1). `shared` and `effect` are
    numbers or F of them. Exactly 1 for one group, for v ≤ 0 and where a sample is empty.

    Source: Pearson's test of homogeneity; Rao and Scott, Journal of the American Statistical Association 76, 1981.

    >>> pvalue_by_column(np.array([30, 70, 5, 5]), np.array([50, 50, 9, 9]), np.array([0, 2])).round(5).tolist()
    [0.00389, 1.0]
    """
    if not len(starts):
        return np.empty(0)
    groups = merged_groups(a, b, starts) if groups is None else groups
    merged_a, merged_b = (np.bincount(groups.of_bin, counts, int(groups.sizes.sum())) for counts in (a, b))
    n, m = np.add.reduceat(merged_a, groups.starts), np.add.reduceat(merged_b, groups.starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        # As a difference of shares, so that identical shares give exactly 0.
        shares = merged_a / np.repeat(n, groups.sizes) - merged_b / np.repeat(m, groups.sizes)
        terms = np.repeat(n * m, groups.sizes) * shares**2 / (merged_a + merged_b)
        left = 1.0 - 2.0 * np.asarray(shared) / (n + m)
        statistic = np.add.reduceat(terms, groups.starts) / (left * np.maximum(1.0, effect))
    told = (groups.sizes > 1) & (left > 0) & (n > 0) & (m > 0)
    pvalues: Floats = np.where(told, chdtrc(np.maximum(groups.sizes - 1, 1), np.where(told, statistic, 0.0)), 1.0)
    return pvalues


def merged_groups(a: Counts, b: Counts, starts: Starts) -> Groups:
    """Bins merged from the left until both samples expect at least 5 under their pooled proportions.

    `a` and `b` are integers. What is left at a column's end joins its last group, or is its only one. Categories stand
    in the order of the profile, which is by count, so that the rare ones are merged with each other.

    >>> merged_groups(np.array([9, 2, 3, 9, 1]), np.array([9, 2, 3, 9, 1]), np.array([0])).of_bin.tolist()
    [0, 1, 1, 2, 2]
    """
    sizes = np.diff(starts, append=len(a))
    pooled = a + b
    n, m = (np.add.reduceat(counts, starts) if len(starts) else np.empty(0, np.int64) for counts in (a, b))
    smaller, enough = np.minimum(n, m), EXPECTED * (n + m)
    local = np.zeros(len(a), np.intp)
    complete, gathered = np.zeros(len(starts), np.intp), np.zeros(len(starts), np.int64)
    for position in range(int(sizes.max(initial=0))):
        columns = np.flatnonzero(sizes > position)
        bins = starts[columns] + position
        local[bins] = complete[columns]
        sums = gathered[columns] + pooled[bins]
        # In whole numbers, so that an expectation of exactly 5 is one.
        full = (sums * smaller[columns] >= enough[columns]) & (smaller[columns] > 0)
        gathered[columns] = np.where(full, 0, sums)
        complete[columns] += full
    groups = np.maximum(complete, 1)
    first: Starts = np.cumsum(groups) - groups
    return Groups(np.minimum(local, np.repeat(groups - 1, sizes)) + np.repeat(first, sizes), first, groups)


def significant(pvalues: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """Which of F p-values stay significant at `alpha` when all of them are looked at: Benjamini and Hochberg.

    Those up to the largest p₍ᵢ₎ ≤ alpha · i / F. Of the columns called significant, the share that are not is at most
    alpha on average. The columns are those of one (model, tenant, against).

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57(1), 1995.

    >>> significant([0.04, 0.01, 0.9], 0.05).tolist()
    [False, True, False]
    """
    values = np.asarray(pvalues, np.float64)
    ordered = np.sort(values)
    passing = np.flatnonzero(ordered <= alpha * np.arange(1, len(values) + 1) / max(1, len(values)))
    return values <= (ordered[passing[-1]] if len(passing) else -np.inf)


def levels(psi: ArrayLike, significant: ArrayLike, thresholds: ArrayLike) -> NDArray[np.intp]:
    """How many of the rising thresholds each column has reached: its PSI is above it, and it is significant.

    With thresholds (moderate, large, severe): 0 none, 1 moderate, 2 large, 3 severe, which includes those below.

    >>> levels([0.3, 0.3, 0.1, 0.4], [True, False, True, True], [0.1, 0.2, 0.35]).tolist()
    [2, 0, 0, 3]
    """
    reached: NDArray[np.intp] = np.searchsorted(np.asarray(thresholds), np.asarray(psi), side="left")
    return np.where(significant, reached, 0)


def _variance(n: ArrayLike, m: ArrayLike, shared: ArrayLike) -> Floats:
    """v, or 0 where a sample is empty."""
    first, second, both = (np.asarray(number, np.float64) for number in (n, m, shared))
    some = (first > 0) & (second > 0)
    # As one fraction: with n = m = k it is exactly 0.
    return np.where(some, (first + second - 2 * both) / np.where(some, first * second, 1.0), 0.0)
