"""What a client sends, read: each head is checked and becomes an exchange, each body goes to its own."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Final

import httptools

from proxy.http.headers import REQUEST_NAMES, Headers, Noted, RefusedError
from proxy.http.request import RequestHead, read_request_head
from proxy.http.wire import request_bytes
from proxy.traffic import patience
from proxy.traffic.exchange import Exchange
from proxy.traffic.plane import Plane
from proxy.traffic.reply import Client

MAX_PIPELINE: Final = 256
"""How many requests may be in hand at once: one read can bring thousands."""

_METHOD: Final = re.compile(rb"[A-Z]{1,32} (?:/|\*|https?://)")


@dataclass(slots=True)
class Refused:
    """A request in the pipeline that is answered here."""

    error: RefusedError
    method: bytes


class Reader(Client):
    """The reading half of a client's connection: the parser tells it what came, and it fills the pipeline."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._parser = httptools.HttpRequestParser(self)
        self._pipeline: deque[Exchange | Refused] = deque()
        self._reading: Exchange | None = None  # the request whose body is coming
        self._target = b""
        self._forwarded: Headers = []
        self._noted: Noted = []
        self._held_bytes = 0  # given to the parser since it last showed something: it may hold all of it
        self._head_bytes = 0  # what was read since the head began, and so at least its size
        self._in_head = False
        self._interrupted = False  # the parser has stopped behind a head that asks for another protocol
        self._muted = False  # the parser is given a head that has been taken in already
        self._behind_upgrade = b""  # what came behind a request whose model may switch protocols
        self._body_size = 0
        self._body_due = 0.0  # when the body must be as long as it is, at the least pace
        self._closing = False  # nothing more is parsed
        self._deadline = monotonic() + patience.HEAD_SECONDS
        self.understands_chunks = True

    @abstractmethod
    def _refuse(self, error: RefusedError) -> None:
        """Answer with an error once every earlier request has its answer, and parse nothing more."""

    @abstractmethod
    def _pause(self, why: str, paused: bool) -> None:
        """Stop (or go on) reading, as long as one such reason stands."""

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

    # The parser's side. What is raised here ends the parsing; `data_received` turns it into an answer.

    def on_message_begin(self) -> None:
        self._target = b""
        self._forwarded = []
        self._noted = []
        self._body_size = 0
        self._in_head = True
        self._held_bytes = 0
        if not self._pipeline:
            self._deadline = self._plane.now + patience.HEAD_SECONDS

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
                raise head_too_large()
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
        self._deadline = self._body_due = plane.now + patience.BODY_SECONDS
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


def head_too_large() -> RefusedError:
    """The error for that."""
    # A new one each time: an exception that is raised again and again keeps every frame it has passed.
    return RefusedError(431, "head_too_large", "the request's head is too large")


def _cause(error: httptools.HttpParserError, data: bytes) -> RefusedError:
    """What a callback of ours raised, or the parser's own complaint about this read."""
    if isinstance(error.__context__, RefusedError):
        return error.__context__
    if isinstance(error, httptools.HttpParserInvalidMethodError) and _METHOD.match(data):
        return RefusedError(501, "not_implemented", "this method is not known here")
    return RefusedError(400, "bad_request", "this is not a valid HTTP/1.1 request")
