"""One request to the shadow. Its answer is read up to a bound and recorded; nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from events.inference import Outcome
from proxy.http.answer import AnswerHead
from proxy.http.upstream import Failure, UpstreamConnection
from proxy.http.wire import request_bytes
from proxy.record import Original, captured
from proxy.shadowing.shadow import Shadow

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""How much of a shadow's answer is read; an endless one is cut here, or by its deadline."""

PIECE_BYTES: Final = 64
"""What a piece of an answer counts at least: a million chunks of a byte each take a second of the worker's time."""

HEADER_BYTES: Final = 200
"""What keeping a header costs beside its own bytes."""

_SMALL_BYTES: Final = 16 * 1024
"""Up to here, joining a body to its head costs less than writing it apart."""

_OUTCOMES: Final[dict[str, Outcome]] = {"timeout": "timeout", "truncated": "truncated", "answer_too_large": "truncated"}
_OUR_OWN: Final = frozenset({"shutdown", "memory"})
"""Failures that say nothing of the shadow."""


class Clone:
    """An `Original` itself, so that the client's exchange, its head and its bodies are not kept for it.

    `held`: how many bytes the worker keeps for it; they are given back at its end.
    """

    __slots__ = (
        "_answer",
        "_answer_head",
        "_answer_read",
        "_answer_size",
        "_connection",
        "_ended",
        "_first_byte",
        "_held",
        "_request",
        "_retried",
        "_shadow",
        "_started",
        "abandoned",
        "deadline",
        "head",
        "id",
        "plan",
        "request_id",
        "serving",
        "time",
    )

    def __init__(
        self, shadow: Shadow, original: Original, request: bytes, held: int, ended: Callable[[Clone], None]
    ) -> None:
        self._shadow = shadow
        self._ended = ended
        self.plan = original.plan
        self.serving = original.serving
        self.id = original.id
        self.request_id = original.request_id
        self.time = original.time
        self.head = head = shadow.head_of(original.head)
        self._request = request
        own = len(head.path) + len(head.query)
        own += sum(len(name) + len(value) + HEADER_BYTES for name, value in head.forwarded)
        shadow.held.add(own)
        self._held = held + own
        self._connection: UpstreamConnection | None = None
        self._retried = False
        self._answer_head: AnswerHead | None = None
        self._answer: list[bytes] = []
        self._answer_size = 0
        self._answer_read = 0
        self._first_byte = 0.0
        self.abandoned = False
        self._started = monotonic()
        self.deadline = self._started + shadow.timeout

    def start(self) -> None:
        """Ask for a connection of the shadow's own pool."""
        self._shadow.pool.acquire(self, fresh=self._retried)

    # From the upstream: `Caller`.

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the request from its copy."""
        self._connection = connection
        head, address = self.head, connection.address
        connection.begin(self, head.method)
        length = None if head.length is None else len(self._request)
        target = address.base_path + head.path + head.query
        headers = self._shadow.headers(head, self.request_id)
        raw_head = request_bytes(head.method, target, address.authority, headers, length)
        if len(self._request) <= _SMALL_BYTES:
            connection.write(raw_head + self._request)
        else:
            connection.write(raw_head)
            connection.write(self._request)
        connection.request_done = True

    def answer_interim(self, head: AnswerHead) -> None:
        """Nobody waits for it."""

    def answer_switched(self, head: AnswerHead, data: bytes) -> None:
        """No clone asks for it."""

    def answer_head(self, head: AnswerHead) -> None:
        """The shadow begins to answer."""
        self._answer_head = head
        self._first_byte = monotonic()

    def answer_body(self, data: bytes) -> None:
        """Keep what is captured, read on up to the bound."""
        room = self._shadow.kept_answer - self._answer_size
        self._answer_size += len(data)
        self._answer_read += max(len(data), PIECE_BYTES)
        if room > 0:
            kept = data[:room]
            if not self._shadow.held.take(len(kept)):
                self.fail("memory")
                return
            self._held += len(kept)
            self._answer.append(kept)
        if self._answer_read > MAX_ANSWER_BYTES:
            self.fail("answer_too_large")

    def answer_trailer(self, name: bytes, value: bytes) -> None:
        """It is not captured."""

    def answer_so_far(self) -> None:
        """Nobody waits for a part."""

    def answer_complete(self) -> None:
        """The shadow has answered whole."""
        self._connection = None
        if self.abandoned:
            return
        assert self._answer_head is not None
        self._shadow.counters.cells[self._shadow.mirror_places.completed] += 1
        self._shadow.answered()
        self._end("ok" if 200 <= self._answer_head.status < 300 else "error")

    def answer_failed(self, failure: Failure) -> None:
        """The shadow is away, or broke off; a kept connection that had closed meanwhile is no fault of its."""
        connection, self._connection = self._connection, None
        if self.abandoned:
            return
        if connection is not None and connection.reused and not connection.answered and not self._retried:
            self._retried = True
            self.start()
        else:
            self.fail(failure)

    def upstream_paused(self, paused: bool) -> None:
        """The request is in the transport's buffer already, and bounded."""

    # The end.

    def fail(self, reason: str) -> None:
        """There is no whole answer, for this reason."""
        if self.abandoned:
            return
        self._shadow.counters.cells[self._shadow.mirror_places.failed[reason]] += 1
        if reason not in _OUR_OWN:
            self._shadow.failed()
        self._end(_OUTCOMES.get(reason, "error"))

    def _end(self, outcome: Outcome) -> None:
        self.abandoned = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.discard()
        else:
            self._shadow.pool.withdraw(self)
        shadow, head = self._shadow, self._answer_head
        self._ended(self)
        shadow.held.give_back(self._held)
        self._count(outcome)
        shadow.capture.record(
            captured(
                self,
                "shadow",
                outcome,
                status=None if head is None else head.status,
                latency=monotonic() - self._started,
                sampled=True,
                request=self._request,
                request_whole=True,
                answer_head=head,
                answer=b"".join(self._answer),
                answer_size=self._answer_size,
            )
        )

    def _count(self, outcome: Outcome) -> None:
        shadow, head = self._shadow, self._answer_head
        counters, places = shadow.counters, shadow.places
        cells = counters.cells
        cells[shadow.mirror_places.in_flight] -= 1
        cells[places.in_flight] -= 1
        cells[places.request(None if head is None else head.status, outcome)] += 1
        counters.observe(places.latency, monotonic() - self._started)
        if head is not None:
            counters.observe(places.first_byte, self._first_byte - self._started)
        counters.changed()
