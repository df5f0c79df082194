"""The phases of traffic, and what their drift must look like: worked out here, apart from the exporter.

The statistic is that of the design: bins from the reference alone, Jeffreys' ½, PSI = Σ (p - q) ln(p/q). It is written
a second time on purpose, so that the demo's expectation does not lean on the code that it puts to the test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from demo.flights import CATEGORICAL, FEATURES, NUMERIC, Flights, Halves

Kind = Literal["season", "shift", "scale", "category", "missing", "none"]
Counts: TypeAlias = NDArray[np.float64]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

DRIFTED_ABOVE: Final = 0.3
LEFT_ALONE_BELOW: Final = 0.1

MISSING_ABOVE: Final = 0.2
"""The share of missing values that a feature must reach when it goes missing, and stays below before."""

DEFAULT_FEATURE: Final = {"shift": "wind_speed", "scale": "wind_speed", "category": "carrier", "missing": "temp"}
DEFAULT_SIZE: Final = {"shift": 1.0, "scale": 1.609344, "category": 0.6, "missing": 0.5}
"""Of `shift`: standard deviations of the training half. Of `scale`: the factor (a mile in kilometres). Of `category`
and `missing`: the share of rows that lose their value."""

_SCALED: Final = tuple(name for name in NUMERIC if name != "precip")  # which is 0 nearly always, and stays so
_FITTING: Final = {"shift": NUMERIC, "scale": _SCALED, "category": CATEGORICAL, "missing": FEATURES}
_SIZES: Final[dict[str, tuple[Callable[[float], bool], str]]] = {
    "shift": (lambda size: size != 0, "a number of standard deviations, not 0"),
    "scale": (lambda size: size > 0 and size != 1, "a factor above 0, not 1"),
    "category": (lambda size: 0 < size <= 1, "a share above 0 and at most 1"),
    "missing": (lambda size: 0.25 <= size <= 1, "a share from 0.25, so that it shows, to 1"),
}
_BINS: Final = 10
_RANGE: Final = (0.05, 0.95)
_MAX_CATEGORIES: Final = 50
_MIN_CATEGORY_ROWS: Final = 20


@dataclass(frozen=True)
class Expectation:
    """What a phase must show: every feature's PSI over all its rows, and the lists that follow from it.

    `drifted`: above 0.3. `left_alone`: below 0.1. A feature between, and the prediction, is in neither. `missing`: null
    in more than a fifth of the rows, whatever its PSI, which the values that are left decide.
    """

    psi: dict[str, float]
    drifted: list[str]
    left_alone: list[str]
    missing: list[str] = field(default_factory=list)


def normal(halves: Halves, seed: int) -> Flights:
    """The traffic before the drift: the other half of January to March, shuffled by the seed."""
    return halves.traffic.shuffled(seed)


def drifted(kind: Kind, halves: Halves, seed: int, feature: str | None = None, size: float | None = None) -> Flights:
    """The flights of the drifted phase, shuffled by the seed.

    `season`: July's. All others are the normal ones, but for `feature`. `shift`: raised by `size` standard deviations.
    `scale`: `size` times as large, as when an upstream changes its unit. `category`: a share `size` of the rows has its
    commonest value, as when an upstream fills in a default. `missing`: such a share has none. `none`: as they are.
    Raises ValueError, one line, for a feature or size that does not fit the kind.
    """
    feature, size = check(kind, feature, size)
    rows = (halves.july if kind == "season" else halves.traffic).shuffled(seed + 1)
    if kind not in _FITTING:
        return rows
    values, reference = rows.columns[feature], halves.training.columns[feature]
    if kind == "shift":
        return rows.with_column(feature, _raised(values, reference, size))
    if kind == "scale":
        return rows.with_column(feature, _whole_or_rounded(values * size, values))
    hit = np.random.default_rng(seed).random(len(values)) < size
    return rows.with_column(feature, _defaulted(values, reference, hit) if kind == "category" else _lost(values, hit))


def check(kind: str, feature: str | None = None, size: float | None = None) -> tuple[str, float]:
    """The feature and size that the kind will take, the defaults filled in ("" and 0 where the kind takes none).

    Raises ValueError, one line that names what is valid, for an unknown kind, feature or size; reads no data.
    """
    if kind not in KINDS:
        raise ValueError(f"drift must be one of {', '.join(KINDS)}, got {kind}")
    if kind not in _FITTING:
        if feature is not None or size is not None:
            raise ValueError(f"drift {kind} takes no feature and no size; {', '.join(_FITTING)} do")
        return "", 0.0
    feature = DEFAULT_FEATURE[kind] if feature is None else feature
    if feature not in _FITTING[kind]:
        raise ValueError(f"drift {kind} needs one of the features {', '.join(_FITTING[kind])}, got {feature}")
    size = DEFAULT_SIZE[kind] if size is None else size
    fits, wanted = _SIZES[kind]
    if not (np.isfinite(size) and fits(size)):
        raise ValueError(f"the size of drift {kind} must be {wanted}, got {size}")
    return feature, size


def expect(reference: Flights, phase: Flights) -> Expectation:
    """Each feature's PSI between the profile's rows (`reference`) and all rows of a phase, and the two lists."""
    values = {name: feature_psi(name, reference.columns[name], phase.columns[name]) for name in FEATURES}
    return Expectation(
        values,
        [name for name, value in values.items() if value > DRIFTED_ABOVE],
        [name for name, value in values.items() if value < LEFT_ALONE_BELOW],
        [name for name in FEATURES if float(np.mean(_is_missing(phase.columns[name]))) > MISSING_ABOVE],
    )


def feature_psi(name: str, reference: NDArray[Any], sample: NDArray[Any]) -> float:
    """The PSI of one feature's sample (m values) against its reference (n values); missing values enter no bin.

    0 for a sample without any value: the exporter shows none.
    """
    sample = sample[~_is_missing(sample)]
    if not len(sample):
        return 0.0
    if name in CATEGORICAL:
        return psi(*_category_counts(reference, sample))
    return numeric_psi(reference, sample)


def numeric_psi(reference: NDArray[Any], sample: NDArray[Any]) -> float:
    """The PSI of numbers, in bins between the reference's 5 % and 95 % quantiles and one beyond each."""
    numbers = (np.asarray(values, float) for values in (reference, sample))
    reference, sample = (values[np.isfinite(values)] for values in numbers)
    edges = _edges(reference)
    return psi(_numeric_counts(reference, edges), _numeric_counts(sample, edges))


def psi(reference: Counts, sample: Counts) -> float:
    """The population stability index of two arrays of B counts: ≥ 0, symmetric, every count raised by ½."""
    p, q = ((counts + 0.5) / (counts.sum() + len(counts) / 2) for counts in (reference, sample))
    return float(np.sum((p - q) * np.log(p / q)))


def _edges(reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of the inner bins: ten of equal width, one without a reference row joined to its left neighbour."""
    low, high = np.quantile(reference, _RANGE)
    edges = np.linspace(low, high, _BINS + 1)
    inner, _ = np.histogram(reference, edges)
    filled = np.flatnonzero(inner)  # the first filled one takes in those before it
    return np.concatenate(([low], edges[filled[1:]], [high]))


def _numeric_counts(values: NDArray[np.float64], edges: NDArray[np.float64]) -> Counts:
    """Counts below, in each inner bin [a, b), the last one [a, b], and above; below, equal, above for equal edges."""
    low, high = edges[0], edges[-1]
    inner = np.array([np.sum(values == low)]) if low == high else np.histogram(values, edges)[0]
    return np.concatenate(([np.sum(values < low)], inner, [np.sum(values > high)])).astype(float)


def _category_counts(reference: NDArray[Any], sample: NDArray[Any]) -> tuple[Counts, Counts]:
    """Counts of the reference's commonest categories in both, and of all others together last."""
    known, asked = Counter(map(str, reference.tolist())), Counter(map(str, sample.tolist()))
    common = sorted(known, key=lambda name: (-known[name], name))[:_MAX_CATEGORIES]
    listed = [name for name in common if known[name] >= _MIN_CATEGORY_ROWS]

    def counts(of: Counter[str]) -> Counts:
        inside = [of[name] for name in listed]
        return np.array([*inside, of.total() - sum(inside)], dtype=float)

    return counts(known), counts(asked)


def _raised(values: NDArray[Any], reference: NDArray[Any], size: float) -> NDArray[Any]:
    """The values plus `size` standard deviations of the reference."""
    return _whole_or_rounded(values + size * float(np.nanstd(reference)), values)


def _whole_or_rounded(changed: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers where the column's are."""
    if values.dtype.kind == "i":
        return np.round(changed).astype(values.dtype)
    return np.round(changed, 4)


def _defaulted(values: NDArray[Any], reference: NDArray[Any], hit: NDArray[np.bool_]) -> NDArray[Any]:
    """The values, some of them replaced by the reference's commonest."""
    (commonest, _), *_ = Counter(reference.tolist()).most_common(1)
    changed = values.copy()
    changed[hit] = commonest
    return changed


def _lost(values: NDArray[Any], hit: NDArray[np.bool_]) -> NDArray[Any]:
    """The values, some of them gone."""
    changed = values.copy() if values.dtype.kind == "f" else values.astype(object)
    changed[hit] = np.nan if values.dtype.kind == "f" else None
    return changed


def _is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of n values are missing: NaN among numbers, None among others."""
    missing: NDArray[np.bool_] = (
        np.isnan(values) if values.dtype.kind == "f" else np.array([value is None for value in values])
    )
    return missing
