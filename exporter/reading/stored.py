"""The values of `drift.state`: one section of a model to messages that a broker takes, and back.

A value names what it is of (format, reference profile, window) and the offsets it stands for. What is large lies
compressed, and what is too large for one message, or a part that seldom changes, in pieces beside it. The key of a
piece carries a digest: a round of writing that is cut short leaves every older value the pieces it was written with.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import msgspec

from exporter.reading.counters import StateReason

FORMAT: Final = 2
EPOCH: Final = "shadowdrift_epoch"
"""The header of a message that tells which owner of the partition wrote it, counted from 1."""

MAX_BYTES: Final = 900_000
"""Of one message's value; brokers take a megabyte unless told otherwise."""

_COMPRESS_BYTES: Final = 16 * 1024
_LEVEL: Final = 1
_MAX_PLAIN_BYTES: Final = 256 * 1024 * 1024
_PLAIN, _COMPRESSED = b"\x01", b"\x02"
_WHOLE: Final = ""
"""The name of the part that holds all that has no name of its own."""


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
    """The pieces of each named part, by what their keys add to this one's."""

    def pieces(self, key: str) -> Iterator[str]:
        """The keys of all pieces, this value's being `key`."""
        return (f"{key}|{suffix}" for suffixes in self.parts.values() for suffix in suffixes)


@dataclass(frozen=True)
class Part:
    """A named part as it was written: which object it was made of, and its pieces' suffixes."""

    source: object
    suffixes: list[str]


@dataclass(frozen=True)
class Snapshot:
    """A section at one instant, to be written."""

    key: str
    profile: str
    window: Mapping[str, int]
    offsets: Mapping[str, int]
    changed: float
    kept: dict[str, Any]
    """With its named `parts`, if it has any."""
    written: Mapping[str, Part] = field(default_factory=dict)
    """The parts that stand in the topic."""


@dataclass(frozen=True)
class Encoded:
    """A snapshot as messages."""

    text: bytes
    pieces: dict[str, bytes]
    """By key, those that do not stand in the topic yet."""
    parts: dict[str, Part]


def key_of(model: str, section: str) -> str:
    """The key of a section's value."""
    return f"{model}|{section}"


def encoded(snapshot: Snapshot) -> Encoded:
    """The value and its new pieces."""
    pieces: dict[str, bytes] = {}
    named: dict[str, Any] = snapshot.kept.get("parts", {})
    parts = {name: _part(snapshot, name, part, pieces) for name, part in named.items()}
    kept = {name: value for name, value in snapshot.kept.items() if name != "parts"}
    value = Value(
        format=FORMAT,
        profile=snapshot.profile,
        window=dict(snapshot.window),
        offsets=dict(snapshot.offsets),
        changed=snapshot.changed,
        kept=msgspec.msgpack.encode(kept),
        parts={name: part.suffixes for name, part in parts.items()},
    )
    text = _packed(msgspec.msgpack.encode(value))
    if len(text) > MAX_BYTES:
        parts[_WHOLE] = _part(snapshot, _WHOLE, kept, pieces)
        value.kept, value.parts[_WHOLE] = None, parts[_WHOLE].suffixes
        text = _packed(msgspec.msgpack.encode(value))
    return Encoded(text, pieces, parts)


def decoded(text: bytes) -> Value:
    """The value without what lies in pieces. Raises `StoredError`."""
    try:
        plain = _unpacked(text)
        head = msgspec.msgpack.decode(plain, type=_Format)
        if head.format != FORMAT:
            raise StoredError("format", f"format {head.format}, this version reads {FORMAT}")
        return msgspec.msgpack.decode(plain, type=Value)
    except (msgspec.MsgspecError, zlib.error, UnicodeDecodeError, RecursionError) as error:
        raise StoredError("damaged", str(error)) from None


def kept_of(key: str, value: Value, stored: Mapping[str, bytes]) -> dict[str, Any]:
    """What the section's owner gave, put together out of the pieces. Raises `StoredError`."""
    try:
        parts = {name: _whole(key, suffixes, stored) for name, suffixes in value.parts.items()}
        main = parts.pop(_WHOLE) if value.kept is None else msgspec.msgpack.decode(value.kept)
        if not isinstance(main, dict):
            raise StoredError("damaged", f"{key} holds no section")
        return {**main, "parts": parts} if parts else main
    except (msgspec.MsgspecError, zlib.error, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise StoredError("damaged", f"{key}: {error!r}") from None


class _Format(msgspec.Struct):
    format: int


def _part(snapshot: Snapshot, name: str, part: Any, pieces: dict[str, bytes]) -> Part:
    """A part, and its pieces where they are not what stands in the topic already."""
    written = snapshot.written.get(name)
    if written is not None and written.source is part:
        return written
    plain = msgspec.msgpack.encode(part)
    stem = f"{name}.{_digest(plain)}"
    if written is not None and all(suffix.startswith(stem) for suffix in written.suffixes):
        return Part(part, written.suffixes)
    text = _packed(plain)
    cut = [text[start : start + MAX_BYTES] for start in range(0, len(text), MAX_BYTES)]
    suffixes = [stem] if len(cut) == 1 else [f"{stem}.{number}" for number in range(len(cut))]
    pieces.update({f"{snapshot.key}|{suffix}": piece for suffix, piece in zip(suffixes, cut, strict=True)})
    return Part(part, suffixes)


def _whole(key: str, suffixes: list[str], stored: Mapping[str, bytes]) -> Any:
    plain = _unpacked(b"".join(stored[f"{key}|{suffix}"] for suffix in suffixes))
    if not all(_digest(plain) in suffix for suffix in suffixes):
        raise StoredError("damaged", f"{key}|{suffixes} is not what it was")
    return msgspec.msgpack.decode(plain)


def _digest(plain: bytes) -> str:
    return blake2b(plain, digest_size=8).hexdigest()


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
