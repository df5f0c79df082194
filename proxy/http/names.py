"""Host names to addresses, looked up so that one whose lookup hangs holds up no other.

The event loop's own lookups share a few threads: a shadow's name that no server answers for would keep production from
connecting. Here each lookup has a thread to itself, and there is one at a time for each name of a pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from ipaddress import ip_address
from time import monotonic
from typing import Final

KEPT_SECONDS: Final = 5.0
"""How long an answer is good; a connection that cannot be made ends it sooner."""


class Names:
    """The names that one pool connects to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """The addresses of a host, one at least, in the system's order. Raises OSError or UnicodeError."""
        if _is_address(host):
            return [host]
        until, known = self._known.get(host, (0.0, []))
        if monotonic() < until:
            return known
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = self._loop.create_future()
            threading.Thread(target=self._look_up, args=(host, asked), name=f"name {host}", daemon=True).start()
        return await asyncio.shield(asked)

    def forget(self, host: str) -> None:
        """Its addresses were of no use: ask anew."""
        self._known.pop(host, None)

    def _look_up(self, host: str, asked: asyncio.Future[list[str]]) -> None:
        """In a thread of its own."""
        found: list[str] | Exception
        try:
            found = list(dict.fromkeys(str(entry[4][0]) for entry in getaddrinfo(host)))
        except (OSError, UnicodeError) as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            self._loop.call_soon_threadsafe(self._learn, host, asked, found)

    def _learn(self, host: str, asked: asyncio.Future[list[str]], found: list[str] | Exception) -> None:
        del self._asked[host]
        if isinstance(found, Exception):
            asked.set_exception(found)
            asked.exception()  # whoever waited may have given up
        else:
            self._known[host] = (monotonic() + KEPT_SECONDS, found)
            asked.set_result(found)


def getaddrinfo(host: str) -> list[tuple[int, int, int, str, tuple[str | int, ...]]]:
    """What the system says; it may take as long as it likes."""
    return [(*entry[:4], tuple(entry[4])) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
