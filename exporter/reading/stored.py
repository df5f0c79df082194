"""The values of `drift.state`: one section of a model to messages that a broker takes, and back.

A value names what it is of (format, reference profile, window), the offsets it stands for, and who wrote it. What is
large lies compressed, and what is too large for one message in pieces beside it. The key of a piece carries its digest:
a round of writing that is cut short leaves every older value with the pieces that it was written with.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from exporter.reading.counters import StateReason

FORMAT: Final = 1
EPOCH: Final = "shadowdrift_epoch"
"""The header of a message that tells which owner of the partition wrote it, counted from 1."""

MAX_BYTES: Final = 900_000
"""Of one message's value; brokers take a megabyte unless told otherwise."""

_COMPRESS_BYTES: Final = 16 * 1024
_LEVEL: Final = 1
_MAX_PLAIN_BYTES: Final = 256 * 1024 * 1024
_PLAIN, _COMPRESSED = b"\x01", b"\x02"


class StoredError(ValueError):
    """What is stored cannot be used; `reason` is a word for a counter."""

    def __init__(self, reason: StateReason, text: str) -> None:
        super().__init__(text)
        self.reason: StateReason = reason


class Value(msgspec.Struct, kw_only=True):
    """What stands under the key of a section."""

    format: int
    profile: str
    """The reference profile's hash; empty without one."""
    window: dict[str, int]
    offsets: dict[str, int]
    """By topic, the offset up to which this is made of."""
    changed: float
    """When it was last changed, in seconds since 1970."""
    kept: bytes | None = None
    """What its owner keeps, as msgpack; None where it lies in pieces."""
    parts: dict[str, list[str]] = {}
    """The pieces of each named part, by what their keys add to this one's; those of `kept` itself have no name."""


@dataclass(frozen=True)
class Snapshot:
    """A section at one instant, to be written."""

    key: str
    profile: str
    window: Mapping[str, int]
    offsets: Mapping[str, int]
    changed: float
    kept: dict[str, Any]
    """Its named `parts`, if any, are stored apart, so that those that do not change are written once."""


def key_of(model: str, section: str) -> str:
    """The key of a section's value."""
    return f"{model}|{section}"


def encoded(snapshot: Snapshot) -> tuple[bytes, dict[str, bytes]]:
    """The value, and by its key each piece that it names."""
    kept = dict(snapshot.kept)
    parts = {name: msgspec.msgpack.encode(part) for name, part in kept.pop("parts", {}).items()}
    value = Value(
        format=FORMAT,
        profile=snapshot.profile,
        window=dict(snapshot.window),
        offsets=dict(snapshot.offsets),
        changed=snapshot.changed,
        kept=msgspec.msgpack.encode(kept),
    )
    pieces: dict[str, bytes] = {}
    for name, part in parts.items():
        value.parts[name] = _cut(snapshot.key, name, _packed(part), pieces)
    text = _packed(msgspec.msgpack.encode(value))
    if len(text) > MAX_BYTES and value.kept is not None:
        value.parts[""] = _cut(snapshot.key, "", _packed(value.kept), pieces)
        value.kept = None
        text = _packed(msgspec.msgpack.encode(value))
    return text, pieces


def decoded(text: bytes) -> Value:
    """The value without what lies in pieces. Raises `StoredError`."""
    try:
        head = msgspec.msgpack.decode(_unpacked(text), type=_Format)
        if head.format != FORMAT:
            raise StoredError("format", f"format {head.format}, this version reads {FORMAT}")
        return msgspec.msgpack.decode(_unpacked(text), type=Value)
    except (msgspec.MsgspecError, zlib.error, UnicodeDecodeError) as error:
        raise StoredError("damaged", str(error)) from None


def kept_of(key: str, value: Value, stored: Mapping[str, bytes]) -> dict[str, Any]:
    """What the section's owner gave, put together out of the pieces. Raises `StoredError`."""
    try:
        whole = {name: b"".join(_pieces(key, suffixes, stored)) for name, suffixes in value.parts.items()}
        main = value.kept if value.kept is not None else _unpacked(whole.pop(""))
        kept: dict[str, Any] = msgspec.msgpack.decode(main, type=dict[str, Any])
        if whole:
            kept["parts"] = {name: msgspec.msgpack.decode(_unpacked(part)) for name, part in whole.items()}
        return kept
    except (msgspec.MsgspecError, zlib.error, KeyError, UnicodeDecodeError) as error:
        raise StoredError("damaged", f"{key}: {error!r}") from None


class _Format(msgspec.Struct):
    format: int


def _pieces(key: str, suffixes: list[str], stored: Mapping[str, bytes]) -> Iterator[bytes]:
    for suffix in suffixes:
        piece = stored[f"{key}|{suffix}"]
        if _digest(piece) != suffix.rpartition(".")[2]:
            raise StoredError("damaged", f"{key}|{suffix} is not what it was")
        yield piece


def _cut(key: str, name: str, text: bytes, pieces: dict[str, bytes]) -> list[str]:
    suffixes = []
    for start in range(0, len(text), MAX_BYTES):
        piece = text[start : start + MAX_BYTES]
        suffixes.append(f"{name}.{_digest(piece)}")
        pieces[f"{key}|{suffixes[-1]}"] = piece
    return suffixes


def _digest(piece: bytes) -> str:
    return blake2b(piece, digest_size=8).hexdigest()


def _packed(plain: bytes) -> bytes:
    if len(plain) < _COMPRESS_BYTES:
        return _PLAIN + plain
    return _COMPRESSED + zlib.compress(plain, _LEVEL)


def _unpacked(text: bytes) -> bytes:
    if text[:1] == _PLAIN:
        return text[1:]
    if text[:1] != _COMPRESSED:
        raise StoredError("damaged", "neither plain nor compressed")
    inflater = zlib.decompressobj()
    plain = inflater.decompress(text[1:], _MAX_PLAIN_BYTES)
    if not inflater.eof:
        raise StoredError("damaged", "cut, or larger than anything that is written")
    return plain
