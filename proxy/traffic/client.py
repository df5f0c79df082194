"""A client's connection: requests in, answers out, in order, and no more held than one read brings."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Final

import httptools

from proxy.http.headers import REQUEST_NAMES, Headers, Noted, RefusedError
from proxy.http.request import RequestHead, read_request_head
from proxy.http.upstream import UpstreamConnection
from proxy.http.wire import error_bytes, own_answer, request_bytes
from proxy.traffic.exchange import Exchange
from proxy.traffic.plane import Plane
from proxy.traffic.tunnel import Tunnel

HEAD_SECONDS: Final = 10.0
"""How long a request's head may take from its first byte."""

BODY_SECONDS: Final = 30.0
"""How long a request's body may stand still, and how far it may lag behind `BODY_BYTES_PER_SECOND`."""

BODY_BYTES_PER_SECOND: Final = 512
"""What a body must come at on the average, or a client that sends a byte now and then would hold on for ever."""

HALF_CLOSED_SECONDS: Final = 1.0
"""How long a client that sends no more is given its answer. It may have closed its sending half alone; mostly it is
gone, and only an answer that is written to it would show that."""

IDLE_SECONDS: Final = 75.0
"""How long a connection may wait for its next request."""

LINGER_SECONDS: Final = 1.0
"""How long a refused client may be silent, so that it reads the answer before the connection is reset."""

FLUSH_SECONDS: Final = 30.0
"""How long a client may take for the end of its last answer; a refused one that goes on sending is cut here too."""

READ_AHEAD: Final = 8
"""How many requests may wait their turn before reading waits too; while it waits, a client's end goes unnoticed."""

MAX_PIPELINE: Final = 256
"""How many requests may be in hand at once: one read can bring thousands."""

_METHOD: Final = re.compile(rb"[A-Z]{1,32} (?:/|\*|https?://)")

_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Refusal:
    """A request in the pipeline that is answered here."""

    error: RefusedError
    method: bytes


class ClientConnection(asyncio.Protocol):
    """Parses requests and serves them one after the other; pipelined ones wait, and reading waits with them."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._pipeline: deque[Exchange | _Refusal] = deque()
        self._reading: Exchange | None = None  # the request whose body is coming
        self._target = b""
        self._forwarded: Headers = []
        self._noted: Noted = []
        self._held_bytes = 0  # given to the parser since it last showed something: it may hold all of it
        self._head_bytes = 0  # what was read since the head began, and so at least its size
        self._in_head = False
        self._interrupted = False  # the parser has stopped behind a head that asks for another protocol
        self._muted = False  # the parser is given a head that has been taken in already
        self._advancing = False  # the pipeline is being gone through
        self._behind_upgrade = b""  # what came behind a request whose model may switch protocols
        self._body_size = 0
        self._body_due = 0.0  # when the body must be as long as it is, at the least pace
        self._half_closed_until = 0.0
        self._pauses: set[str] = set()
        self._closing = False  # nothing more is parsed
        self._lingering_until = 0.0  # once the last answer is written: when it ends at the latest
        self.reads_slowly = False
        """Whether what was written has not left yet, beyond what may wait."""
        self._deadline = monotonic() + HEAD_SECONDS
        self.understands_chunks = True

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
        self._half_closed_until = monotonic() + HALF_CLOSED_SECONDS
        return True

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._deadline = min(monotonic() + LINGER_SECONDS, self._lingering_until)
            return
        size = len(data)
        self._held_bytes += size
        self._head_bytes = size + self._head_bytes if self._in_head else size
        if self._reading is not None:
            at_least = self._body_due + self._body_size / BODY_BYTES_PER_SECOND
            self._deadline = min(self._plane.now + BODY_SECONDS, at_least)
        self._feed(data)
        if self._pipeline:
            first = self._pipeline[0]
            if isinstance(first, Exchange):
                first.proceed()  # with all that one read brought, in one write
            if len(self._pipeline) > READ_AHEAD:
                self._pause("pipeline", True)
        if self._held_bytes > self._plane.header_bytes:
            # The parser shows a header (or a trailer) when it is whole; until then, this bounds what it holds.
            self._refuse(_head_too_large())
        elif self._in_head and self._target and data.endswith(b"\n") and self._parser.get_http_version() < "1":
            # A request line of HTTP/0.9 is a whole request, after which nothing more would come.
            self._refuse(RefusedError(400, "bad_request", "the HTTP version must be 1.0 or 1.1"))

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._after_upgrade(data[stop.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(_cause(error, data))

    def _after_upgrade(self, rest: bytes) -> None:
        """The parser leaves off behind a head that asks for another protocol, whether or not it has a body."""
        self._interrupted = False
        exchange = self._reading
        if exchange is None:
            return
        if exchange.head.websocket:
            self._reading = None
            self._behind_upgrade = rest
            self._pause("upgrade", True)  # until the model has said whether it switches
            exchange.body_complete()
            return
        # Declined: the request is an ordinary one, and its body is read by a parser that is told its framing alone.
        self._parser = httptools.HttpRequestParser(self)
        self._muted = True
        self._parser.feed_data(request_bytes(b"POST", b"/", b"-", [], exchange.head.length or 0))
        self._muted = False
        self._in_head = False
        if exchange.head.length is None:
            self.on_message_complete()
        if rest:
            self._feed(rest)

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

    # The parser's side. What is raised here ends the parsing; `data_received` turns it into an answer.

    def on_message_begin(self) -> None:
        self._target = b""
        self._forwarded = []
        self._noted = []
        self._body_size = 0
        self._in_head = True
        self._held_bytes = 0
        if not self._pipeline:
            self._deadline = self._plane.now + HEAD_SECONDS

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            if self._reading is not None:
                self._reading.trailer(name, value.rstrip(b" \t"))
        elif meaning := REQUEST_NAMES[name]:
            self._noted.append((meaning, name, value.rstrip(b" \t")))
        else:
            self._forwarded.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._muted:
            return
        plane, parser = self._plane, self._parser
        if self._head_bytes > plane.header_bytes:  # or it cannot be too large
            headers = [*self._forwarded, *(pair[1:] for pair in self._noted)]
            size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > plane.header_bytes:
                raise _head_too_large()
        version = parser.get_http_version()
        head = read_request_head(parser.get_method(), self._target, version, self._forwarded, self._noted)
        self._check(head)
        plan = plane.plans.of(head.path)
        self.understands_chunks = version == "1.1"
        keeps = version == "1.1" and parser.should_keep_alive() and not (plane.draining or plane.crowded)
        self._in_head = False
        self._held_bytes = 0
        if head.upgrade:
            self._interrupted = parser.should_upgrade()
            if not self._interrupted:  # what comes behind is parsed, and must not be tunnelled
                head.websocket = False
        exchange = self._reading = Exchange(self, plane, plan, head, keeps)
        self._deadline = self._body_due = plane.now + BODY_SECONDS
        self._pipeline.append(exchange)

    def _check(self, head: RequestHead) -> None:
        limit = self._plane.body_bytes
        if limit is not None and head.length is not None and head.length > limit:
            raise RefusedError(413, "body_too_large", "the request's body is too large")
        load = self._plane.load
        if load.share and load.refuses():
            raise RefusedError(503, "overloaded", "there are more requests than can be served; try again")
        if len(self._pipeline) >= MAX_PIPELINE:
            raise RefusedError(400, "bad_request", "too many requests at once; wait for answers")

    def on_body(self, data: bytes) -> None:
        self._held_bytes = 0
        exchange = self._reading
        if exchange is None or exchange.ended:
            return
        self._body_size += len(data)
        limit = self._plane.body_bytes
        if limit is not None and self._body_size > limit:
            raise RefusedError(413, "body_too_large", "the request's body is too large")
        exchange.body_piece(data)

    def on_message_complete(self) -> None:
        self._held_bytes = 0
        if self._interrupted:  # the parser leaves off here, and the body is still to come
            return
        exchange, self._reading = self._reading, None
        if exchange is not None and not exchange.ended:
            exchange.body_complete()

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
        self._deadline = self._plane.now + (HEAD_SECONDS if self._in_head else IDLE_SECONDS)
        if self._pipeline and not self._advancing:
            self._advance()

    def _advance(self) -> None:
        """On with the first in line, and the next where that is answered at once: in a loop, or they would nest."""
        self._advancing = True
        first: Exchange | _Refusal | None = None
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
        refusal = _Refusal(error, method)
        self._pipeline.append(refusal)
        if len(self._pipeline) == 1:
            self._answer_refusal(refusal)

    def _answer_refusal(self, refusal: _Refusal) -> None:
        self._plane.count_refusal(refusal.error.reason)
        self.write(error_bytes(refusal.error.status, str(refusal.error), with_body=refusal.method != b"HEAD"))
        self._close(linger=True)

    def _close(self, *, linger: bool) -> None:
        """Close; a client that may still be sending is read out for a while first, or a reset would eat the answer."""
        self._closing = True
        self._reading = None
        self._give_up_pipeline()
        now = monotonic()
        self._deadline = self._lingering_until = now + FLUSH_SECONDS
        if not linger:
            self._transport.close()
            return
        if not self._transport.get_write_buffer_size():
            self._deadline = now + LINGER_SECONDS
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
                self._body_due = self._plane.now + BODY_SECONDS - self._body_size / BODY_BYTES_PER_SECOND
                if self._reading is not None:
                    self._deadline = self._plane.now + BODY_SECONDS
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


def _head_too_large() -> RefusedError:
    # A new one each time: an exception that is raised again and again keeps every frame it has passed.
    return RefusedError(431, "head_too_large", "the request's head is too large")


def _cause(error: httptools.HttpParserError, data: bytes) -> RefusedError:
    """What a callback of ours raised, or the parser's own complaint about this read."""
    if isinstance(error.__context__, RefusedError):
        return error.__context__
    if isinstance(error, httptools.HttpParserInvalidMethodError) and _METHOD.match(data):
        return RefusedError(501, "not_implemented", "this method is not known here")
    return RefusedError(400, "bad_request", "this is not a valid HTTP/1.1 request")
