"""Heads of requests and answers: what is forwarded of them, and how it is written on the other leg.

Header names stay as they were sent; comparisons are made on their lower case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

Headers: TypeAlias = list[tuple[bytes, bytes]]

# RFC 9110, 7.6.1: these belong to one connection. `content-length` is written anew with the framing.
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
    }
)
_NOT_FORWARDED: Final = _HOP_BY_HOP | {b"host", b"x-request-id", b"x-shadow", b"x-shadowdrift-clone"}
_NOT_RETURNED: Final = _HOP_BY_HOP | {b"x-shadowdrift-id"}
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%\[\]:-]*")

CHUNKED: Final = -1
"""The framing of a body whose length is not known before its end."""


class RefusedError(Exception):
    """A request that is answered here: its status, and the reason under which it is counted."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class RequestHead:
    """What the proxy needs to know of a request's head; `length` is None without a body, or CHUNKED."""

    method: bytes
    path: bytes
    query: bytes
    forwarded: Headers
    length: int | None
    request_id: bytes | None
    x_shadow: bytes | None
    clone_mark: bool
    expects_continue: bool
    headers: Headers


def read_request_head(method: bytes, target: bytes, version: str, headers: Headers) -> RequestHead:
    """Check a parsed request head and sort its headers. Raises `RefusedError`."""
    if method == b"CONNECT":
        raise RefusedError(501, "not_implemented", "CONNECT is not served here")
    if version not in {"1.1", "1.0"}:
        raise RefusedError(400, "bad_request", "the HTTP version must be 1.0 or 1.1")
    path, query = _path(target)
    head = RequestHead(method, path, query, [], None, None, None, False, False, headers)
    hosts = 0
    named: frozenset[bytes] = frozenset()
    for name, value in headers:
        lower = name.lower()
        if lower in _NOT_FORWARDED:
            if lower == b"host":
                hosts += 1
                if not _HOST.fullmatch(value):
                    raise RefusedError(400, "bad_request", "the Host header is not a host")
            else:
                named |= _note(head, lower, value)
        elif lower == b"expect":
            head.expects_continue = version == "1.1" and value.lower() == b"100-continue"
        else:
            head.forwarded.append((name, value))
    _check_for_version(version, hosts, head.length)
    if named:
        head.forwarded = [pair for pair in head.forwarded if pair[0].lower() not in named]
    return head


def _check_for_version(version: str, hosts: int, length: int | None) -> None:
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise RefusedError(400, "bad_request", "exactly one Host header is needed")
    if length == CHUNKED and version == "1.0":  # RFC 9112, 6.1: its framing is not to be trusted
        raise RefusedError(400, "bad_request", "HTTP/1.0 has no transfer codings")


def _note(head: RequestHead, lower: bytes, value: bytes) -> frozenset[bytes]:
    """Take a header that is not forwarded as it is; the names that a Connection header lists."""
    if lower == b"content-length":
        head.length = int(value)
    elif lower == b"transfer-encoding":
        if value.strip().lower() != b"chunked":
            raise RefusedError(501, "not_implemented", "chunked is the only transfer coding that is understood")
        head.length = CHUNKED
    elif lower == b"connection":
        return named_in_connection(value)
    elif lower == b"x-request-id":
        head.request_id = value if _REQUEST_ID.fullmatch(value) else None
    elif lower == b"x-shadow":
        head.x_shadow = value.strip().lower()
    elif lower == b"x-shadowdrift-clone":
        head.clone_mark = True
    elif lower == b"upgrade":
        raise RefusedError(501, "not_implemented", "protocol upgrades are not served in this version")
    return frozenset()


def named_in_connection(value: bytes) -> frozenset[bytes]:
    """The header names that a Connection header takes off the message, in lower case."""
    return frozenset(part.strip().lower() for part in value.split(b",")) - {b"close", b"keep-alive", b""}


def _path(target: bytes) -> tuple[bytes, bytes]:
    """Path and query (with its `?`) of a request target, in origin or absolute form."""
    if b"#" in target:
        raise RefusedError(400, "bad_request", "the request target must not have a fragment")
    if not target.startswith(b"/"):
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in {b"http", b"https"}:
            raise RefusedError(400, "bad_request", "the request target must be a path")
        slash = min((index for index in (rest.find(b"/"), rest.find(b"?")) if index >= 0), default=len(rest))
        target = rest[slash:] if rest[slash : slash + 1] == b"/" else b"/" + rest[slash:]
    path, question, query = target.partition(b"?")
    return path, question + query


def request_bytes(method: bytes, target: bytes, authority: bytes, headers: Headers, length: int | None) -> bytes:
    """A request's head as it goes to an upstream."""
    lines = [b"%s %s HTTP/1.1\r\nHost: %s\r\n" % (method, target, authority)]
    lines += [b"%s: %s\r\n" % pair for pair in headers]
    lines.append(_framing(length))
    return b"".join(lines)


def _framing(length: int | None) -> bytes:
    if length is None:
        return b"\r\n"
    return b"Transfer-Encoding: chunked\r\n\r\n" if length == CHUNKED else b"Content-Length: %d\r\n\r\n" % length


@dataclass(slots=True)
class AnswerHead:
    """An upstream's answer up to its body; `length` is None without one (or until the close), or CHUNKED."""

    status: int
    reason: bytes
    forwarded: Headers
    length: int | None


def read_answer_head(status: int, reason: bytes, headers: Headers) -> AnswerHead:
    """Sort an answer's headers. Raises ValueError for a transfer coding other than chunked."""
    head = AnswerHead(status, reason, [], None)
    named: frozenset[bytes] = frozenset()
    for name, value in headers:
        lower = name.lower()
        if lower not in _NOT_RETURNED:
            head.forwarded.append((name, value))
        elif lower == b"content-length":
            head.length = int(value)
        elif lower == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise ValueError("chunked is the only transfer coding that is understood")
            head.length = CHUNKED
        elif lower == b"connection":
            named |= named_in_connection(value)
    if named:
        head.forwarded = [pair for pair in head.forwarded if pair[0].lower() not in named]
    return head


def answer_bytes(head: AnswerHead, exchange_id: bytes, length: int | None, close: bool) -> bytes:
    """An answer's head as it goes to a client, with the body's framing on this leg."""
    lines = [b"HTTP/1.1 %d %s\r\n" % (head.status, head.reason)]
    lines += [b"%s: %s\r\n" % pair for pair in head.forwarded]
    lines.append(b"X-Shadowdrift-Id: %s\r\n" % exchange_id)
    if close:
        lines.append(b"Connection: close\r\n")
    lines.append(_framing(length))
    return b"".join(lines)


def error_bytes(status: int, text: str, *, with_body: bool = True, exchange_id: bytes | None = None) -> bytes:
    """A whole answer of the proxy's own, after which the connection closes. It echoes nothing of the request."""
    body = b'{"error": "%s"}\n' % text.encode()
    phrase = HTTPStatus(status).phrase.encode()
    own = b"X-Shadowdrift-Id: %s\r\n" % exchange_id if exchange_id else b""
    head = b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, phrase, own, len(body)) + (body if with_body else b"")


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"
