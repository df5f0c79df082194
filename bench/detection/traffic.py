"""Columns of synthetic traffic: shapes, ways in which requests hang together, and shifts.

Every value comes from a latent standard normal number: a pattern makes those depend on each other, a shape turns them
into values, and a shift changes them on the way.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

from reference.columns import bin_index, categorical_column, numeric_column
from reference.profile import Binning

Chance: TypeAlias = np.random.Generator
Values: TypeAlias = NDArray[np.float64]
Bins: TypeAlias = NDArray[np.int64]

REFERENCE_ROWS: Final = 10_000
BATCH: Final = 10
_WITHIN: Final = 0.5
_AUTOREGRESSION: Final = 0.6
_DAY: Final = 20_000
_WAVE: Final = 0.3


class Shape(NamedTuple):
    """How latent numbers become values; categories are whole numbers from 0 on."""

    name: str
    numeric: bool
    values: Callable[[Values], Values]


def _student(latent: Values) -> Values:
    """Student's t with two degrees of freedom, whose quantile function is known in closed form."""
    share = np.clip(ndtr(latent), 1e-15, 1 - 1e-15)
    return np.asarray((2 * share - 1) / np.sqrt(2 * share * (1 - share)))


def _shares(categories: int = 30) -> Values:
    weights = 1 / np.arange(1, categories + 1)
    return np.asarray(weights / weights.sum())


def _categories(shares: Values) -> Callable[[Values], Values]:
    ends = np.cumsum(shares)[:-1]
    return lambda latent: np.searchsorted(ends, ndtr(latent), side="right").astype(np.float64)


def _moved(share: float) -> Callable[[Values], Values]:
    """So much of the traffic goes from the commonest category to the tenth."""
    shares = _shares()
    shares[0] -= share
    shares[9] += share
    return _categories(shares)


def _identity(latent: Values) -> Values:
    return latent


SHAPES: Final = {
    shape.name: shape
    for shape in (
        Shape("normal", True, _identity),
        Shape("log-normal", True, np.exp),
        Shape("Student's t, 2", True, _student),
        Shape("categories", False, _categories(_shares())),
    )
}


class Shift(NamedTuple):
    """A change of one shape: what it is called, and the values of latent numbers after it."""

    shape: str
    name: str
    values: Callable[[Values], Values]


SHIFTS: Final = (
    Shift("normal", "mean + 0.25 sd", lambda latent: latent + 0.25),
    Shift("normal", "mean + 0.5 sd", lambda latent: latent + 0.5),
    Shift("normal", "mean + 1 sd", lambda latent: latent + 1.0),
    Shift("normal", "variance by 1.5", lambda latent: latent * math.sqrt(1.5)),
    Shift("log-normal", "log-mean + 0.25", lambda latent: np.exp(latent + 0.25)),
    Shift("log-normal", "log-mean + 0.5", lambda latent: np.exp(latent + 0.5)),
    Shift("Student's t, 2", "location + 0.5", lambda latent: _student(latent) + 0.5),
    Shift("Student's t, 2", "location + 1", lambda latent: _student(latent) + 1.0),
    Shift("categories", "10 % move", _moved(0.1)),
    Shift("categories", "20 % move", _moved(0.2)),
)


def independent(chance: Chance, requests: int) -> Values:
    """Latent numbers of requests that have nothing to do with each other."""
    return chance.normal(size=requests)


def batched(chance: Chance, requests: int) -> Values:
    """Batches of ten instances, with a correlation of ½ within each."""
    common = np.repeat(chance.normal(size=-(-requests // BATCH)), BATCH)[:requests]
    return np.asarray(math.sqrt(_WITHIN) * common + math.sqrt(1 - _WITHIN) * chance.normal(size=requests))


def autocorrelated(chance: Chance, requests: int) -> Values:
    """An autoregression of order one with coefficient 0.6."""
    noise = chance.normal(size=requests) * math.sqrt(1 - _AUTOREGRESSION**2)
    noise[:1] /= math.sqrt(1 - _AUTOREGRESSION**2)
    return np.asarray(lfilter([1.0], [1.0, -_AUTOREGRESSION], noise))


def daily_wave(chance: Chance, requests: int) -> Values:
    """A mean that goes up and down by 0.3 sd in 20,000 requests, each column at its own hour."""
    hours = np.arange(requests) / _DAY + chance.random()
    return _waving(chance, hours)


def _waving(chance: Chance, hours: Values) -> Values:
    moved = chance.normal(size=len(hours)) + _WAVE * np.sin(2 * math.pi * hours)
    return np.asarray(moved / math.sqrt(1 + _WAVE**2 / 2))


def all_day(chance: Chance, requests: int) -> Values:
    """What a reference of whole days holds of the wave."""
    return _waving(chance, chance.random(requests))


PATTERNS: Final = {
    "independent": (independent, independent),
    "batches of ten, correlation 0.5": (batched, independent),
    "autocorrelated, 0.6": (autocorrelated, independent),
    "a daily wave of 0.3 sd": (daily_wave, all_day),
}
"""By name the live traffic and the rows of its reference."""


class ReferenceColumn:
    """One column with a reference of its own: its rows, and the bins that the product makes of them."""

    def __init__(self, shape: Shape, latent: Values) -> None:
        self.shape: Final = shape
        self.values: Final = shape.values(latent)
        if shape.numeric:
            numeric = numeric_column(self.values, 0, 0, Binning())
            assert numeric is not None, "there are rows"
            self.counts: Bins = np.array(numeric.counts, np.int64)
            self._edges = np.array(numeric.edges)
        else:
            rows = Counter(f"{int(value):03}" for value in self.values)
            categorical = categorical_column(rows, "string", 0)
            assert categorical is not None, "there are rows"
            self.counts = np.array(categorical.counts, np.int64)
            self._bin_of = np.full(1_000, len(categorical.monitored), np.int64)
            self._bin_of[[int(name) for name in categorical.monitored]] = np.arange(len(categorical.monitored))

    def bins(self, values: Values) -> Bins:
        """The bin of each of n values."""
        if self.shape.numeric:
            return bin_index(values, self._edges, False)
        return np.asarray(self._bin_of[values.astype(np.int64)])


def reference_column(shape: Shape, chance: Chance, rows: Callable[[Chance, int], Values]) -> ReferenceColumn:
    """A column of this shape with its own draw of a reference."""
    return ReferenceColumn(shape, rows(chance, REFERENCE_ROWS))
