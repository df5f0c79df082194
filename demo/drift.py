"""The phases of traffic, and what their drift must look like: worked out here, apart from the exporter.

The statistic is that of the design: bins from the reference alone, Jeffreys' ½, PSI = Σ (p - q) ln(p/q). It is written
a second time on purpose, so that the demo's expectation does not lean on the code that it puts to the test.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from demo.flights import CATEGORICAL, FEATURES, NUMERIC, Flights, Halves

Kind = Literal["season", "shift", "category", "none"]
Counts: TypeAlias = NDArray[np.float64]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

DRIFTED_ABOVE: Final = 0.3
LEFT_ALONE_BELOW: Final = 0.1

DEFAULT_FEATURE: Final = {"shift": "wind_speed", "category": "carrier"}
DEFAULT_SIZE: Final = {"shift": 1.0, "category": 0.6}
"""Of `shift`: standard deviations of the training half. Of `category`: the share of rows that lose their value."""

_FITTING: Final = {"shift": NUMERIC, "category": CATEGORICAL}
_BINS: Final = 10
_RANGE: Final = (0.05, 0.95)
_MAX_CATEGORIES: Final = 50
_MIN_CATEGORY_ROWS: Final = 20


@dataclass(frozen=True)
class Expectation:
    """What a phase must show: every feature's PSI over all its rows, and the two lists that follow from it.

    `drifted`: above 0.3. `left_alone`: below 0.1. A feature between, and the prediction, is in neither.
    """

    psi: dict[str, float]
    drifted: list[str]
    left_alone: list[str]


def normal(halves: Halves, seed: int) -> Flights:
    """The traffic before the drift: the other half of January to March, shuffled by the seed."""
    return halves.traffic.shuffled(seed)


def drifted(kind: Kind, halves: Halves, seed: int, feature: str | None = None, size: float | None = None) -> Flights:
    """The flights of the drifted phase, shuffled by the seed.

    `season`: July's. `shift`: the normal ones, `feature` raised by `size` standard deviations. `category`: the normal
    ones, where a share `size` of the rows has the commonest value of `feature`, as when an upstream fills in a default.
    `none`: the normal ones. Raises ValueError, one line, for a feature or size that does not fit the kind.
    """
    feature, size = check(kind, feature, size)
    rows = (halves.july if kind == "season" else halves.traffic).shuffled(seed + 1)
    if kind not in _FITTING:
        return rows
    values, reference = rows.columns[feature], halves.training.columns[feature]
    if kind == "shift":
        return rows.with_column(feature, _raised(values, reference, size))
    return rows.with_column(feature, _defaulted(values, reference, size, seed))


def check(kind: str, feature: str | None = None, size: float | None = None) -> tuple[str, float]:
    """The feature and size that the kind will take, the defaults filled in ("" and 0 where the kind takes none).

    Raises ValueError, one line that names what is valid, for an unknown kind, feature or size; reads no data.
    """
    if kind not in KINDS:
        raise ValueError(f"drift must be one of {', '.join(KINDS)}, got {kind}")
    if kind not in _FITTING:
        if feature is not None or size is not None:
            raise ValueError(f"drift {kind} takes no feature and no size; {' and '.join(_FITTING)} do")
        return "", 0.0
    feature = DEFAULT_FEATURE[kind] if feature is None else feature
    if feature not in _FITTING[kind]:
        raise ValueError(f"drift {kind} needs one of the features {', '.join(_FITTING[kind])}, got {feature}")
    size = DEFAULT_SIZE[kind] if size is None else size
    if not (np.isfinite(size) and size != 0 and (kind == "shift" or 0 < size <= 1)):
        wanted = "a share above 0 and at most 1" if kind == "category" else "a number of standard deviations, not 0"
        raise ValueError(f"the size of drift {kind} must be {wanted}, got {size}")
    return feature, size


def expect(reference: Flights, phase: Flights) -> Expectation:
    """Each feature's PSI between the profile's rows (`reference`) and all rows of a phase, and the two lists."""
    values = {name: feature_psi(name, reference.columns[name], phase.columns[name]) for name in FEATURES}
    return Expectation(
        values,
        [name for name, value in values.items() if value > DRIFTED_ABOVE],
        [name for name, value in values.items() if value < LEFT_ALONE_BELOW],
    )


def feature_psi(name: str, reference: NDArray[Any], sample: NDArray[Any]) -> float:
    """The PSI of one feature's sample (m values) against its reference (n values); missing values enter no bin."""
    if name in CATEGORICAL:
        return psi(*_category_counts(reference, sample))
    return numeric_psi(reference, sample)


def numeric_psi(reference: NDArray[Any], sample: NDArray[Any]) -> float:
    """The PSI of numbers, in bins between the reference's 5 % and 95 % quantiles and one beyond each."""
    reference, sample = (np.asarray(values, float)[np.isfinite(values)] for values in (reference, sample))
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
    """The values plus `size` standard deviations of the reference, in whole numbers where the column is."""
    amount = size * float(np.nanstd(reference))
    if values.dtype.kind == "i":
        return values + round(amount)
    return np.round(values + amount, 4)


def _defaulted(values: NDArray[Any], reference: NDArray[Any], share: float, seed: int) -> NDArray[Any]:
    """The values, a share of them, chosen by the seed, replaced by the reference's commonest."""
    (commonest, _), *_ = Counter(reference.tolist()).most_common(1)
    changed = values.copy()
    changed[np.random.default_rng(seed).random(len(values)) < share] = commonest
    return changed
