"""One bound for all bytes that a worker keeps for the sake of clones."""

from __future__ import annotations

from proxy.counters import Counters


class Held:
    """Bodies that wait for production, requests that the shadow has not answered, and answers as far as they are kept.

    `mirror_held_bytes` shows the sum.
    """

    def __init__(self, counters: Counters, limit: int) -> None:
        self._cells = counters.cells
        self._place = counters.layout.place("mirror_held_bytes")
        self._limit = limit

    def take(self, count: int) -> bool:
        """Keep so many more, if the bound allows it."""
        total = self._cells[self._place] + count
        if total > self._limit:
            return False
        self._cells[self._place] = total
        return True

    def add(self, count: int) -> None:
        """Keep so many more in any case: a little beside what was taken."""
        self._cells[self._place] += count

    def give_back(self, count: int) -> None:
        """So many are kept no longer."""
        self._cells[self._place] -= count
