"""How good a model's predictions were, once the truth is known. Every mean of nothing is NaN: nothing is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def accuracy(predicted: ArrayLike, truth: ArrayLike) -> float:
    """The share of predictions equal to the truth, in [0, 1]: two arrays of n classes.

    >>> accuracy(["a", "b"], ["a", "a"])
    0.5
    """
    return _mean(np.asarray(predicted) == np.asarray(truth))


def absolute_error(predicted: ArrayLike, truth: ArrayLike) -> float:
    """The mean of |prediction - truth| over n numbers, at least 0, in the prediction's unit.

    >>> absolute_error([1.0, 2.0], [1.5, 2.0])
    0.25
    """
    return _mean(np.abs(np.asarray(predicted, np.float64) - np.asarray(truth, np.float64)))


def brier_score(probability: ArrayLike, happened: ArrayLike) -> float:
    """The mean of (p - y)², in [0, 1]: n probabilities, and whether it happened (y is 1 or 0).

    0 is certain and right, ¼ is "½ always", 1 is certain and wrong.

    Source: Brier, Monthly Weather Review 78(1), 1950, halved as is usual for two classes.

    >>> brier_score([1.0, 0.5], [True, False])
    0.125
    """
    return _mean((np.asarray(probability, np.float64) - np.asarray(happened, np.float64)) ** 2)


def _mean(values: NDArray[np.generic]) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")
