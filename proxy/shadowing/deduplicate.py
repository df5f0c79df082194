"""Which requests were cloned a short while ago, so that the shadow is not asked the same twice."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_REMEMBERED: Final = 32_768
"""Requests remembered for each model in a worker, a few megabytes; beyond it the oldest is forgotten early."""


def fingerprint(path: bytes, query: bytes, body: bytes) -> int:
    """What makes two requests identical, but for one chance in 2⁶⁴.

    Python's own hash (SipHash, under a key of this process) takes half the time of the quickest cryptographic one,
    0.4 ms for a MiB; the worker's other requests wait for as long.
    """
    return hash((path, query, body))


class Recent:
    """The fingerprints of what was cloned within the last `seconds`; times are of one monotonic clock."""

    def __init__(self, seconds: float, limit: int = MAX_REMEMBERED) -> None:
        self._seconds = seconds
        self._limit = limit
        self._until: OrderedDict[int, float] = OrderedDict()
        """When each is forgotten; every one lives equally long, so the first is the oldest. (A plain dict searches
        for its first where many before it were deleted.)"""

    def __contains__(self, key: int) -> bool:
        return key in self._until

    def __len__(self) -> int:
        return len(self._until)

    def forget(self, now: float) -> None:
        """Drop those whose time is over."""
        while self._until and self._until[oldest := next(iter(self._until))] <= now:
            del self._until[oldest]

    def note(self, key: int, now: float) -> None:
        """It was cloned now."""
        if len(self._until) >= self._limit:
            self._until.popitem(last=False)
        self._until[key] = now + self._seconds
