"""What was predicted, ever since this process reads: classes counted, numbers in a histogram, by version."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from events.inference import InferenceEvent
from reference.columns import boolean_category, number_category
from reference.profile import Categorical, Column, Numeric

OTHER: Final = "_other"
MAX_CLASSES: Final = 50
MAX_VERSIONS: Final = 20
_LONGEST_CLASS: Final = 256
"""Characters; a longer one is no class's name, unless the reference has it."""

_GREATEST: Final = 1e308
_LARGEST: Final = sys.float_info.max
_SHARES: Final = tuple(number / 10 for number in range(11))
"""Edges where the reference gives none: of a score between 0 and 1."""


class Histogram:
    """Numbers by upper edges, with their sum."""

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges: Final = np.array(edges)
        self.counts: NDArray[np.int64] = np.zeros(len(edges) + 1, np.int64)
        """Of values up to each edge and above the one before it; the last of those above all."""
        self.sum = 0.0

    def add(self, values: NDArray[np.float64]) -> None:
        """Count finite numbers."""
        self.counts += np.bincount(np.searchsorted(self.edges, values, side="left"), minlength=len(self.counts))
        with np.errstate(over="ignore", invalid="ignore"):  # beyond every float it stays at the greatest
            self.sum = float(np.clip(np.nan_to_num(values.sum() + self.sum), -_LARGEST, _LARGEST))


class Predictions:
    """One role's. The reference says whether a prediction is a class or a number; without one its own type does."""

    def __init__(self, column: Column | None) -> None:
        self.classes: Final[dict[str, Counter[str]]] = {}
        """By version, how often each class was predicted."""
        self.values: Final[dict[str, Histogram]] = {}
        self._column = column
        monitored = column.monitored if isinstance(column, Categorical) else ()
        self._named = dict.fromkeys(monitored)
        self._edges = dict.fromkeys(column.edges) if isinstance(column, Numeric) else dict.fromkeys(_SHARES)

    def take(self, events: Sequence[InferenceEvent], left_out: Counter[str]) -> None:
        """Count what these events predicted; by reason, what counts as `_other` because there would be too many."""
        for version in dict.fromkeys([event.version for event in events]):
            made = [
                instance.prediction
                for event in events
                if event.outcome == "ok" and event.version == version
                for instance in event.instances
            ]
            name = version
            if name not in self.classes and len(self.classes) >= MAX_VERSIONS:
                left_out["versions"] += len(made)
                name = OTHER
            self._count(name, made, left_out)

    def _count(self, version: str, made: list[Any], left_out: Counter[str]) -> None:
        classes = self.classes.setdefault(version, Counter())
        types = set(map(type, made))
        if types == {float} and not isinstance(self._column, Categorical):
            self._histogram(version).add(np.array(made))
            return
        numbers = [] if isinstance(self._column, Categorical) else [one for one in made if type(one) in (int, float)]
        if numbers:
            self._histogram(version).add(np.array(_floats(numbers)))
        for name, count in Counter(self._classes(made)).items():
            classes[self._shown(name, count, left_out)] += count

    def _histogram(self, version: str) -> Histogram:
        return self.values.setdefault(version, Histogram(tuple(self._edges)))

    def _classes(self, made: Iterable[Any]) -> Iterable[str]:
        """The class of each prediction that is one."""
        kinds = self._column.type if isinstance(self._column, Categorical) else None
        for one in made:
            value = one.index(max(one)) if type(one) is list and one else one
            if type(value) is str and value:
                yield value if kinds in (None, "string") else OTHER
            elif type(value) is bool:
                yield boolean_category(value) if kinds in (None, "boolean") else OTHER
            elif type(value) in (int, float) and (kinds is not None or type(one) is list):
                yield number_category(value) if kinds in (None, "number") and abs(value) < _GREATEST else OTHER

    def _shown(self, name: str, count: int, left_out: Counter[str]) -> str:
        """The name under which a class is counted: the reference's, or, without one, those that came first."""
        if name in self._named or name == OTHER:
            return name
        room = len(self._named) < MAX_CLASSES and len(name) <= _LONGEST_CLASS
        if room and not isinstance(self._column, Categorical):
            self._named[name] = None
            return name
        left_out["classes"] += count
        return OTHER


def _floats(numbers: Iterable[float]) -> list[float]:
    """Those that a float can hold."""
    return [float(one) for one in numbers if abs(one) < _GREATEST]
