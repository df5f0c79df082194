"""How long to wait before a process that has died is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Backoff:
    """The first restart is at once; one that dies young again waits `first` seconds, then twice as long each time."""

    first: float = 0.5
    longest: float = 10.0
    settled: float = 10.0
    """How many seconds a process must have lived for its death to count as the first."""

    _next: float = 0.0

    def delay(self, lived: float) -> float:
        """Seconds to wait now, for one that lived that long; 0 seconds is one that could not be started."""
        if lived >= self.settled:
            self._next = 0.0
        now = self._next
        self._next = min(self.longest, max(self.first, 2 * now))
        return now
