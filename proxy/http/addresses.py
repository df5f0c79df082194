"""Where a version can be reached: one address or several, and which of them the next request goes to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

FIRST_AWAY_SECONDS: Final = 0.5
LONGEST_AWAY_SECONDS: Final = 10.0
"""How long an address is passed over whose connects fail: doubled at each failure, up to here."""

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(slots=True, eq=False)
class Address:
    """One of a version's addresses, and how it fares."""

    host: str
    port: int
    authority: bytes
    base_path: bytes
    in_flight: int = 0
    """Connects and requests that are under way."""
    failures: int = 0
    """Connects that failed since one succeeded."""
    away_until: float = 0.0

    @classmethod
    def of(cls, url: str) -> Address:
        """The address in a target's URL."""
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        return cls(parts.hostname or "", port, parts.netloc.encode(), parts.path.rstrip("/").encode())


class Addresses:
    """Chooses the address with the least in flight, in turn among equals; one that does not connect is passed over.

    Decisions alone; times are seconds of one monotonic clock, which the caller passes in.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self.all = [Address.of(url) for url in urls]
        self.only = self.all[0] if len(self.all) == 1 else None
        """Where there is no choice."""
        self._turn = 0

    def choose(self, now: float, tried: Collection[Address] = ()) -> Address | None:
        """The address for the next connection, None when all were tried; where all are away, the one away shortest."""
        if len(self.all) == 1:
            return None if tried else self.all[0]
        self._turn = (self._turn + 1) % len(self.all)
        in_turn = self.all[self._turn :] + self.all[: self._turn]
        left = [address for address in in_turn if address not in tried]
        there = [address for address in left if address.away_until <= now]
        if there:
            return min(there, key=lambda address: address.in_flight)
        return min(left, key=lambda address: address.away_until, default=None)

    @staticmethod
    def failed(address: Address, now: float) -> None:
        """No connection could be made."""
        address.away_until = now + min(FIRST_AWAY_SECONDS * 2**address.failures, LONGEST_AWAY_SECONDS)
        address.failures = min(address.failures + 1, 16)

    @staticmethod
    def reached(address: Address) -> None:
        """A connection was made."""
        address.failures = 0
        address.away_until = 0.0
