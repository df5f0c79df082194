"""An answer's head: what is checked in it, and what of it is passed on."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from proxy.http.headers import CHUNKED, NOTHING, Headers, Noted, named_in_connection

_REASON: Final = re.compile(rb"[\t \x21-\x7e\x80-\xff]*")


class AnswerHead(msgspec.Struct, gc=False):
    """An upstream's answer up to its body; `length` is None without one (or until the close), or CHUNKED."""

    status: int
    reason: bytes
    forwarded: Headers
    length: int | None = None
    dated: bool = False
    encoded: bool = False


def read_answer_head(  # noqa: C901 - one loop on the hot path
    status: int, reason: bytes, forwarded: Headers, noted: Noted
) -> AnswerHead:
    """The head of an answer whose headers the connection has sorted as they came.

    Raises ValueError for what HTTP does not allow, or does not let us pass on.
    """
    if not 100 <= status <= 999 or (reason != b"OK" and not _REASON.fullmatch(reason)):
        raise ValueError("not a status line")
    head = AnswerHead(status, reason, forwarded)
    named = NOTHING
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
