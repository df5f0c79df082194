"""Both models' predictions against the truth: what each instance is worth, and the measures over the last W of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.windows.answers import CLASS, LIKELIEST, NUMBER
from reference.columns import boolean_category, number_category
from reference.profile import Categorical, Column, Numeric

_HASHED: Final = re.compile(r"#[0-9a-f]{16}")
_ROW: Final = np.dtype(
    [
        ("label", "<i8"),
        ("index", "<i4"),
        ("period", "<i8", 2),
        ("sort", "u1", 2),
        ("value", "<f8", 2),
        ("truth", "<f8", 2),
        ("brier", "<f8", 2),
    ]
)
"""One labelled instance, of production and shadow: a number and the true one, or whether a class was right (1 or 0)."""

_BEHIND: Final = 2
"""So many times W are kept: beside a canary, and while labels of a former version still come, a window fills all the
same as long as half of the labels are about what is shown."""


class Score(NamedTuple):
    """One prediction beside its label."""

    sort: int
    value: float
    truth: float
    brier: float


def score(prediction: Any, label: Any) -> Score | None:
    """How a prediction compares with a label; None where the two cannot be compared, or either is not there."""
    if label is None:
        return None
    kind = type(prediction)
    if kind is str:
        return _of_class(prediction, label)
    if kind is bool:
        right = _zero_or_one(label)
        return None if right is None else Score(CLASS, float(prediction == right), math.nan, math.nan)
    if kind is list:
        return _of_probabilities(prediction, label)
    if prediction is None:
        return None
    truth = _number(label)
    return None if truth is None else Score(NUMBER, float(prediction), truth, math.nan)


def _of_class(prediction: str, label: Any) -> Score | None:
    """By its name. A name that was hashed can only be compared with its own kind."""
    if type(label) is str:
        name = label
    elif type(label) is bool:
        name = boolean_category(label)
    else:
        name = number_category(label)
    hidden = _HASHED.fullmatch(prediction) is not None and _HASHED.fullmatch(name) is None
    return None if hidden else Score(CLASS, float(prediction == name), math.nan, math.nan)


def _of_probabilities(prediction: Sequence[float], label: Any) -> Score | None:
    """By the position of the true class. Brier, 1950: the squared distance from certainty, halved for two classes."""
    truth = int(label) if type(label) is str and label.isdecimal() and len(label) < 10 else _number(label)
    if not prediction or truth is None or truth != int(truth) or not 0 <= truth < len(prediction):
        return None
    index = int(truth)
    squares = math.fsum((value - (place == index)) ** 2 for place, value in enumerate(prediction))
    right = prediction.index(max(prediction)) == index
    return Score(LIKELIEST, float(right), math.nan, squares / 2 if len(prediction) == 2 else squares)


def _number(label: Any) -> float | None:
    if type(label) is str:
        return None
    return float(label)


def _zero_or_one(label: Any) -> bool | None:
    return bool(label) if type(label) is not str and label in (0, 1) else None


class Quality(NamedTuple):
    """One model over the labelled instances; None where its predictions have no such measure."""

    accuracy: float | None
    absolute_error: float | None
    brier: float | None


class Measures(NamedTuple):
    """Both models over the same n labelled instances."""

    labelled: int
    production: Quality
    shadow: Quality
    only_production_right: int
    only_shadow_right: int


class Scores:
    """The last 2 W labelled instances in the order of the labels' log, whichever versions answered."""

    def __init__(self, size: int) -> None:
        self.size: Final = size
        self._rows = np.empty(0, _ROW)
        self._fresh: list[tuple[Any, ...]] = []

    def add(self, label: int, index: int, periods: tuple[int, int], production: Score, shadow: Score) -> None:
        """Take instance `index` of label number `label`; a label whose pair came late takes its place among others."""
        self._fresh.append((label, index, periods, *zip(production, shadow, strict=True)))
        if len(self._fresh) >= max(self.size, 1024):
            self._settle()

    def kept(self) -> bytes:
        """What survives a restart."""
        return self._settle().tobytes()

    def restore(self, kept: bytes) -> None:
        """Go on from what `kept` gave. Raises ValueError for anything else."""
        self._rows, self._fresh = np.frombuffer(kept, _ROW)[-_BEHIND * self.size :], []

    def measures(self, column: Column | None, periods: tuple[int, int]) -> Measures:
        """What both are worth over the last W that both answered in these periods, production's and the shadow's.

        `column` is the reference's description of the prediction, if there is one.
        """
        rows = self._settle()
        rows = rows[(rows["period"] == periods).all(axis=1)][-self.size :]
        kind = _kind_of_numbers(rows, column)
        rights = [_right(rows, model, kind) for model in (0, 1)]
        both = np.isfinite(rights[0]) & np.isfinite(rights[1])
        first, second = rights[0][both] > 0, rights[1][both] > 0
        production, shadow = (
            Quality(_mean(rights[model]), _mean(_error(rows, model, kind)), _mean(_brier(rows, model, kind)))
            for model in (0, 1)
        )
        only = int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first))
        return Measures(len(rows), production, shadow, *only)

    def _settle(self) -> NDArray[Any]:
        """All rows in their order, the last of them."""
        if self._fresh:
            rows = np.concatenate((self._rows, np.array(self._fresh, _ROW)))
            order = np.lexsort((rows["index"], rows["label"]))
            self._rows, self._fresh = rows[order][-_BEHIND * self.size :], []
        return self._rows


Kind = Literal["class", "probability", "number", "whole"]


def _kind_of_numbers(rows: NDArray[Any], column: Column | None) -> Kind:
    """What predictions that are numbers are taken for; all of a model's are of one kind.

    Classes, where the reference holds categories and all predictions and labels are whole numbers. Probabilities of
    the class 1, where all of them lie between 0 and 1 and all labels are 0 or 1. `whole`, without a reference, where
    all are whole: classes or counts, nobody can know. Else numbers.
    """
    numbers = rows["sort"] == NUMBER
    values, truths = rows["value"][numbers], rows["truth"][numbers]
    whole = bool((values == np.floor(values)).all() and (truths == np.floor(truths)).all())
    if whole and isinstance(column, Categorical):
        return "class"
    if bool(((values >= 0) & (values <= 1)).all() and np.isin(truths, (0.0, 1.0)).all()):
        return "probability"
    return "whole" if whole and not isinstance(column, Numeric) else "number"


def _right(rows: NDArray[Any], model: int, kind: Kind) -> NDArray[np.float64]:
    """1 where the class is right, 0 where it is not, NaN without a class. A probability from ½ on means class 1."""
    values, truths = rows["value"][:, model].copy(), rows["truth"][:, model]
    numbers = rows["sort"][:, model] == NUMBER
    if kind == "probability":
        right = (values >= 0.5) == (truths >= 0.5)
    elif kind in ("class", "whole"):
        right = values == truths
    else:
        right = np.full(len(values), math.nan)
    values[numbers] = right[numbers]
    return values


def _error(rows: NDArray[Any], model: int, kind: Kind) -> NDArray[np.float64]:
    numbers = rows["sort"][:, model] == NUMBER
    error: NDArray[np.float64] = np.abs(rows["value"][:, model] - rows["truth"][:, model])
    error[~numbers | (kind == "class")] = math.nan
    return error


def _brier(rows: NDArray[Any], model: int, kind: Kind) -> NDArray[np.float64]:
    numbers = rows["sort"][:, model] == NUMBER
    brier: NDArray[np.float64] = rows["brier"][:, model].copy()
    if kind == "probability":
        brier[numbers] = (rows["value"][numbers, model] - rows["truth"][numbers, model]) ** 2
    return brier


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
