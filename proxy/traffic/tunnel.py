"""A tunnel: after an upgrade to WebSocket, bytes pass both ways unread, until both sides are done."""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.http.upstream import UpstreamConnection
from proxy.traffic.plane import Plane

IDLE_SECONDS: Final = 600.0
"""How long both sides may be silent; WebSocket's own pings come far more often."""

FLUSH_SECONDS: Final = 30.0
"""How long a side may take for the end of what it is sent, once the other is closed."""


class _End(asyncio.Protocol):
    """One side: what it receives, the other is sent."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self.transport: asyncio.Transport
        self.other: _End
        self.ended = False  # it will say no more

    def data_received(self, data: bytes) -> None:
        self._tunnel.touch()
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        """It has said everything, and may still listen."""
        self.ended = True
        if self.other.ended:
            self._tunnel.end()
        elif self.other.transport.can_write_eof() and not self.other.transport.is_closing():
            self.other.transport.write_eof()
        else:  # TLS knows no half-closed connection
            self.other.transport.close()
        return True

    def pause_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        self.other.transport.close()
        self._tunnel.lost(self)


class Tunnel:
    """Both ends; for the clock and the worker's end it stands where the client's connection stood."""

    def __init__(self, plane: Plane, client: asyncio.Transport, connection: UpstreamConnection) -> None:
        self._plane = plane
        self._connection = connection
        self._client, self._upstream = _End(self), _End(self)
        self._client.other, self._upstream.other = self._upstream, self._client
        self._deadline = plane.now + IDLE_SECONDS
        self._ending = False
        self._client.transport = client
        self._upstream.transport = connection.hand_over(self._upstream)
        client.set_protocol(self._client)
        plane.opened(self)

    def start(self, from_client: bytes, from_upstream: bytes) -> None:
        """Pass on what has come already, and whatever comes."""
        for end in (self._client, self._upstream):
            end.transport.resume_reading()
        if from_upstream:  # from here on, either end may pause the other
            self._client.transport.write(from_upstream)
        if from_client:
            self._upstream.transport.write(from_client)

    def touch(self) -> None:
        """Somebody has said something."""
        self._deadline = self._plane.now + IDLE_SECONDS

    def lost(self, end: _End) -> None:
        """One side is closed, and the other closes when it has what was meant for it."""
        if end is self._client:
            self._plane.closed(self)
        else:
            self._connection.let_go()
        self._give_time_to_flush()

    def expire(self, now: float) -> None:
        """End a tunnel in which nobody speaks, or which somebody does not let end."""
        if now < self._deadline:
            return
        if self._ending:
            self.cut()
        else:
            self.end()

    def drain(self) -> None:
        """The worker stops: the tunnel may go on until the worker's deadline."""

    def end(self) -> None:
        """Close both sides in order."""
        self._give_time_to_flush()
        self._client.transport.close()
        self._upstream.transport.close()

    def _give_time_to_flush(self) -> None:
        if not self._ending:
            self._ending = True
            self._deadline = self._plane.now + FLUSH_SECONDS

    def cut(self) -> None:
        """End it at once."""
        self._client.transport.abort()
        self._upstream.transport.abort()
