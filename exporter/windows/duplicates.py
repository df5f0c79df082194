"""Which events have been seen: delivery is at least once, and counting is once."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import Any

import numpy as np


def event_key(event_id: str) -> int:
    """64 bits that stand for an event's id, the same in every process: kept and compared in place of the text."""
    digest = blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class RecentIds:
    """The keys (`event_key`) of the last `size` distinct events of one (model, role)."""

    def __init__(self, size: int) -> None:
        self._order: deque[int] = deque()
        self._keys: set[int] = set()
        self._size = size

    def seen(self, key: int) -> bool:
        """Whether this key is among them; if not, it is from now on, and the oldest goes."""
        if key in self._keys:
            return True
        self._keys.add(key)
        self._order.append(key)
        if len(self._order) > self._size:
            self._keys.remove(self._order.popleft())
        return False

    def kept(self) -> dict[str, Any]:
        """What survives a restart: `keys`, the oldest first, 8 bytes each."""
        return {"keys": np.array(self._order, "<u8").tobytes()}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave. Raises ValueError for anything else."""
        keys = np.frombuffer(kept["keys"], "<u8").tolist()
        self._order = deque(keys[-self._size :])
        self._keys = set(self._order)
        if len(self._keys) != len(self._order):
            raise ValueError("an id is kept twice")
