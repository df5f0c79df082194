"""Which events have been seen: delivery is at least once, and counting is once."""

from __future__ import annotations

from collections import deque


class RecentIds:
    """The ids of the last `size` distinct events of one (model, role)."""

    def __init__(self, size: int) -> None:
        self._order: deque[str] = deque()
        self._ids: set[str] = set()
        self._size = size

    def seen(self, event_id: str) -> bool:
        """Whether this id is among them; if not, it is from now on, and the oldest goes."""
        if event_id in self._ids:
            return True
        self._ids.add(event_id)
        self._order.append(event_id)
        if len(self._order) > self._size:
            self._ids.remove(self._order.popleft())
        return False
