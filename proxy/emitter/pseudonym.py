"""What leaves in clear, and what leaves as a keyed hash: strings are hashed unless the reference lists them."""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from events.inference import InferenceEvent, Instance

PREDICTION = "prediction"

_KEPT_TEXTS: Final = 16_384
_KEPT_CHARACTERS: Final = 256
_BLOCK: Final = 64
"""SHA-256 takes that many bytes at a time, and HMAC a key of that length."""


class ListedStrings(Protocol):
    """A reference profile, as far as it matters here."""

    def lists(self, column: str, text: str) -> bool:
        """Whether the text is one of the column's categories."""


class KeyedHash:
    """`#` and 16 hexadecimal digits of a text's HMAC-SHA-256: the same text, the same hash.

    HMAC as RFC 2104 has it; both paddings of the key are hashed once, which halves what a text costs.
    """

    def __init__(self, key: bytes) -> None:
        padded = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def __call__(self, text: str) -> str:
        """The text's hash."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return "#" + outer.hexdigest()[:16]


class Pseudonymiser:
    """Replaces one model's strings by their hash, but for those that its reference lists."""

    def __init__(self, key: bytes, key_id: str, reference: ListedStrings | None = None) -> None:
        self._hash = KeyedHash(key)
        self._key_id = key_id
        self._reference = reference
        # By column and text. Most strings of a stream come again and again; a bound keeps a hostile one from filling
        # memory.
        self._known: dict[str, dict[str, str]] = {}
        self._kept = 0

    def apply(self, event: InferenceEvent) -> None:
        """Replace, in place, every string that must not leave in clear."""
        event.key_id = self._key_id
        if event.request_id is not None:
            event.request_id = self._hash(event.request_id)
        for instance in event.instances:
            self._hide(instance)

    def _hide(self, instance: Instance) -> None:
        features = instance.features
        known = self._known
        for name, value in features.items():
            if type(value) is str and value:
                try:
                    shown = known[name][value]
                except KeyError:
                    shown = self._shown(name, value)
                if shown != value:
                    features[name] = shown  # of a key that is there, so the walk goes on
        prediction = instance.prediction
        if isinstance(prediction, str):
            instance.prediction = self._shown(PREDICTION, prediction)

    def _shown(self, column: str, text: str) -> str:
        """What stands in an event for this text of this column."""
        reference = self._reference
        shown = text if reference is not None and reference.lists(column, text) else self._hash(text)
        if len(text) <= _KEPT_CHARACTERS and len(column) <= _KEPT_CHARACTERS:
            if self._kept >= _KEPT_TEXTS:
                self._known.clear()
                self._kept = 0
            self._known.setdefault(column, {})[text] = shown
            self._kept += 1
        return shown
