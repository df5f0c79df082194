"""Which requests were cloned a short while ago, so that the shadow is not asked the same twice."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

MAX_REMEMBERED: Final = 32_768
"""Requests remembered for each model in a worker, a few megabytes; beyond it the oldest is forgotten early."""


def fingerprint(path: bytes, query: bytes, body: bytes) -> bytes:
    """What makes two requests identical."""
    digest = blake2b(b"%d %d " % (len(path), len(query)), digest_size=16)
    digest.update(path)
    digest.update(query)
    digest.update(body)
    return digest.digest()


class Recent:
    """The fingerprints of what was cloned within the last `seconds`; times are of one monotonic clock."""

    def __init__(self, seconds: float, limit: int = MAX_REMEMBERED) -> None:
        self._seconds = seconds
        self._limit = limit
        self._until: dict[bytes, float] = {}
        """When each is forgotten; every one lives equally long, so the first is the oldest."""

    def __contains__(self, key: bytes) -> bool:
        return key in self._until

    def __len__(self) -> int:
        return len(self._until)

    def forget(self, now: float) -> None:
        """Drop those whose time is over."""
        while self._until and self._until[oldest := next(iter(self._until))] <= now:
            del self._until[oldest]

    def note(self, key: bytes, now: float) -> None:
        """It was cloned now."""
        if len(self._until) >= self._limit:
            del self._until[next(iter(self._until))]
        self._until[key] = now + self._seconds
