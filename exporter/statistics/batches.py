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
    _, request = np.unique(requests, return_inverse=True)
    nowhere = int(groups.sizes.sum())
    places = np.where(bins < 0, nowhere, groups.of_bin[np.maximum(bins, 0)]) if bins.size else bins
    return spread_by_group(places, request, groups)


def spread_by_group(places: NDArray[np.integer], request: NDArray[np.integer], groups: Groups) -> Floats:
    """`spread_by_column` of values whose groups are known already.

    `places` is n by F: each instance's group among those of all columns, or, for a value that is in none, the number of
    groups. `request` numbers the requests from 0 on, for each of the n instances.
    """
    if not len(groups.sizes):
        return np.empty(0)
    total = int(groups.sizes.sum())
    carried = np.bincount(request)
    alone = carried[request] == 1
    batches = int((carried > 1).sum())
    single = np.bincount(places[alone].ravel(), minlength=total + 1)[:total].astype(np.float64)
    numbers = (np.cumsum(carried > 1) - 1)[request[~alone]]
    flat = places[~alone] + numbers[:, None] * (total + 1)
    counts = np.bincount(flat.ravel(), minlength=batches * (total + 1)).reshape(batches, total + 1)[:, :total]
    # Of those alone each is its own square.
    of_group, squares = single + counts.sum(0), single + np.einsum("rg,rg->g", counts, counts)
    valid = np.add.reduceat(of_group, groups.starts)
    carried_squares = np.add.reduceat(single, groups.starts)
    if batches:
        sizes = np.add.reduceat(counts, groups.starts, axis=1)
        carried_squares = carried_squares + np.einsum("rf,rf->f", sizes, sizes)
    # Multiplied out: Σ_g Σ_r c_rg² / p_g - Σ_r s_r², where a group without an instance adds nothing.
    weighted = squares * np.repeat(valid, groups.sizes) / np.maximum(of_group, 1)
    told = (groups.sizes > 1) & (valid > 0)
    above = np.add.reduceat(weighted, groups.starts) - carried_squares
    spread: Floats = np.where(told, above / np.where(told, valid * (groups.sizes - 1), 1), 1.0)
    return spread


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
