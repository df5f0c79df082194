"""A connection to a model: requests follow one another on it, each of one caller."""

from __future__ import annotations

import asyncio
from typing import Final, Literal, Protocol

import httptools

from proxy.http.addresses import Address
from proxy.http.answer import AnswerHead, read_answer_head
from proxy.http.headers import ANSWER_NAMES, CHUNKED, Headers, Noted

MAX_HEAD_BYTES: Final = 64 * 1024

_ENDING: Final = frozenset({b"connection", b"transfer-encoding"})
"""Trailers after which a connection is not kept."""

MAX_INTERIM: Final = 32
"""How many interim answers (1xx) may come before the real one."""

Failure = Literal["connect", "reset", "truncated", "malformed"]


class Caller(Protocol):
    """Who asked an upstream and gets its answer, in this order; every call comes from the event loop."""

    abandoned: bool
    """The caller needs no connection any more."""

    def connected(self, connection: UpstreamConnection) -> None:
        """A connection is there: send the request."""

    def answer_interim(self, head: AnswerHead) -> None:
        """An interim answer (1xx), such as 100 Continue."""

    def answer_switched(self, head: AnswerHead, data: bytes) -> None:
        """The upstream has switched protocols (101) as it was asked to; `data` is what it has said since.

        The connection is the caller's, to `hand_over`.
        """

    def answer_head(self, head: AnswerHead) -> None:
        """The answer's head."""

    def answer_body(self, data: bytes) -> None:
        """A piece of the answer's body, without its framing."""

    def answer_trailer(self, name: bytes, value: bytes) -> None:
        """A header behind a chunked body."""

    def answer_so_far(self) -> None:
        """Everything that one read brought has been told, and the answer goes on."""

    def answer_complete(self) -> None:
        """The answer is whole; the connection is no longer the caller's."""

    def answer_failed(self, failure: Failure) -> None:
        """There will be no (more) answer; the connection is gone."""

    def upstream_paused(self, paused: bool) -> None:
        """The upstream does not (or does again) take more of the request's body."""


class Keeper(Protocol):
    """Whose connection it is between two requests: the pool."""

    def keep(self, connection: UpstreamConnection) -> None:
        """The answer is whole, and the connection good for another request."""

    def forget(self, connection: UpstreamConnection) -> None:
        """The connection has closed."""


class UpstreamConnection(asyncio.Protocol):
    """One connection, on which requests follow one another."""

    def __init__(self, pool: Keeper, address: Address) -> None:
        self._pool = pool
        self.address = address
        self.caller: Caller | None = None
        self.reused = False
        self.answered = False  # whether any byte of the current answer has come
        self.idle_since = 0.0
        self.transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self.request_done = False
        """Whether the request is sent whole, so that the connection can be kept after the answer."""
        self._bodyless = False
        self._may_switch = False
        self._keeps = False
        self._paused = False
        self._held_bytes = 0  # given to the parser since it last showed something: it may hold all of it
        self._reason = b""
        self._forwarded: Headers = []
        self._noted: Noted = []
        self._head: AnswerHead | None = None
        self._interim = 0
        self._switching: AnswerHead | None = None
        self._complete = False

    # The caller's side.

    def begin(self, caller: Caller, method: bytes, *, may_switch: bool = False) -> None:
        """Serve this caller's request of that method; `may_switch`: it asks for another protocol."""
        self.caller = caller
        self.answered = False
        self.request_done = False
        self._bodyless = method == b"HEAD"
        self._may_switch = may_switch
        self._held_bytes = 0
        self._reason = b""
        self._forwarded = []
        self._noted = []
        self._head = None
        self._interim = 0
        self._complete = False

    def write(self, data: bytes) -> None:
        """Send a piece of the request."""
        self.transport.write(data)

    def pause_answer(self, paused: bool) -> None:
        """Stop (or go on) reading the answer, while its reader is slow."""
        if self.transport.is_closing():
            return
        self._paused = paused
        if paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Let another protocol have the socket; when it has closed, `let_go` is due."""
        self.caller = None
        self.transport.set_protocol(protocol)
        return self.transport

    def let_go(self) -> None:
        """The socket is closed."""
        self._pool.forget(self)

    def discard(self) -> None:
        """The caller has gone: close at once, whatever was under way."""
        self.caller = None
        self.transport.abort()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.caller is None:  # nobody asked: whatever this is, the next caller must not get it
            self.transport.abort()
            return
        self.answered = True
        self._held_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switch:
            self._switch(data[switch.args[0] :])
            return
        except httptools.HttpParserError:
            if not self._complete:
                self._fail("malformed")
                return
            self.request_done = False  # the answer was whole, and what follows it is not for the next caller
        if self._complete:
            if self._bodyless and not _ends_a_head(data):  # a body that has no place here, or a part of it
                self.request_done = False
            self._finish()
        elif self._held_bytes > MAX_HEAD_BYTES:  # a head, a trailer or a chunk's extension without end
            self._fail("malformed")
        elif self.caller is not None:
            self.caller.answer_so_far()

    def connection_lost(self, error: Exception | None) -> None:
        self._pool.forget(self)
        if self.caller is None:
            return
        if self._head is not None and self._head.length is None and error is None:
            self._complete = True  # a body without a length ends with the connection, unless it is reset
            self._finish()
        else:
            self._fail("truncated" if self._head is not None else "reset")

    def pause_writing(self) -> None:
        if self.caller is not None:
            self.caller.upstream_paused(True)

    def resume_writing(self) -> None:
        if self.caller is not None:
            self.caller.upstream_paused(False)

    # The parser's side.

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:
            if name.lower() in _ENDING:  # the parser heeds them in a trailer too, and would take no other answer
                self._keeps = False
            if self.caller is not None and not self._complete:
                self.caller.answer_trailer(name, value.rstrip(b" \t"))
        elif meaning := ANSWER_NAMES[name]:
            self._noted.append((meaning, name, value.rstrip(b" \t")))
        else:
            self._forwarded.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._complete or self.caller is None:
            return
        status = self._parser.get_status_code()
        head = read_answer_head(status, self._reason, self._forwarded, self._noted)  # ValueError ends the parsing
        self._held_bytes = 0
        if status < 200:
            self._note_interim(head)
            return
        self._keeps = self._parser.should_keep_alive()  # once the answer is whole, the parser has forgotten
        if head.length == CHUNKED and self._parser.get_http_version() != "1.1":  # RFC 9112, 6.1: not to be trusted
            self._keeps = False
        self._head = head
        self.caller.answer_head(head)
        if self._bodyless:
            self._complete = True

    def _note_interim(self, head: AnswerHead) -> None:
        self._interim += 1
        if self._interim > MAX_INTERIM or (head.status == 101) != (self._may_switch and self._parser.should_upgrade()):
            raise ValueError("an interim answer that nobody asked for")
        if head.status == 101:
            if [value.lower() for meaning, _, value in self._noted if meaning == b"upgrade"] != [b"websocket"]:
                raise ValueError("a protocol that nobody asked for")
            self._switching = head
        elif self.caller is not None:
            self.caller.answer_interim(head)

    def on_body(self, data: bytes) -> None:
        self._held_bytes = 0
        if self.caller is not None and not self._complete:
            self.caller.answer_body(data)

    def on_message_begin(self) -> None:
        if self._complete:  # a second answer to one request
            self.request_done = False

    def on_message_complete(self) -> None:
        if self._head is None:  # an interim answer
            self._reason = b""
            self._forwarded = []
            self._noted = []
            return
        self._complete = True

    def _switch(self, data: bytes) -> None:
        if self._switching is None or self.caller is None:
            self._fail("malformed")
        else:
            self.caller.answer_switched(self._switching, data)

    def _finish(self) -> None:
        caller, self.caller = self.caller, None
        if caller is None:
            return
        transport = self.transport
        keep = self.request_done and self._keeps and not transport.is_closing()
        keep = keep and not transport.get_write_buffer_size()  # it has not taken the whole request, and may never
        if self._bodyless:  # the parser still waits for the body that the head announced
            self._parser = httptools.HttpResponseParser(self)
        if keep:
            if self._paused:  # by a slow reader, and the whole answer was here already
                self._paused = False
                transport.resume_reading()
            self._pool.keep(self)
        elif transport.get_write_buffer_size():  # of a request that nobody reads: to close in order would take for ever
            transport.abort()
        else:
            transport.close()
        caller.answer_complete()

    def _fail(self, failure: Failure) -> None:
        caller, self.caller = self.caller, None
        self.transport.abort()
        if caller is not None:
            caller.answer_failed(failure)


def _ends_a_head(data: bytes) -> bool:
    """Whether an answer's head is the last thing in a read that completes it: its empty line may have come in two."""
    _, empty_line, rest = data.partition(b"\r\n\r\n")
    return not rest if empty_line else data in {b"\n", b"\r\n", b"\n\r\n"}
