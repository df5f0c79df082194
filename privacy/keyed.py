"""A text's keyed hash: the same text, the same hash, and nothing else of the text."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_BLOCK: Final = 64
"""SHA-256 takes that many bytes at a time, and HMAC a key of that length."""

HASHED: Final = re.compile(r"#[0-9a-f]{16}")
"""What a hash looks like."""

PURPOSE: Final = "pseudonym"
"""What the key of strings is derived for; see `keys.Keys.derived`."""


class KeyedHash:
    """`#` and 16 hexadecimal digits of a text's HMAC-SHA-256.

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
