"""The early warning's formula: a CUSUM of the likelihood, whose alternative is estimated from what came just before.

S ← max(0, S + ln(p̂/q) - k) at each instance's bin: q is the reference's proportion of that bin, p̂ that of the HISTORY
valid instances before this one's block of BLOCK. Without drift ln(p̂/q) is negative on average; with drift it is the
divergence of what comes now from the reference, and S rises until it passes the limit.

Source: Page, Biometrika 41, 1954; Lorden and Pollak, Annals of Statistics 33(3), 2005, for the estimated alternative.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from exporter.statistics.divergence import Floats

HISTORY: Final = 400
"""Valid instances that tell p̂."""
BLOCK: Final = 10
"""p̂ changes only with each so many valid instances of a column, counted from the reference's start."""
PRIOR: Final = 50
"""The weight of q in p̂, in instances."""
PER_COLUMN: Final = 1e6


def log_ratio(count: ArrayLike, history: ArrayLike, proportion: ArrayLike) -> Floats:
    """ln(p̂/q) in nats: p̂ = (count + 50 q)/(history + 50), `count` of `history` instances in a bin of proportion q.

    >>> log_ratio(0, 0, 0.1).tolist()
    0.0
    >>> log_ratio(200, 400, 0.1).round(3).tolist()
    1.516
    """
    ratio = np.log(np.asarray(count) / np.asarray(proportion) + PRIOR) - np.log(np.asarray(history) + PRIOR)
    told: Floats = np.asarray(ratio, np.float64)
    return told


def allowance(bins: ArrayLike, rows: ArrayLike) -> Floats:
    """k = 0.01 + 2(B - 1)/m nats: what each instance of a column of B bins takes off S; m rows made its reference.

    The first part outweighs what an estimate finds in noise, the second what chance made of the reference.

    >>> allowance(12, 10_000).round(4).tolist()
    0.0122
    """
    told: Floats = 0.01 + 2 * (np.asarray(bins, np.float64) - 1) / np.maximum(rows, 1)
    return told


def limit(columns: int) -> float:
    """ln(10⁶ · columns): S beyond it warns; `columns` are all that the profile has, the prediction among them.

    >>> round(limit(20), 2)
    16.81
    """
    return math.log(PER_COLUMN * max(1, columns))
