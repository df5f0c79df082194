"""A steady load: rows posted to a URL at a given rate, over a bounded number of keep-alive connections.

Written on `asyncio.Protocol` with httptools, because a client library takes more CPU for a request than the proxy that
the demo is about. One request at a time on a connection, so the connections bound what is outstanding.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

import httptools
import msgspec
import numpy as np

_TICK_SECONDS: Final = 0.005
_LOOK_SECONDS: Final = 0.1
_KEPT_LATENCIES: Final = 100_000
_ID: Final = b"x-shadowdrift-id"

Row: TypeAlias = Mapping[str, Any]
Truth: TypeAlias = bool | str
Asked: TypeAlias = tuple[Row, Truth | None]
"""A row, and what will turn out to be the truth about it; None where nobody knows."""


@dataclass
class Counts:
    """What became of the requests so far: sent = sum of answered + failed + outstanding.

    `answered` counts by class of status ("2xx"); `failed` are connections lost and answers that never came;
    `skipped` were due and never sent, because no connection was free for longer than the burst makes up for.
    """

    sent: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    skipped: int = 0

    @property
    def outstanding(self) -> int:
        """Requests sent whose answer is still awaited."""
        return self.sent - self.answered.total() - self.failed


@dataclass(frozen=True)
class Moment:
    """When the first request of a new source was sent: `time.monotonic()`, `time.time()`, and how many before it."""

    monotonic: float
    wall: float
    sent_before: int


class Traffic:
    """Posts rows, in a loop, to `url` at `rate` requests/s; to be used within one running event loop.

    `connections` bounds the requests outstanding, `timeout` is seconds to an answer, `burst` the most requests that
    one tick sends to catch up. `truths` has one for each row, and `learn` is told of each answer's id and truth.
    Raises ValueError for a URL that is not http, and for no rows.
    """

    def __init__(
        self,
        url: str,
        rows: Sequence[Row],
        truths: Sequence[Truth] | None = None,
        *,
        learn: Callable[[str, Truth], None] | None = None,
        rate: float = 500.0,
        connections: int = 64,
        timeout: float = 10.0,
        burst: int = 100,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"traffic needs a URL like http://host:port/path, got {url}")
        self.counts = Counts()
        self.switched: Moment | None = None
        self._address = (parts.hostname, parts.port or 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = f"POST {target} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n".encode()
        self._rows = _loop(rows, truths)
        self._learn = learn
        self._switching = False
        self.rate = rate
        """Requests a second; it may be changed at any time."""
        self._burst, self._timeout, self._wanted = burst, timeout, connections
        self._owed = 0.0
        self._idle: deque[_Connection] = deque()
        self._busy: dict[_Connection, float] = {}
        self._latencies: deque[float] = deque(maxlen=_KEPT_LATENCIES)
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Open the connections and begin. Raises OSError when nobody listens."""
        try:
            while len(self._idle) < self._wanted:
                await self._connect()
        except OSError:
            self._close()
            raise
        self._tasks = [asyncio.create_task(self._pace()), asyncio.create_task(self._look_after())]

    def switch(self, rows: Sequence[Row], truths: Sequence[Truth] | None = None) -> None:
        """Go over to another source; `switched` tells when its first request was sent, None until then."""
        self._rows, self._switching, self.switched = _loop(rows, truths), True, None

    async def stop(self) -> None:
        """Send no more, wait for the answers outstanding (at most `timeout`), and close the connections."""
        if not self._tasks:
            return
        (pacing, looking), self._tasks = self._tasks, []
        await _cancel(pacing)
        while self._busy:  # `_look_after` gives up on answers that are overdue
            self._changed.clear()
            await self._changed.wait()
        await _cancel(looking)
        self._close()

    def latency(self, *quantiles: float, last: int | None = None) -> list[float]:
        """Seconds from sending to the answer's last byte at each quantile (0 to 1), over the last answers (100,000).

        NaN before the first answer.
        """
        kept = list(self._latencies) if last is None else list(self._latencies)[-last:]
        return np.quantile(kept, quantiles).tolist() if kept else [float("nan")] * len(quantiles)

    def due(self, elapsed: float) -> int:
        """How many requests to send now, `elapsed` seconds after the last time; what is left over is owed."""
        self._owed += elapsed * self.rate
        if self._owed > self._burst:
            skipped = int(self._owed) - self._burst
            self.counts.skipped += skipped
            self._owed -= skipped
        sending = min(int(self._owed), len(self._idle))
        self._owed -= sending
        return sending

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = loop.time()
            for _ in range(self.due(now - before)):
                self._send(self._idle.popleft())
            before = now

    def _send(self, connection: _Connection) -> None:
        row, connection.truth = next(self._rows)
        body = msgspec.json.encode(row)
        if self._switching:
            self.switched = Moment(time.monotonic(), time.time(), self.counts.sent)
            self._switching = False
        self.counts.sent += 1
        self._busy[connection] = time.perf_counter()
        connection.send(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body))

    async def _look_after(self) -> None:
        """Give up on answers that are overdue, and replace connections that were lost."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            overdue = time.perf_counter() - self._timeout
            for connection in [connection for connection, since in self._busy.items() if since < overdue]:
                connection.close()
                self.lost(connection)
            try:
                while len(self._idle) + len(self._busy) < self._wanted:
                    async with asyncio.timeout(self._timeout):  # Python 3.11's `wait_for` can lose a cancellation
                        await self._connect()
            except OSError:  # refused, or no answer in time: the next look tries again
                continue

    def _close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> None:
        host, port = self._address
        _, connection = await asyncio.get_running_loop().create_connection(lambda: _Connection(self), host, port)
        self._idle.append(connection)

    def answered(self, connection: _Connection, status: int, answer: str | None, reusable: bool) -> None:
        """A connection's answer is complete; `answer` is the id that the proxy gave it."""
        since = self._busy.pop(connection, None)
        if since is None:
            return  # given up on, or an answer that nobody asked for
        self._latencies.append(time.perf_counter() - since)
        self.counts.answered[f"{status // 100}xx"] += 1
        if self._learn is not None and answer is not None and connection.truth is not None and status < 300:
            self._learn(answer, connection.truth)
        if reusable:
            self._idle.append(connection)
        self._changed.set()

    def lost(self, connection: _Connection) -> None:
        """A connection is gone, with the request that it carried."""
        if self._busy.pop(connection, None) is not None:
            self.counts.failed += 1
        elif connection in self._idle:
            self._idle.remove(connection)
        self._changed.set()


class _Connection(asyncio.Protocol):
    """One keep-alive connection; tells its owner of each answer and of its end."""

    def __init__(self, owner: Traffic) -> None:
        self.truth: Truth | None = None
        """About the row that it has asked of."""
        self._owner = owner
        self._answer: str | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance

    def send(self, request: bytes) -> None:
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._answer = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == _ID:
            self._answer = value.decode("latin-1")

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        reusable = self._parser.should_keep_alive()
        if status >= 200:  # an interim answer is none
            self._owner.answered(self, status, self._answer, reusable)
            if not reusable:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.lost(self)


def _loop(rows: Sequence[Row], truths: Sequence[Truth] | None) -> Iterator[Asked]:
    if not rows:
        raise ValueError("traffic needs at least one row")
    return itertools.cycle(zip(rows, truths if truths is not None else itertools.repeat(None), strict=False))


async def _cancel(task: asyncio.Task[None]) -> None:
    """End a task and wait for it; what it failed of, if it had ended before, is raised."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
