"""The way back: what an exchange asks of a client's connection, and the model's answer as that client can read it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from proxy.http.answer import AnswerHead
from proxy.http.headers import CHUNKED, Headers, may_trail
from proxy.http.upstream import UpstreamConnection
from proxy.http.wire import answer_bytes, chunk, last_chunk

if TYPE_CHECKING:
    from proxy.traffic.exchange import Exchange

_NO_BODY: Final = frozenset({204, 304})


class Client(Protocol):
    """The client's connection, as an exchange sees it."""

    understands_chunks: bool
    reads_slowly: bool

    def write(self, data: bytes) -> None:
        """Send a piece of the answer."""

    def pause_request(self, paused: bool) -> None:
        """Stop (or go on) reading the request."""

    def answer_error(self, status: int, reason: str, text: str, exchange: Exchange) -> None:
        """Answer instead of the model."""

    def answer_refused(self, status: int, reason: str, body: bytes, exchange: Exchange) -> None:
        """Answer a request that was read whole instead of the model; the connection stays."""

    def tunnel(self, connection: UpstreamConnection, from_upstream: bytes) -> None:
        """Let bytes pass both ways unread from now on."""

    def cut(self) -> None:
        """End the answer so that it never looks complete."""

    def exchange_ended(self, exchange: Exchange) -> None:
        """On with the next."""


class Reply:
    """One answer from its head on: re-framed for the client, and kept as far as it is captured."""

    __slots__ = ("_out", "_rechunk", "_trailers", "began", "captured", "head", "keeps", "size")

    def __init__(self, head: AnswerHead, method: bytes, exchange_id: bytes, *, keeps: bool, chunks: bool) -> None:
        """`method`: the request's; `keeps`: the client's connection may stay; `chunks`: the client understands them."""
        self.head = head
        self.began = monotonic()
        length = head.length
        has_body = method != b"HEAD" and head.status not in _NO_BODY
        self._rechunk = False
        if has_body and (length is None or length == CHUNKED):
            self._rechunk = chunks
            length = CHUNKED if chunks else None
        elif length == CHUNKED or head.status == 204:
            length = None
        self.keeps = keeps and (not has_body or length is not None)
        """Whether the client's connection stays: it has to see the answer's end without that."""
        self._out = [answer_bytes(head, exchange_id, length, not self.keeps)]  # what has not been written to the client
        self.captured: list[bytes] = []
        self.size = 0
        """Of the body, in bytes."""
        self._trailers: Headers | None = None

    def take(self, data: bytes, keeps: int) -> None:
        """A piece of the body, of which so many bytes are kept for the event."""
        self._out.append(chunk(data) if self._rechunk else data)
        if self.size < keeps:
            self.captured.append(data)
        self.size += len(data)

    def trail(self, name: bytes, value: bytes) -> None:
        """A header behind the body: for its end, where it may stand there."""
        if may_trail(name):
            self._trailers = self._trailers or []
            self._trailers.append((name, value))

    def end(self) -> None:
        """It is whole."""
        if self._rechunk:
            self._out.append(last_chunk(self._trailers))

    def to_write(self) -> bytes:
        """What has not been written to the client; it is written now."""
        out = self._out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data
