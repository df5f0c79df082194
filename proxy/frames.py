"""What passes from worker to emitter: finished exchanges, in frames of four bytes of length and a msgpack list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from events.inference import Outcome, Role

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""Above any frame that a worker writes; a greater length means that the stream is broken."""


class Captured(msgspec.Struct, array_like=True):
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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Captured])


def encode_frame(batch: list[Captured]) -> bytes:
    """One frame."""
    body = _encoder.encode(batch)
    return len(body).to_bytes(4, "big") + body


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[list[Captured]]:
        """The batches of every frame that is now whole. Raises ValueError on a broken stream."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= 4:
            length = int.from_bytes(self._buffer[start : start + 4], "big")
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._buffer) - start - 4 < length:
                break
            yield _decoder.decode(memoryview(self._buffer)[start + 4 : start + 4 + length])
            start += 4 + length
        del self._buffer[:start]
