"""When more comes than can be read: what lies in between is passed over, so that what is shown stays of today.

A window holds the last W instances. What is passed over would have left every model's `_all` again by the time the
reading gets to the end, so `_all` is the same with it and without; rare tenants, pairs and labels lose something.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, NamedTuple

WINDOWS_BACK: Final = 10
"""Where reading begins again: so many windows before the end, as without a past."""

_WINDOWS: Final = 100
_SECONDS: Final = 60.0


class _Least(NamedTuple):
    lag: int
    at: float


class Shedding:
    """Tells of each partition when it falls behind for good: far behind, and no less so for a minute."""

    def __init__(self, windows: int = _WINDOWS, seconds: float = _SECONDS) -> None:
        self._windows = windows
        self._seconds = seconds
        self._least: dict[Hashable, _Least] = {}

    def skipped(self, partition: Hashable, lag: int, largest: int, now: float) -> int:
        """How many messages to pass over now; 0 as a rule.

        `lag` messages wait, `largest` is the greatest window of the partition's models, `now` seconds of any clock.
        """
        if not largest or lag <= self._windows * largest:
            self._least.pop(partition, None)
            return 0
        least = self._least.get(partition)
        if least is None or lag < least.lag - WINDOWS_BACK * largest:
            least = self._least[partition] = _Least(lag, now)
        if now - least.at < self._seconds:
            return 0
        del self._least[partition]
        return lag - WINDOWS_BACK * largest

    def forget(self) -> None:
        """Partitions have been placed anew."""
        self._least.clear()
