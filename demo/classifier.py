"""Two models that say what a ticket is about: v2, naive Bayes on words and pairs of them, and v1, on words alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Version = Literal["v1", "v2"]

_WORD: Final = re.compile(r"[a-z$]+")
_PAIRS: Final = {"v1": False, "v2": True}
_ROWS: Final = {"v1": 400, "v2": 10_000}
"""v1 is the older model: it has seen fewer tickets."""


class Classifier:
    """Multinomial naive Bayes with one added to every count; a word it has not seen says nothing."""

    def __init__(self, version: Version, texts: Sequence[str], classes: Sequence[str]) -> None:
        texts, classes = texts[: _ROWS[version]], classes[: _ROWS[version]]
        self._pairs = _PAIRS[version]
        self.classes: Final = tuple(sorted(set(classes)))
        counts = {name: Counter[str]() for name in self.classes}
        for text, name in zip(texts, classes, strict=True):
            counts[name].update(self._terms(text))
        terms = sorted(set().union(*counts.values()))
        table = np.array([[counts[name][term] for name in self.classes] for term in terms], float) + 1
        weights = np.log(table / table.sum(axis=0))
        self._weights: dict[str, NDArray[np.float64]] = dict(zip(terms, weights, strict=True))
        rows = Counter(classes)
        self._before = np.log(np.array([rows[name] for name in self.classes]) / len(classes))

    def predict(self, text: str) -> str:
        """What the ticket is about."""
        score = self._before.copy()
        for term in self._terms(text):
            weight = self._weights.get(term)
            if weight is not None:
                score += weight
        return self.classes[int(score.argmax())]

    def answer(self, row: dict[str, Any]) -> str:
        """The class of a request. Raises ValueError for one without a note."""
        note = row.get("note")
        if not isinstance(note, str):
            raise ValueError("note must be a text")
        return self.predict(note)

    def _terms(self, text: str) -> Iterator[str]:
        words = _WORD.findall(text.lower())
        yield from words
        if self._pairs:
            yield from (f"{left} {right}" for left, right in pairwise(words))
