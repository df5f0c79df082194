"""Heads of requests and answers: what is checked in them, and what of them is forwarded.

Header names stay as they were sent. What a name means here is looked up by the bytes that were sent, since the same few
spellings come again and again.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

Headers: TypeAlias = list[tuple[bytes, bytes]]
Noted: TypeAlias = list[tuple[bytes, bytes, bytes]]
"""Headers that mean something here: the name in lower case, the name as it was sent, the value."""

# RFC 9110, 7.6.1: these belong to one connection. `content-length` is written anew with the framing, and `trailer` is
# passed on where trailers can follow.
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
_NOTED_IN_REQUESTS: Final = _HOP_BY_HOP | {
    b"host",
    b"expect",
    b"content-encoding",
    b"x-request-id",
    b"x-shadow",
    b"x-shadowdrift-clone",
}
_NOTED_IN_ANSWERS: Final = _HOP_BY_HOP | {b"content-encoding", b"date", b"x-shadowdrift-id"}

# RFC 9110, 6.5.1: what frames, routes, authorises or describes a message stands before its body or not at all.
_NO_TRAILERS: Final = (
    _NOTED_IN_REQUESTS
    | _NOTED_IN_ANSWERS
    | {
        b"authorization",
        b"cache-control",
        b"content-range",
        b"content-type",
        b"cookie",
        b"forwarded",
        b"max-forwards",
        b"range",
        b"set-cookie",
        b"vary",
        b"www-authenticate",
    }
)

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_REASON: Final = re.compile(rb"[\t \x21-\x7e\x80-\xff]*")
_TARGET: Final = re.compile(rb"[\x21-\x7e]+")
_SPELLINGS: Final = 2048
_NOTHING: Final[frozenset[bytes]] = frozenset()

CHUNKED: Final = -1
"""The framing of a body whose length is not known before its end."""


class RefusedError(Exception):
    """A request that is answered here: its status, and the reason under which it is counted."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason


def _bad(text: str) -> RefusedError:
    return RefusedError(400, "bad_request", text)


class _Names(dict[bytes, bytes]):
    """From a header's name as it was sent to its lower case where it is `noted`, to nothing where it is passed on."""

    def __init__(self, noted: frozenset[bytes], *, strict: bool) -> None:
        super().__init__()
        self._noted = noted
        self._strict = strict

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        noted = lower if lower in self._noted else b""
        if self._strict and not noted and lower.replace(b"_", b"-") in self._noted:
            # Servers behind CGI and WSGI cannot tell `Content_Length` from `Content-Length`.
            raise _bad("a header must not be named like one of HTTP's own, with _ for -")
        if len(self) < _SPELLINGS:
            self[name] = noted
        return noted


REQUEST_NAMES: Final = _Names(_NOTED_IN_REQUESTS, strict=True)
"""What a name means in a request. Raises `RefusedError`."""

ANSWER_NAMES: Final = _Names(_NOTED_IN_ANSWERS, strict=False)
"""What a name means in an answer."""


class RequestHead(msgspec.Struct):
    """What the proxy needs to know of a request's head; `length` is None without a body, or CHUNKED."""

    method: bytes
    path: bytes
    query: bytes
    headers: Headers
    """All but the noted ones, as they came; `forwarded` lacks what belongs to the client's connection."""
    forwarded: Headers
    length: int | None = None
    request_id: bytes | None = None
    x_shadow: bytes | None = None
    clone_mark: bool = False
    expects_continue: bool = False
    trailer: tuple[bytes, bytes] | None = None
    upgrade: bool = False
    websocket: bool = False
    encoded: bool = False


def read_request_head(  # noqa: C901 - one loop on the hot path; what is rare is in functions of its own
    method: bytes, target: bytes, version: str, forwarded: Headers, noted: Noted
) -> RequestHead:
    """Check a parsed request head, whose headers the connection has sorted as they came. Raises `RefusedError`."""
    if method in {b"CONNECT", b"TRACE"}:
        raise RefusedError(501, "not_implemented", "CONNECT and TRACE are not served here")
    if version not in {"1.1", "1.0"}:
        raise _bad("the HTTP version must be 1.0 or 1.1")
    path, query = _path(method, target)
    head = RequestHead(method, path, query, forwarded, forwarded)
    hosts = 0
    named = _NOTHING
    for meaning, name, value in noted:
        if meaning == b"host":
            hosts += 1
            if not _is_host(value):
                raise _bad("the Host header is not a host")
        elif meaning == b"content-length":
            head.length = int(value)
        elif meaning == b"connection":
            named |= named_in_connection(value)
        elif (note := _NOTES.get(meaning)) is not None:  # or it belongs to the client's connection
            note(head, (name, value))
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise _bad("exactly one Host header is needed")
    if version == "1.0":
        _limit_to_http_1_0(head)
    if head.trailer is not None and head.length == CHUNKED:
        forwarded.append(head.trailer)
    head.websocket = head.websocket and b"upgrade" in named and head.length is None
    if named:
        head.forwarded = [pair for pair in forwarded if pair[0].lower() not in named]
    return head


@lru_cache(maxsize=256)  # clients send the same few
def _is_host(value: bytes) -> bool:
    return len(value) < 300 and _HOST.fullmatch(value) is not None


def _limit_to_http_1_0(head: RequestHead) -> None:
    if head.length == CHUNKED:  # RFC 9112, 6.1: its framing is not to be trusted
        raise _bad("HTTP/1.0 has no transfer codings")
    head.expects_continue = head.websocket = False


# What a header says that is not forwarded as it is, or that tells how to treat the rest.


def _note_request_id(head: RequestHead, pair: tuple[bytes, bytes]) -> None:
    head.request_id = pair[1] if _REQUEST_ID.fullmatch(pair[1]) else None


def _note_transfer_encoding(head: RequestHead, pair: tuple[bytes, bytes]) -> None:
    if pair[1].strip().lower() != b"chunked":
        raise RefusedError(501, "not_implemented", "chunked is the only transfer coding that is understood")
    head.length = CHUNKED


def _note_content_encoding(head: RequestHead, pair: tuple[bytes, bytes]) -> None:
    head.encoded = head.encoded or pair[1].lower() != b"identity"
    head.forwarded.append(pair)


def _note_expect(head: RequestHead, pair: tuple[bytes, bytes]) -> None:
    if pair[1].lower() == b"100-continue":
        head.expects_continue = True
    else:
        head.forwarded.append(pair)


def _note_upgrade(head: RequestHead, pair: tuple[bytes, bytes]) -> None:
    # Any other protocol is declined by not naming it to the model: nobody may tunnel HTTP/2 past these checks.
    head.upgrade = True
    head.websocket = head.method == b"GET" and _tokens(pair[1]) == {b"websocket"}


def _note_trailer(head: RequestHead, pair: tuple[bytes, bytes]) -> None:
    head.trailer = pair


def _note_x_shadow(head: RequestHead, pair: tuple[bytes, bytes]) -> None:
    head.x_shadow = pair[1].strip().lower()


def _note_clone_mark(head: RequestHead, _: tuple[bytes, bytes]) -> None:
    head.clone_mark = True


_NOTES: Final = {
    b"x-request-id": _note_request_id,
    b"transfer-encoding": _note_transfer_encoding,
    b"content-encoding": _note_content_encoding,
    b"expect": _note_expect,
    b"upgrade": _note_upgrade,
    b"trailer": _note_trailer,
    b"x-shadow": _note_x_shadow,
    b"x-shadowdrift-clone": _note_clone_mark,
}


def _tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(part.partition(b";")[0].strip().lower() for part in value.split(b","))


def named_in_connection(value: bytes) -> frozenset[bytes]:
    """The header names that a Connection header takes off the message, in lower case."""
    if value in {b"keep-alive", b"close"}:
        return _NOTHING
    return _tokens(value) - {b"close", b"keep-alive", b""}


def _path(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Path and query (with its `?`) of a request target, in origin or absolute form; `*` for OPTIONS."""
    if b"#" in target or not _TARGET.fullmatch(target):
        raise _bad("the request target must be visible ASCII without a fragment")
    if not target.startswith(b"/"):
        if target == b"*" and method == b"OPTIONS":
            return target, b""
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in {b"http", b"https"}:
            raise _bad("the request target must be a path")
        slash = min((index for index in (rest.find(b"/"), rest.find(b"?")) if index >= 0), default=len(rest))
        if not slash or not _is_host(rest[:slash]):
            raise _bad("the request target's authority is not a host")
        if slash == len(rest) and method == b"OPTIONS":  # RFC 9112, 3.2.4: it is about the server as a whole
            return b"*", b""
        target = rest[slash:] if rest[slash : slash + 1] == b"/" else b"/" + rest[slash:]
    path, question, query = target.partition(b"?")
    return path, question + query


class AnswerHead(msgspec.Struct):
    """An upstream's answer up to its body; `length` is None without one (or until the close), or CHUNKED."""

    status: int
    reason: bytes
    forwarded: Headers
    length: int | None = None
    dated: bool = False
    encoded: bool = False


def read_answer_head(  # noqa: C901 - likewise
    status: int, reason: bytes, forwarded: Headers, noted: Noted
) -> AnswerHead:
    """The head of an answer whose headers the connection has sorted as they came.

    Raises ValueError for what HTTP does not allow, or does not let us pass on.
    """
    if not 100 <= status <= 999 or (reason != b"OK" and not _REASON.fullmatch(reason)):
        raise ValueError("not a status line")
    head = AnswerHead(status, reason, forwarded)
    named = _NOTHING
    trailer: Headers = []
    for meaning, name, value in noted:
        if meaning == b"content-length":
            head.length = int(value)
        elif meaning == b"date":
            forwarded.append((name, value))
            head.dated = True
        elif meaning == b"connection":
            if value != b"keep-alive":
                named |= named_in_connection(value)
        elif meaning == b"transfer-encoding":
            _check_chunked(value)
            head.length = CHUNKED
        elif meaning == b"content-encoding":
            forwarded.append((name, value))
            head.encoded = head.encoded or value.lower() != b"identity"
        elif meaning == b"trailer":
            trailer.append((name, value))
    if head.length == CHUNKED:
        forwarded += trailer
    if named:
        head.forwarded = [pair for pair in forwarded if pair[0].lower() not in named]
    return head


def _check_chunked(value: bytes) -> None:
    if value.strip().lower() != b"chunked":
        raise ValueError("chunked is the only transfer coding that is understood")


def may_trail(name: bytes) -> bool:
    """Whether a trailer of this name may be passed on: none that a server could take for what stands before a body."""
    lower = name.lower().replace(b"_", b"-")
    return lower not in _NO_TRAILERS and not lower.startswith(b"x-forwarded-")
