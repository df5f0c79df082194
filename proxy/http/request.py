"""A request's head: what is checked in it, and what of it is forwarded."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

from proxy.http.headers import CHUNKED, NOTHING, Headers, Noted, RefusedError, bad_request, named_in_connection, tokens

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_USUAL_BYTES: Final = 256
_TARGET: Final = re.compile(rb"[\x21-\x7e]+")


class RequestHead(msgspec.Struct, gc=False):
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
        raise bad_request("the HTTP version must be 1.0 or 1.1")
    path, query = _path(method, target)
    head = RequestHead(method, path, query, forwarded, forwarded)
    hosts = 0
    named = NOTHING
    for meaning, name, value in noted:
        if meaning == b"host":
            hosts += 1
            if not _is_host(value):
                raise bad_request("the Host header is not a host")
        elif meaning == b"content-length":
            head.length = int(value)
        elif meaning == b"connection":
            named |= named_in_connection(value)
        elif (note := _NOTES.get(meaning)) is not None:  # or it belongs to the client's connection
            note(head, (name, value))
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise bad_request("exactly one Host header is needed")
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
        raise bad_request("HTTP/1.0 has no transfer codings")
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
    head.websocket = head.method == b"GET" and tokens(pair[1]) == {b"websocket"}


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


def _path(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target; clients send the same few, which are read once."""
    return _usual_path(method, target) if len(target) < _USUAL_BYTES else _read_path(method, target)


def _read_path(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Path and query (with its `?`) of a request target, in origin or absolute form; `*` for OPTIONS."""
    if b"#" in target or not _TARGET.fullmatch(target):
        raise bad_request("the request target must be visible ASCII without a fragment")
    if not target.startswith(b"/"):
        if target == b"*" and method == b"OPTIONS":
            return target, b""
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in {b"http", b"https"}:
            raise bad_request("the request target must be a path")
        slash = min((index for index in (rest.find(b"/"), rest.find(b"?")) if index >= 0), default=len(rest))
        if not slash or not _is_host(rest[:slash]):
            raise bad_request("the request target's authority is not a host")
        if slash == len(rest) and method == b"OPTIONS":  # RFC 9112, 3.2.4: it is about the server as a whole
            return b"*", b""
        target = rest[slash:] if rest[slash : slash + 1] == b"/" else b"/" + rest[slash:]
    path, question, query = target.partition(b"?")
    return path, question + query


_usual_path = lru_cache(maxsize=256)(_read_path)
