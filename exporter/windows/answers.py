"""What is kept of an answer beyond its windows: its id in 16 bytes, what it said, a fingerprint of what was asked.

All of it is the same in every process, so that it can be kept and compared after a restart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from events.inference import InferenceEvent, Instance
from reference.columns import boolean_category

NOTHING: Final = 0
NUMBER: Final = 1
CLASS: Final = 2
LIKELIEST: Final = 3
"""The sorts of a prediction: none that could be compared; a number; a text or a boolean; of a list of probabilities
the position of the greatest."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_UUID: Final = 0xC0
"""In the ninth byte, where no UUID in use has both bits: a hash must not look as if it told a time."""
_EXACT: Final = 2**53
_MAX_TEXT: Final = 64
"""The name of a class above this is kept as its hash."""

_pack: Final = msgspec.msgpack.Encoder().encode
_pack_sorted: Final = msgspec.msgpack.Encoder(order="sorted").encode
_json_sorted: Final = msgspec.json.Encoder(order="sorted").encode


def identity(event_id: str) -> bytes:
    """16 bytes that stand for an id: a UUID's own, the hash of any other text."""
    if _UUID.fullmatch(event_id):
        return bytes.fromhex(event_id.replace("-", ""))
    digest = blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return b"%b%c%b" % (digest[:8], digest[8] | _NO_UUID, digest[9:])


def entering(event: InferenceEvent) -> bytes | None:
    """The identity of an answer that can be one of a pair: `ok`, and of production sampled; None of any other."""
    if event.outcome != "ok" or not (event.sampled or event.role == "shadow"):
        return None
    return identity(event.id)


def made_in_order(key: bytes) -> bool:
    """Whether it is a UUIDv7, whose order is that of the time at which it was made."""
    return key[6] >> 4 == 7 and key[8] >> 6 == 2


class Said(NamedTuple):
    """A prediction as two of them are compared."""

    sort: int
    number: float
    """Of a `NUMBER`; else 0."""
    name: int
    """Of a `CLASS` or `LIKELIEST`: which one, as 64 bits, equal where the predictions are."""


_NOTHING_SAID: Final = Said(NOTHING, 0.0, 0)


def said(prediction: Any) -> Said:
    """A prediction as it is compared; one that is absent, null, an empty list, or no float can hold says nothing."""
    kind = type(prediction)
    if kind is float:
        return Said(NUMBER, prediction, 0)
    if kind is int:
        try:
            return Said(NUMBER, float(prediction), 0)
        except OverflowError:
            return _NOTHING_SAID
    if kind is str:
        return Said(CLASS, 0.0, hashed(prediction))
    if kind is bool:
        return Said(CLASS, 0.0, hashed(f"\0{boolean_category(prediction)}"))
    if kind is list and prediction:
        return Said(LIKELIEST, 0.0, prediction.index(max(prediction)))
    return _NOTHING_SAID


def hashed(text: str) -> int:
    """63 bits of a text."""
    return _hashed_again(text) if len(text) <= _MAX_TEXT else _hashed(text)


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") >> 1


_hashed_again: Final = lru_cache(maxsize=4096)(_hashed)
"""The same few classes and keys come again and again; only short ones are held on to."""


def fingerprint(instance: Instance) -> int:
    """63 bits that are equal where all features and their values are, as JSON has them, in any order."""
    try:
        plain = _pack_sorted(instance.features)
    except OverflowError:  # an integer of more than 64 bits
        plain = _json_sorted(instance.features)
    if instance.invalid:
        plain += _pack(sorted(instance.invalid))
    return int.from_bytes(blake2b(plain, digest_size=8).digest(), "little") >> 1


def packed(values: Sequence[Any]) -> bytes:
    """Predictions or labels as bytes, one for each instance; `unpacked` gives them back."""
    return _pack([_plain(value) for value in values])


def unpacked(value: bytes) -> list[Any]:
    """What `packed` has made bytes of."""
    found: list[Any] = msgspec.msgpack.decode(value)
    return found


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str and len(value) > _MAX_TEXT:
        return f"\0{blake2b(value.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
    if kind is int and not -_EXACT <= value <= _EXACT:
        try:
            return float(value)
        except OverflowError:
            return None
    return None if value is msgspec.UNSET else value
