"""JSON as it comes, also from Python's writers: NaN and Infinity are read, half a surrogate pair is not."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

NOTHING: Final = object()

_decode = msgspec.json.Decoder().decode


def json_value(text: bytes) -> Any:
    """The value, or NOTHING where it is none. Nothing is raised, whatever the text."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair stands in no event and in no profile
    except (ValueError, RecursionError):
        return NOTHING
    return value
