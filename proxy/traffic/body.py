"""One request's body: what memory keeps of it, and what production has not got of it yet."""

from __future__ import annotations

from typing import Final

from proxy.http.headers import CHUNKED, Headers, may_trail
from proxy.http.wire import chunk, last_chunk
from proxy.routing.plan import REPLAY_BYTES

SMALL_BYTES: Final = 64
"""A kept piece costs some forty bytes beside its own: smaller ones are put together, or a body that comes in chunks of
two bytes would take twenty times what is counted for it."""

MERGED_BYTES: Final = 2048
"""How far: what is put together is copied each time."""


class RequestBody:
    """It is kept from its beginning, for a retry, the clone and the event, as far as `keeps` goes."""

    __slots__ = ("complete", "forgot", "keeps", "pieces", "size", "trailers", "unsent")

    def __init__(self, *, complete: bool) -> None:
        self.complete = complete
        self.keeps = REPLAY_BYTES
        self.pieces: list[bytes] = []
        """What is kept, in bytes objects as they came."""
        self.size = 0
        """Of all that came, in bytes."""
        self.forgot = False
        """Whether a piece is gone, so that it cannot be sent again."""
        self.unsent: list[bytes] = []
        """Pieces that the connection to production has not got yet, once there is one."""
        self.trailers: Headers | None = None

    def take(self, data: bytes, *, connected: bool) -> None:
        """A piece has come; while there is no connection to production, all of it has to be kept."""
        self.size += len(data)
        if connected:
            self.unsent.append(data)
            if self.size > self.keeps:
                self.forgot = True
                return
        pieces = self.pieces
        if len(data) < SMALL_BYTES and pieces and len(pieces[-1]) < MERGED_BYTES:
            pieces[-1] += data
        else:
            pieces.append(data)

    def trail(self, name: bytes, value: bytes) -> None:
        """A header behind a chunked body, where it may stand there."""
        if may_trail(name):
            self.trailers = self.trailers or []
            self.trailers.append((name, value))

    def joined(self) -> bytes:
        """All that is kept, as one."""
        pieces = self.pieces
        if len(pieces) != 1:
            self.pieces = pieces = [b"".join(pieces)]
        return pieces[0]

    def keep_less(self, keeps: int, beginning: int) -> None:
        """From now on keep so much; of what is more than that, its beginning is left."""
        self.keeps = keeps
        if self.size > keeps:
            self.pieces = [self.joined()[:beginning]]
            self.forgot = True

    def rewind(self) -> None:
        """There is a connection, which has got nothing of it."""
        self.unsent = list(self.pieces)

    def to_send(self, framing: int | None) -> bytes:
        """What has not been written, with the framing of that leg; it is written now."""
        unsent = self.unsent
        data = unsent[0] if len(unsent) == 1 else b"".join(unsent)
        unsent.clear()
        if framing != CHUNKED:
            return data
        return (chunk(data) if data else b"") + (last_chunk(self.trailers) if self.complete else b"")
