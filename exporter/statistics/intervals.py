"""What a share, or a preference of one of two models, may be by chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, ndtri

from exporter.statistics.divergence import Floats


def wilson_interval(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """The lower and upper bound of a share: Wilson's score interval, in [0, 1]; (0, 1) without a trial.

    (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n), p = successes / trials, n trials, z the normal quantile of
    (1 + confidence)/2. Numbers or arrays of one shape. Exactly 0 below at no success, exactly 1 above at no failure.

    Source: Wilson, Journal of the American Statistical Association 22, 1927.

    >>> [round(float(bound), 4) for bound in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    hits, n = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    z = float(ndtri((1 + confidence) / 2))
    some = np.maximum(n, 1.0)
    middle = hits + z * z / 2
    reach = z * np.sqrt(hits * (n - hits) / some + z * z / 4)
    lower = np.where((n > 0) & (hits > 0), (middle - reach) / (some + z * z), 0.0)
    upper = np.where((n > 0) & (hits < n), (middle + reach) / (some + z * z), 1.0)
    return np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)


def sign_test(positive: int, negative: int) -> float:
    """The two-sided exact p-value, in (0, 1], that as many differences are positive as are negative; zeros left out.

    min(1, 2 · P(X ≤ min(positive, negative))), X binomial over both with ½; 1 without a difference.

    Source: Conover, Practical Nonparametric Statistics, 3rd edition, section 3.4.

    >>> sign_test(9, 1)
    0.021484375
    """
    trials = positive + negative
    return min(1.0, 2.0 * float(bdtr(min(positive, negative), trials, 0.5))) if trials else 1.0


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact p-value, two-sided, in (0, 1], that two models are right equally often on the same requests.

    Of the requests on which one model alone is right, the share of either is ½: `sign_test` of the two numbers. Where
    both are right or both wrong nothing is learnt.

    Source: McNemar, Psychometrika 12, 1947, with binomial probabilities instead of χ².
    """
    return sign_test(only_first, only_second)
