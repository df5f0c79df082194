"""What leaves in clear, and what leaves as a keyed hash: strings are hashed unless the reference lists them."""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import Protocol

from events.inference import InferenceEvent, Instance

PREDICTION = "prediction"


class ListedStrings(Protocol):
    """A reference profile, as far as it matters here."""

    def lists(self, column: str, text: str) -> bool:
        """Whether the text is one of the column's categories."""


class Pseudonymiser:
    """Replaces strings by `#` and 16 hexadecimal digits of their HMAC-SHA-256: the same string, the same hash."""

    def __init__(self, key: bytes, key_id: str) -> None:
        self._key = key
        self._key_id = key_id
        # Most strings of a stream come again and again; a bound keeps a hostile one from filling memory.
        self._hashed = lru_cache(maxsize=16_384)(self._hash)

    def apply(self, event: InferenceEvent, reference: ListedStrings | None) -> None:
        """Replace, in place, every string that must not leave in clear."""
        event.key_id = self._key_id
        if event.request_id is not None:
            event.request_id = self._hash(event.request_id)
        for instance in event.instances:
            self._hide(instance, reference)

    def _hide(self, instance: Instance, reference: ListedStrings | None) -> None:
        features = instance.features
        hidden = {
            name: self._hashed(value)
            for name, value in features.items()
            if isinstance(value, str) and value and not (reference is not None and reference.lists(name, value))
        }
        if hidden:
            instance.features = {**features, **hidden}
        prediction = instance.prediction
        if isinstance(prediction, str) and not (reference is not None and reference.lists(PREDICTION, prediction)):
            instance.prediction = self._hashed(prediction)

    def _hash(self, text: str) -> str:
        return "#" + hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:16]
