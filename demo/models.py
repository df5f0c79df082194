"""Two models that say how likely a flight is to arrive late: v2, gradient boosting, and v1, logistic regression.

Both are fitted by scikit-learn on rows as they come in requests, encoded with numpy by hand (a data frame per request
costs 3 to 4 ms), and asked without it: a request of one row costs tens of microseconds instead of half a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from demo.flights import CATEGORICAL, FEATURES, NUMERIC, Flights

Version = Literal["v1", "v2"]
Matrix: TypeAlias = NDArray[np.float64]
Vector: TypeAlias = NDArray[np.float64]

VERSIONS: Final[tuple[Version, ...]] = get_args(Version)


class Model(Protocol):
    """A fitted model."""

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Vector:
        """The probability of being late of each of n rows, in [0, 1].

        A feature that is null or absent counts as missing, another name is ignored. Raises ValueError, one line, for
        a value of the wrong type, and for a row without any known feature.
        """
        ...


def train(version: Version, flights: Flights, seed: int) -> Model:
    """Fit one of the two models on a table of flights (about half a second for 39,000)."""
    model: type[LogisticModel] | type[BoostedModel] = BoostedModel if version == "v2" else LogisticModel
    return model(flights.rows(), flights.late, seed)


def auc(model: Model, flights: Flights) -> float:
    """The area under the ROC curve on these flights: how often a late one gets the higher probability of two."""
    return float(roc_auc_score(flights.late, model.predict(flights.rows())))


class LogisticModel:
    """v1: logistic regression on standardised numbers and one column for each category."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], late: NDArray[np.bool_], seed: int) -> None:
        numbers, labels = read_rows(rows)
        self._medians = np.nanmedian(numbers, axis=0)
        numbers = _filled(numbers, self._medians)
        self._means, self._deviations = numbers.mean(axis=0), numbers.std(axis=0)
        seen = [sorted({row[column] for row in labels}, key=str) for column in range(len(CATEGORICAL))]
        pairs = ((column, label) for column, known in enumerate(seen) for label in known)
        self._places = {pair: place for place, pair in enumerate(pairs)}
        fitted = LogisticRegression(max_iter=500, random_state=seed).fit(self._encode(numbers, labels), late)
        self._weights, self._bias = fitted.coef_[0], float(fitted.intercept_[0])

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Vector:
        numbers, labels = read_rows(rows)
        encoded = self._encode(_filled(numbers, self._medians), labels)
        return _probability(encoded @ self._weights + self._bias)

    def _encode(self, numbers: Matrix, labels: list[list[Any]]) -> Matrix:
        """n rows of the standardised numbers, then 1 at the place of each category; an unknown one has no place."""
        indicators = np.zeros((len(labels), len(self._places)))
        for index, row in enumerate(labels):
            for pair in enumerate(row):
                place = self._places.get(pair)
                if place is not None:
                    indicators[index, place] = 1.0
        return np.hstack([(numbers - self._means) / self._deviations, indicators])


class BoostedModel:
    """v2: gradient-boosted trees, each category standing for its share of late flights in training."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], late: NDArray[np.bool_], seed: int) -> None:
        numbers, labels = read_rows(rows)
        self._medians = np.nanmedian(numbers, axis=0)
        self._overall = float(late.mean())
        self._shares = [
            _late_shares([row[column] for row in labels], late, self._overall) for column in range(len(CATEGORICAL))
        ]
        self.classifier = HistGradientBoostingClassifier(
            max_iter=60, max_depth=6, max_leaf_nodes=31, min_samples_leaf=50, early_stopping=False, random_state=seed
        ).fit(self.encode(rows), late)
        self._trees = Trees(self.classifier)

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Vector:
        return _probability(self._trees.scores(self.encode(rows)))

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> Matrix:
        """n rows of numbers, the median where missing, then of the categories' shares."""
        numbers, labels = read_rows(rows)
        shares = [
            [known.get(label, self._overall) for known, label in zip(self._shares, row, strict=True)] for row in labels
        ]
        return np.hstack(
            [_filled(numbers, self._medians), np.array(shares, dtype=float).reshape(len(rows), len(CATEGORICAL))]
        )


class Trees:
    """The trees of a fitted classifier (two classes, numbers without gaps), side by side in arrays.

    All trees of all rows go down one level at a time, which costs one row 50 µs where `predict_proba` takes 500. The
    nodes have no public way in; a test holds that the answers are the classifier's own.
    """

    def __init__(self, classifier: HistGradientBoostingClassifier) -> None:
        trees = [stage[0].nodes for stage in classifier._predictors]
        self._roots = np.cumsum([0] + [len(nodes) for nodes in trees[:-1]])
        nodes = np.concatenate(trees)
        start = np.repeat(self._roots, [len(tree) for tree in trees])
        leaf = nodes["is_leaf"].astype(bool)
        self._feature = np.where(leaf, 0, nodes["feature_idx"]).astype(np.intp)
        self._threshold = np.where(leaf, np.inf, nodes["num_threshold"])
        own = np.arange(len(nodes))  # a leaf leads to itself
        self._left = np.where(leaf, own, nodes["left"] + start)
        self._right = np.where(leaf, own, nodes["right"] + start)
        self._value = nodes["value"]
        self._depth = int(nodes["depth"].max())
        self._baseline = float(classifier._baseline_prediction.item())

    def scores(self, encoded: Matrix) -> Vector:
        """The log-odds of n encoded rows."""
        rows = np.arange(len(encoded))[:, None]
        at = np.broadcast_to(self._roots, (len(encoded), len(self._roots)))
        for _ in range(self._depth):
            goes_left = encoded[rows, self._feature[at]] <= self._threshold[at]
            at = np.where(goes_left, self._left[at], self._right[at])
        return np.asarray(self._value[at].sum(axis=1) + self._baseline)


def read_rows(rows: Sequence[Mapping[str, Any]]) -> tuple[Matrix, list[list[Any]]]:
    """The numbers of n rows (NaN where missing) and their categories (None where missing), in the features' order.

    Raises ValueError, one line, for a value of the wrong type, and for a row without any known feature.
    """
    numbers = [[_checked(row, name, _is_number, "a number") for name in NUMERIC] for row in rows]
    labels = [[_checked(row, name, _is_label, "a string or a number") for name in CATEGORICAL] for row in rows]
    for row in rows:
        if row.keys().isdisjoint(FEATURES):
            raise ValueError(f"a row needs features, such as {FEATURES[0]} and {NUMERIC[0]}")
    try:
        return np.array(numbers, dtype=float).reshape(len(rows), len(NUMERIC)), labels
    except OverflowError:
        raise ValueError("a number is out of range") from None


def _checked(row: Mapping[str, Any], name: str, fits: Callable[[Any], bool], wanted: str) -> Any:
    value = row.get(name)
    if value is not None and not fits(value):
        raise ValueError(f"{name} must be {wanted}, got {type(value).__name__}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _filled(numbers: Matrix, medians: Vector) -> Matrix:
    return np.where(np.isnan(numbers), medians, numbers)


def _late_shares(labels: list[Any], late: NDArray[np.bool_], overall: float, weight: float = 20.0) -> dict[Any, float]:
    """The share of late flights of each category, a rare one's drawn towards the overall share."""
    names, codes = np.unique([str(label) for label in labels], return_inverse=True)
    counts, sums = np.bincount(codes), np.bincount(codes, weights=late)
    shares = dict(zip(names.tolist(), ((sums + weight * overall) / (counts + weight)).tolist(), strict=True))
    return {label: shares[str(label)] for label in set(labels)}


def _probability(log_odds: Vector) -> Vector:
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))
