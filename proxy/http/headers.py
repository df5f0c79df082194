"""Header names: what each means in a request, in an answer, in a trailer.

Names stay as they were sent. What a name means is looked up by the bytes that were sent, since the same few spellings
come again and again.
"""

from __future__ import annotations

from typing import Final, TypeAlias

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

_SPELLINGS: Final = 2048
_LONGEST: Final = 64

NOTHING: Final[frozenset[bytes]] = frozenset()

CHUNKED: Final = -1
"""The framing of a body whose length is not known before its end."""


class RefusedError(Exception):
    """A request that is answered here: its status, and the reason under which it is counted."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason


def bad_request(text: str) -> RefusedError:
    """What is no request, or could be read as two different ones."""
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
            raise bad_request("a header must not be named like one of HTTP's own, with _ for -")
        if len(name) <= _LONGEST and len(self) < _SPELLINGS:  # a client can make up any number of them
            self[name] = noted
        return noted


REQUEST_NAMES: Final = _Names(_NOTED_IN_REQUESTS, strict=True)
"""What a name means in a request. Raises `RefusedError`."""

ANSWER_NAMES: Final = _Names(_NOTED_IN_ANSWERS, strict=False)
"""What a name means in an answer."""


def tokens(value: bytes) -> frozenset[bytes]:
    """The names in a list, in lower case and without their parameters."""
    return frozenset(part.partition(b";")[0].strip().lower() for part in value.split(b","))


def named_in_connection(value: bytes) -> frozenset[bytes]:
    """The header names that a Connection header takes off the message, in lower case."""
    if value in {b"keep-alive", b"close"}:
        return NOTHING
    return tokens(value) - {b"close", b"keep-alive", b""}


def may_trail(name: bytes) -> bool:
    """Whether a trailer of this name may be passed on: none that a server could take for what stands before a body."""
    lower = name.lower().replace(b"_", b"-")
    return lower not in _NO_TRAILERS and not lower.startswith(b"x-forwarded-")
