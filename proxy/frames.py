"""What passes from worker to emitter, in frames of four bytes of length and a msgpack body.

The first frame of a stream is a `Hello`, every later one a batch of finished exchanges.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from events.inference import Outcome, Role

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""Above any frame that a worker writes; a greater length means that the stream is broken."""

_LENGTH: Final = 4


class Hello(msgspec.Struct, array_like=True):
    """Whose stream it is: the worker's index, under which the emitter counts what it reads."""

    worker: int


class Captured(msgspec.Struct, array_like=True, gc=False):
    """One answer as the worker saw it: bytes and timings, nothing read yet.

    `answer` is None where no model was asked. `encoded`: a body has a content coding, such as gzip.
    """

    id: str
    request_id: str
    role: Role
    model: str
    version: str
    tenant: str | None
    time: float
    latency_seconds: float | None
    status: int | None
    outcome: Outcome
    fraction: float
    sampled: bool
    request_truncated: bool
    answer_truncated: bool
    encoded: bool
    path: str
    request: bytes
    answer: bytes | None
    headers: dict[str, str] | None = None
    """Those that are recorded, by their names in lower case."""


_encoder = msgspec.msgpack.Encoder()
_decode_hello = msgspec.msgpack.Decoder(Hello).decode
_decode_batch = msgspec.msgpack.Decoder(list[Captured]).decode


def encode_hello(worker: int) -> bytes:
    """The frame that begins a stream."""
    return _framed(_encoder.encode(Hello(worker)))


def encode_frame(batch: list[Captured]) -> bytes:
    """One frame."""
    return _framed(_encoder.encode(batch))


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(_LENGTH, "big") + body


class FrameReader:
    """Cuts a byte stream into frames. What a writer that died left of its last one is never whole, and not read."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.worker: int | None = None
        """Whose stream it is, once the first frame has told."""

    def feed(self, data: bytes) -> Iterator[list[Captured]]:
        """The batches of every frame that is now whole. Raises ValueError on a broken stream."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _LENGTH:
            body = start + _LENGTH
            length = int.from_bytes(self._buffer[start:body], "big")
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._buffer) - body < length:
                break
            start = body + length
            with memoryview(self._buffer)[body:start] as frame:
                if self.worker is None:
                    self.worker = _decode_hello(frame).worker
                    continue
                batch = _decode_batch(frame)
            yield batch
        del self._buffer[:start]
