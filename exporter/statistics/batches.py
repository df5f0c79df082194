"""What it costs certainty that instances come in batches: those of one request resemble each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from exporter.statistics.divergence import Floats
from exporter.statistics.significance import Groups


def spread_by_column(bins: NDArray[np.integer], requests: NDArray[np.integer], groups: Groups) -> Floats:
    """D of each of F columns: how much more a window's counts vary than those of as many independent instances.

    D = Σ_g Σ_r (c_rg - s_r p_g)² / p_g / (n(G - 1)): c_rg is how many instances of request r fall into the merged group
    g, s_r = Σ_g c_rg, n = Σ_r s_r, p_g = Σ_r c_rg / n. 1 where each request carries one instance, up to the size of
    the requests where all instances of one are alike. Exactly 1 for one group and for a column without a value.

    `bins` is n by F: each instance's bin among all bins (as `groups.of_bin` counts them), negative for a value that is
    in none. `requests` says which instances came together: n numbers, equal ones within a request.

    Source: Rao and Scott, Annals of Statistics 12(1), 1984, with the requests as clusters.
    """
    columns = bins.shape[1]
    total = int(groups.sizes.sum())
    _, request, carried = np.unique(requests, return_inverse=True, return_counts=True)
    alone = carried[request] == 1
    single = _counted(bins[alone], groups, np.zeros(int(alone.sum()), np.intp), 1, total)[0]
    batches, request = np.unique(request[~alone], return_inverse=True)
    counts = _counted(bins[~alone], groups, request, len(batches), total)
    # Of those alone each is its own square.
    of_group, squares = single + counts.sum(0), single + np.einsum("rg,rg->g", counts, counts)
    if not columns:
        return np.empty(0)
    valid = np.add.reduceat(of_group, groups.starts)
    carried_squares = np.add.reduceat(single, groups.starts)
    if len(batches):
        sizes = np.add.reduceat(counts, groups.starts, axis=1)
        carried_squares = carried_squares + np.einsum("rf,rf->f", sizes, sizes)
    # Multiplied out: Σ_g Σ_r c_rg² / p_g - Σ_r s_r², where a group without an instance adds nothing.
    weighted = squares * np.repeat(valid, groups.sizes) / np.maximum(of_group, 1)
    told = (groups.sizes > 1) & (valid > 0)
    above = np.add.reduceat(weighted, groups.starts) - carried_squares
    return np.where(told, above / np.where(told, valid * (groups.sizes - 1), 1), 1.0)


def design_effect(n: ArrayLike, m: ArrayLike, spread_a: ArrayLike, spread_b: ArrayLike = 1.0) -> Floats:
    """f = (D_a/n + D_b/m) / (1/n + 1/m): by how much χ² of two samples is too large, for their sizes and their D.

    `spread_b` is 1 for a reference, whose rows are independent. 1 where a sample is empty.

    >>> design_effect(1_000, 1_000, 3.0).tolist()
    2.0
    """
    first, second = np.asarray(n, np.float64), np.asarray(m, np.float64)
    some = (first > 0) & (second > 0)
    # Multiplied by nm.
    both = second * np.asarray(spread_a, np.float64) + first * np.asarray(spread_b, np.float64)
    return np.where(some, both / np.where(some, first + second, 1.0), 1.0)


def _counted(bins: NDArray[np.integer], groups: Groups, request: NDArray[np.intp], requests: int, total: int) -> Floats:
    """How many instances of each request fall into each group: requests by groups."""
    places = groups.of_bin[np.maximum(bins, 0)] + request[:, None] * total
    flat = places[bins >= 0]
    return np.bincount(flat, minlength=requests * total).reshape(requests, total).astype(np.float64)
