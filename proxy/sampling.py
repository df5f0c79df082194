"""Which requests are chosen: a keyed hash of the request id as a fraction, the same on every replica and retry."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

WHOLE: Final = 2**64
"""How many positions there are."""


class Sampler:
    """Chooses by the request id. The choices nest: who is among 1 % is among 5 % too."""

    def __init__(self, key: bytes) -> None:
        """`key`: 1 to 64 secret bytes, the same on every replica."""
        self._keyed = blake2b(digest_size=8, key=key)

    def position(self, request_id: bytes) -> int:
        """Where the request stands between 0 and 2⁶⁴ - 1, uniformly."""
        keyed = self._keyed.copy()  # the key is hashed once and for all
        keyed.update(request_id)
        return int.from_bytes(keyed.digest(), "big")


def threshold(fraction: float) -> int:
    """The position below which a request is among the `fraction` (0 to 1) that is chosen."""
    return int(fraction * WHOLE)
