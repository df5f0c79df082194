"""A client's connection: requests in, answers out, in order, and no more held than one read brings."""

from __future__ import annotations

import asyncio
import socket
import struct
from time import monotonic
from typing import Final

from proxy.http.headers import RefusedError
from proxy.http.upstream import UpstreamConnection
from proxy.http.wire import error_bytes, own_answer
from proxy.traffic import patience
from proxy.traffic.exchange import Exchange
from proxy.traffic.plane import Plane
from proxy.traffic.reading import Reader, Refused, head_too_large
from proxy.traffic.tunnel import Tunnel

READ_AHEAD: Final = 8
"""How many requests may wait their turn before reading waits too; while it waits, a client's end goes unnoticed."""

_RESET: Final = struct.pack("ii", 1, 0)


class ClientConnection(Reader, asyncio.Protocol):
    """Serves what it reads one after the other; pipelined requests wait, and reading waits with them."""

    def __init__(self, plane: Plane) -> None:
        super().__init__(plane)
        self._transport: asyncio.Transport
        self._advancing = False  # the pipeline is being gone through
        self._half_closed_until = 0.0
        self._pauses: set[str] = set()
        self._lingering_until = 0.0  # once the last answer is written: when it ends at the latest
        self.reads_slowly = False
        """Whether what was written has not left yet, beyond what may wait."""

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._plane.opened(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._plane.closed(self)
        self._closing = True
        self._give_up_pipeline()

    def _give_up_pipeline(self) -> None:
        while self._pipeline:
            pending = self._pipeline.popleft()
            if isinstance(pending, Exchange):
                pending.client_gone()

    def eof_received(self) -> bool:
        """The client sends no more: it is gone, or it still waits for the answers to what it has sent whole."""
        if not self._pipeline or self._reading is not None or self._behind_upgrade:
            return False
        self._half_closed_until = monotonic() + patience.HALF_CLOSED_SECONDS
        return True

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._deadline = min(monotonic() + patience.LINGER_SECONDS, self._lingering_until)
            return
        size = len(data)
        self._held_bytes += size
        self._head_bytes = size + self._head_bytes if self._in_head else size
        if self._reading is not None:
            at_least = self._body_due + self._body_size / patience.BODY_BYTES_PER_SECOND
            self._deadline = min(self._plane.now + patience.BODY_SECONDS, at_least)
        self._feed(data)
        if self._pipeline:
            first = self._pipeline[0]
            if isinstance(first, Exchange):
                first.proceed()  # with all that one read brought, in one write
            if len(self._pipeline) > READ_AHEAD:
                self._pause("pipeline", True)
        if self._held_bytes > self._plane.header_bytes:
            # The parser shows a header (or a trailer) when it is whole; until then, this bounds what it holds.
            self._refuse(head_too_large())
        elif self._in_head and self._target and data.endswith(b"\n") and self._parser.get_http_version() < "1":
            # A request line of HTTP/0.9 is a whole request, after which nothing more would come.
            self._refuse(RefusedError(400, "bad_request", "the HTTP version must be 1.0 or 1.1"))

    def pause_writing(self) -> None:
        self._answer_paused(True)

    def resume_writing(self) -> None:
        self._answer_paused(False)

    def _answer_paused(self, paused: bool) -> None:
        self.reads_slowly = paused
        first = self._pipeline[0] if self._pipeline else None
        if isinstance(first, Exchange):
            first.pause_answer(paused)
            if not paused:
                first.proceed()  # if it has waited for this

    # The exchange's side.

    def write(self, data: bytes) -> None:
        """Send a piece of the current answer."""
        self._transport.write(data)

    def pause_request(self, paused: bool) -> None:
        """Stop (or go on) reading the body, while the model is slow to take it."""
        self._pause("upstream", paused)

    def answer_error(self, status: int, reason: str, text: str, exchange: Exchange) -> None:
        """Answer instead of the model; the connection closes afterwards."""
        self._plane.count_refusal(reason)
        with_body = exchange.head.method != b"HEAD"
        self.write(error_bytes(status, text, with_body=with_body, exchange_id=exchange.id.encode()))
        exchange.client_keeps = False

    def answer_refused(self, status: int, reason: str, body: bytes, exchange: Exchange) -> None:
        """Answer a request that was read whole instead of the model; the connection stays."""
        self._plane.count_refusal(reason)
        with_body, close = exchange.head.method != b"HEAD", not exchange.client_keeps
        self.write(own_answer(status, body, with_body=with_body, exchange_id=exchange.id.encode(), close=close))

    def tunnel(self, connection: UpstreamConnection, from_upstream: bytes) -> None:
        """The model has switched protocols: from here on, bytes pass unread."""
        self._pipeline.clear()
        self._closing = True
        tunnel = Tunnel(self._plane, self._transport, connection)
        self._plane.closed(self)
        tunnel.start(self._behind_upgrade, from_upstream)

    def cut(self) -> None:
        """End an answer that cannot be finished by a reset, so that it never looks complete, even without a length."""
        self._closing = True
        connection = self._transport.get_extra_info("socket")
        if connection is not None and not self._transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def exchange_ended(self, exchange: Exchange) -> None:
        """The current exchange is over: on with the next, or close."""
        if not self._pipeline or self._pipeline[0] is not exchange:
            return
        self._pipeline.popleft()
        if self._transport.is_closing():
            return
        held_back = bool(self._pauses)  # and what the client has sent meanwhile is unread
        if held_back:
            self._pause("upstream", False)
            self._pause("upgrade", False)
        unfinished = self._reading is exchange
        if unfinished or not exchange.client_keeps or (self._half_closed_until and not self._pipeline):
            self._close(linger=unfinished or held_back or bool(self._pipeline))
            return
        if self._behind_upgrade:  # the model has not switched protocols
            rest, self._behind_upgrade = self._behind_upgrade, b""
            self._plane.loop.call_soon(self.data_received, rest)
        self._deadline = self._plane.now + (patience.HEAD_SECONDS if self._in_head else patience.IDLE_SECONDS)
        if self._pipeline and not self._advancing:
            self._advance()

    def _advance(self) -> None:
        """On with the first in line, and the next where that is answered at once: in a loop, or they would nest."""
        self._advancing = True
        first: Exchange | Refused | None = None
        try:
            while self._pipeline and self._pipeline[0] is not first:
                first = self._pipeline[0]
                if len(self._pipeline) <= READ_AHEAD:
                    self._pause("pipeline", False)
                if isinstance(first, Exchange):
                    first.deadline = self._plane.now + first.serving.timeout
                    first.proceed()
                else:
                    self._answer_refusal(first)
        finally:
            self._advancing = False

    # Refusals and the end.

    def _refuse(self, error: RefusedError) -> None:
        """Answer with an error once every earlier request has its answer, and parse nothing more."""
        if self._closing:
            return
        self._closing = True
        method = self._parser.get_method() if self._noted or self._target else b"GET"
        exchange = self._reading
        if exchange is not None and not exchange.ended and exchange is self._pipeline[-1]:
            # Its body broke off or grew too large: the model must not take what it has for the whole.
            self._reading = None
            method = exchange.head.method  # its body's parser may know another
            if exchange.begun:
                self.cut()
                return
            self._pipeline.pop()
            exchange.client_gone()
        refusal = Refused(error, method)
        self._pipeline.append(refusal)
        if len(self._pipeline) == 1:
            self._answer_refusal(refusal)

    def _answer_refusal(self, refusal: Refused) -> None:
        self._plane.count_refusal(refusal.error.reason)
        self.write(error_bytes(refusal.error.status, str(refusal.error), with_body=refusal.method != b"HEAD"))
        self._close(linger=True)

    def _close(self, *, linger: bool) -> None:
        """Close; a client that may still be sending is read out for a while first, or a reset would eat the answer."""
        self._closing = True
        self._reading = None
        self._give_up_pipeline()
        now = monotonic()
        self._deadline = self._lingering_until = now + patience.FLUSH_SECONDS
        if not linger:
            self._transport.close()
            return
        if not self._transport.get_write_buffer_size():
            self._deadline = now + patience.LINGER_SECONDS
        self._pauses.clear()
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _pause(self, why: str, paused: bool) -> None:
        before = bool(self._pauses)
        (self._pauses.add if paused else self._pauses.discard)(why)
        if bool(self._pauses) != before and not self._transport.is_closing() and not self._closing:
            if self._pauses:
                self._transport.pause_reading()
            else:
                self._body_due = (
                    self._plane.now + patience.BODY_SECONDS - self._body_size / patience.BODY_BYTES_PER_SECOND
                )
                if self._reading is not None:
                    self._deadline = self._plane.now + patience.BODY_SECONDS
                self._transport.resume_reading()

    def expire(self, now: float) -> None:
        """Called every tenth of a second: end what has taken too long."""
        current = self._pipeline[0] if self._pipeline else None
        if self._lingering_until:
            if self._deadline <= now:
                self._transport.abort()
        elif self._half_closed_until and self._half_closed_until <= now:
            self._transport.abort()
        elif self._reading is not None and not self._pauses and self._deadline <= now:
            self._refuse(RefusedError(408, "slow_request", "the request took too long to arrive"))
        elif isinstance(current, Exchange):
            # While its own body is waited for, that has its own time.
            if current.deadline <= now and (current is not self._reading or self._pauses):
                current.expire()
        elif self._deadline <= now:
            if self._in_head:
                self._refuse(RefusedError(408, "slow_request", "the request took too long to arrive"))
            else:
                self._close(linger=False)

    def drain(self) -> None:
        """The worker stops: every answer that has not begun says that it is the last.

        Without a request the connection stays open: closing it would fail a request that is on its way already.
        """
        for pending in self._pipeline:
            if isinstance(pending, Exchange) and not pending.begun:
                pending.client_keeps = False

    def end(self) -> None:
        """The worker waits no longer: close in order what owes no answer, and cut what does."""
        if self._pipeline:
            self.cut()
        elif not self._closing:
            self._close(linger=False)
