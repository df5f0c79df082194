"""What is written to the wire: heads with the framing of their own leg, chunks, trailers, and answers of our own."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Final

from proxy.http.answer import AnswerHead
from proxy.http.headers import CHUNKED, Headers

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


def request_bytes(method: bytes, target: bytes, authority: bytes, headers: Headers, length: int | None) -> bytes:
    """A request's head as it goes to an upstream."""
    lines = [b"%b: %b\r\n" % pair for pair in headers]
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b" % (method, target, authority, b"".join(lines), _framing(length))


def answer_bytes(head: AnswerHead, exchange_id: bytes, length: int | None, close: bool) -> bytes:
    """An answer's head as it goes to a client, with the body's framing on this leg."""
    lines = [b"%b: %b\r\n" % pair for pair in head.forwarded]
    if not head.dated:  # RFC 9110, 6.6.1: who passes on an answer without a date adds it
        lines.append(b"Date: %b\r\n" % date(int(time())))
    if close:
        lines.append(b"Connection: close\r\n")
    return b"HTTP/1.1 %d %b\r\n%bX-Shadowdrift-Id: %b\r\n%b" % (
        head.status,
        head.reason,
        b"".join(lines),
        exchange_id,
        _framing(length),
    )


def _framing(length: int | None) -> bytes:
    if length is None:
        return b"\r\n"
    return b"Transfer-Encoding: chunked\r\n\r\n" if length == CHUNKED else b"Content-Length: %d\r\n\r\n" % length


def interim_bytes(head: AnswerHead) -> bytes:
    """An interim answer (1xx), which has no body."""
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, _lines(head.forwarded))


def switching_bytes(head: AnswerHead, exchange_id: bytes) -> bytes:
    """The answer after which a connection speaks WebSocket."""
    own = b"Connection: Upgrade\r\nUpgrade: websocket\r\nX-Shadowdrift-Id: %b\r\n\r\n" % exchange_id
    return b"HTTP/1.1 101 %b\r\n%b%b" % (head.reason, _lines(head.forwarded), own)


def error_bytes(status: int, text: str, *, with_body: bool = True, exchange_id: bytes | None = None) -> bytes:
    """A whole answer of the proxy's own, after which the connection closes. It echoes nothing of the request."""
    body = b'{"error": "%b"}\n' % text.encode()
    return own_answer(status, body, with_body=with_body, exchange_id=exchange_id, close=True)


def own_answer(status: int, body: bytes, *, with_body: bool, exchange_id: bytes | None, close: bool) -> bytes:
    """A whole answer of the proxy's own with a body of JSON."""
    phrase = HTTPStatus(status).phrase.encode()
    own = b"X-Shadowdrift-Id: %b\r\n" % exchange_id if exchange_id else b""
    start = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nDate: %b\r\n" % (status, phrase, date(int(time())))
    end = b"Connection: close\r\n\r\n" if close else b"\r\n"
    head = start + own + b"Content-Length: %d\r\n" % len(body) + end
    return head + body if with_body else head


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Headers | None) -> bytes:
    """The end of a chunked body."""
    return b"0\r\n%b\r\n" % _lines(trailers) if trailers else LAST_CHUNK


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])


@lru_cache(maxsize=1)
def date(second: int) -> bytes:
    """That second since 1970 as HTTP writes it."""
    return formatdate(second, usegmt=True).encode()
