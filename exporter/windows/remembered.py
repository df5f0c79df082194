"""The last so many instances of a log, by their request's id: 16 bytes of it, and a few bytes of what was said.

Entries fill chunks of some thousand, which are sealed, sorted by id, and never change again: a look-up is a binary
search in each, for many ids at once, and what has to be kept for a restart is the newest chunk alone once the others
are. Without Python's objects an entry of one number takes 34 bytes, and an answer five more for its period.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporter.windows.answers import made_in_order

_KEY: Final = np.dtype("S16")
_ENTRIES: Final = 4096
_MOST_ENTRIES: Final = 16_384
_CHUNKS: Final = 24
"""Where there would be more chunks they are larger, up to `_MOST_ENTRIES`."""
_CHUNK_BYTES: Final = 256 * 1024
"""What was said in a chunk: it is sealed when there is more."""
_ROOM: Final = 32 * 1024 * 1024
_ROOM_EACH: Final = 64
"""What was said in all sealed chunks takes at most `_ROOM` bytes and this for each instance; the oldest go before."""


class Entry(NamedTuple):
    """One request that is remembered."""

    last: int
    """The number of its last instance; instances are numbered from 1 on in the order of the log."""
    said: bytes


class Chunk:
    """Entries in the order of their keys, as views of bytes that never change."""

    def __init__(self, kept: dict[str, Any]) -> None:
        """Out of `kept`; raises ValueError where that is no chunk."""
        self.kept: Final = kept
        """The instances before it (`first`) and in it; of each entry the key, the last instance, where it begins."""
        self.first: Final[int] = kept["first"]
        self.instances: Final[int] = kept["instances"]
        self.keys: Final = np.frombuffer(kept["keys"], _KEY)
        self._lasts: Final = np.frombuffer(kept["lasts"], "<u4")
        self._starts: Final = np.frombuffer(kept["starts"], "<u4")
        self._said: Final[bytes] = kept["said"]
        if len(self._lasts) != len(self.keys) or len(self._starts) != len(self.keys) + 1:
            raise ValueError("a chunk of what is remembered is not whole")
        keys: bytes = kept["keys"]
        self.least: Final = keys[: _KEY.itemsize]
        self.greatest: Final = keys[-_KEY.itemsize :]
        """Of its keys, if they are sorted. UUIDv7s of one chunk lie close together, so most look-ups need one."""

    @property
    def size(self) -> int:
        """The bytes of what was said in it."""
        return len(self._said)

    def entry(self, position: int) -> Entry:
        """One of them."""
        last = self.first + int(self._lasts[position])
        return Entry(last, self._said[self._starts[position] : self._starts[position + 1]])

    def find(self, wanted: NDArray[np.bytes_]) -> NDArray[np.intp]:
        """The position of each key, that of the newest entry where there are several; -1 where it is not here."""
        at: NDArray[np.intp] = np.searchsorted(self.keys, wanted, side="right") - 1
        return np.where((at >= 0) & (self.keys[np.maximum(at, 0)] == wanted), at, -1)

    def latest(self, until: int) -> bytes:
        """Of the ids that tell their time, of entries up to instance `until`, the latest; empty where none does."""
        plain = self.keys.view(np.uint8).reshape(-1, _KEY.itemsize)
        passed = self._lasts.astype(np.int64) <= until - self.first
        timed = np.flatnonzero(passed & (plain[:, 6] >> 4 == 7) & (plain[:, 8] >> 6 == 2))
        return plain[timed[-1]].tobytes() if len(timed) else b""


def _chunk(first: int, last: int, keys: Sequence[bytes], entries: Sequence[Entry]) -> dict[str, Any]:
    """What is kept of entries between two numbers of instances."""
    said = [entry.said for entry in entries]
    return {
        "first": first,
        "instances": last - first,
        "keys": b"".join(keys),
        "lasts": np.array([entry.last - first for entry in entries], "<u4").tobytes(),
        "starts": np.cumsum([0, *map(len, said)]).astype("<u4").tobytes(),
        "said": b"".join(said),
    }


class Remembered:
    """The requests whose last instance is among the last `keep` of the log."""

    def __init__(self, keep: int, entries: int | None = None) -> None:
        """`entries` in a chunk; by default such that there are neither too many chunks nor too large ones."""
        self.keep: Final = keep
        self.total = 0
        """Instances ever taken."""
        self._most = entries or max(_ENTRIES, min(_MOST_ENTRIES, keep // _CHUNKS))
        self._sealed: deque[Chunk] = deque()
        self._sealed_bytes = 0
        self._horizon = b""
        """Of the ids that were forgotten and tell their time, the latest."""
        self._horizon_at = -1
        """Up to which instance that is known."""
        self._crowded = False
        """Whether something was forgotten for lack of room."""
        self._first = 0
        self._keys: list[bytes] = []
        self._open: list[Entry] = []
        self._index: dict[bytes, int] = {}
        self._open_bytes = 0
        self._swept = 0

    def add(self, key: bytes, instances: int, said: bytes) -> int:
        """Remember a request of at least one instance; the number of its last one."""
        self.total += instances
        self._index[key] = len(self._keys)
        self._keys.append(key)
        self._open.append(Entry(self.total, said))
        self._open_bytes += len(said)
        if len(self._keys) >= self._most or self._open_bytes >= _CHUNK_BYTES:
            self._seal()
        return self.total

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Those of them that are remembered."""
        found: dict[bytes, Entry] = {}
        oldest, rest = self.total - self.keep, []
        for key in keys:
            position = self._index.get(key)
            if position is None:
                rest.append(key)
            elif self._open[position].last > oldest:
                found[key] = self._open[position]
        if rest and self._sealed:
            wanted, least, greatest = np.array(rest, _KEY), min(rest), max(rest)
            for chunk in self._sealed:  # the newest last, so that it counts
                if greatest < chunk.least or chunk.greatest < least:
                    continue
                positions = chunk.find(wanted)
                for place in np.flatnonzero(positions >= 0).tolist():
                    entry = chunk.entry(int(positions[place]))
                    if entry.last > oldest:
                        found[rest[place]] = entry
        return found

    def forgotten(self, key: bytes) -> bool:
        """Whether a request that is not remembered may have been once.

        An id that tells its time may if it is not later than all that were forgotten; of any other id nobody can know,
        so it may as soon as anything was forgotten.
        """
        if self.total <= self.keep and not self._crowded:
            return False
        return not made_in_order(key) or key <= self._forgotten_until()

    def kept(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What survives a restart, by name: `open`, and each sealed chunk, the same object each time."""
        now = {"total": self.total, "horizon": self._horizon, "crowded": self._crowded}
        yield "open", _chunk(self._first, self.total, self._keys, self._open) | now
        for chunk in self._sealed:
            yield str(chunk.first), chunk.kept

    def restore(self, kept: dict[str, dict[str, Any]]) -> None:
        """Go on from what `kept` gave. Raises ValueError for anything else."""
        now = kept["open"]
        plain = Chunk(now)
        sealed = sorted((Chunk(part) for name, part in kept.items() if name != "open"), key=lambda chunk: chunk.first)
        ends = [chunk.first + chunk.instances for chunk in sealed]
        if ends != [*[chunk.first for chunk in sealed[1:]], plain.first][: len(ends)]:
            raise ValueError("a chunk of what is remembered is not there")
        self.total, self._horizon, self._crowded = now["total"], now["horizon"], now["crowded"]
        self._sealed, self._first = deque(sealed), plain.first
        self._sealed_bytes = sum(chunk.size for chunk in sealed)
        self._keys = [now["keys"][start : start + 16] for start in range(0, len(now["keys"]), 16)]
        self._open = [plain.entry(position) for position in range(len(self._keys))]
        self._index = {key: position for position, key in enumerate(self._keys)}
        self._open_bytes, self._swept, self._horizon_at = plain.size, 0, -1

    def _forgotten_until(self) -> bytes:
        oldest = self.total - self.keep
        if self._horizon_at == oldest:
            return self._horizon
        self._horizon_at = oldest
        for chunk in self._sealed:
            if chunk.first >= oldest:
                break
            self._horizon = max(self._horizon, chunk.latest(oldest))
        while self._swept < len(self._open) and self._open[self._swept].last <= oldest:
            if made_in_order(self._keys[self._swept]):
                self._horizon = max(self._horizon, self._keys[self._swept])
            self._swept += 1
        return self._horizon

    def _seal(self) -> None:
        order = np.argsort(np.array(self._keys, _KEY), kind="stable").tolist()
        keys, entries = ([part[position] for position in order] for part in (self._keys, self._open))
        chunk = Chunk(_chunk(self._first, self.total, keys, entries))
        self._sealed.append(chunk)
        self._sealed_bytes += chunk.size
        self._first = self.total
        self._keys, self._open, self._index = [], [], {}
        self._open_bytes = self._swept = 0
        self._let_go()

    def _let_go(self) -> None:
        """Drop the chunks of which nothing is remembered, or for which there is no room."""
        room = _ROOM + _ROOM_EACH * self.keep
        while self._sealed:
            chunk = self._sealed[0]
            here = chunk.first + chunk.instances > self.total - self.keep
            if here and self._sealed_bytes <= room:
                return
            self._crowded |= here
            self._horizon = max(self._horizon, chunk.latest(self.total))
            self._sealed_bytes -= chunk.size
            self._sealed.popleft()
