"""Clones: which of the chosen requests leave for the shadow, and what comes of them. Production never waits here."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from events.inference import Outcome
from proxy.capture import Capture
from proxy.counters import Counters
from proxy.heads import AnswerHead, Headers, request_bytes
from proxy.plan import Plan
from proxy.record import Original, captured
from proxy.upstream import Failure, UpstreamConnection

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""How much of a shadow's answer is read; an endless one is cut here, and no sooner than its deadline."""

_PASSED_ON: Final = frozenset(
    {b"content-type", b"content-encoding", b"content-language", b"accept", b"traceparent", b"tracestate"}
)
_MARKS: Final = [(b"X-Shadow", b"true"), (b"X-Shadowdrift-Clone", b"1")]


class Mirror:
    """Decides and sends; holds at most `max_in_flight` clones a model."""

    def __init__(self, counters: Counters, capture: Capture) -> None:
        self.counters = counters
        self.capture = capture
        self.idle = asyncio.Event()
        """Set while no clone is under way."""
        self.idle.set()
        self._in_flight: dict[str, set[Clone]] = {}
        self._allowed: dict[str, frozenset[bytes]] = {}

    def choose(self, plan: Plan) -> None:
        """A request was chosen; it waits for production's answer."""
        places = plan.mirror_places
        self.counters.cells[places.sampled] += 1
        self.counters.cells[places.waiting] += 1
        self.counters.changed()

    def settle(self, exchange: Original, outcome: Outcome, request: bytes | None) -> bool:
        """Production is done with a chosen request: send its clone, or count why not; whether it is sent.

        `request` is the body, None where it is not there whole.
        """
        plan = exchange.plan
        cells, places = self.counters.cells, plan.mirror_places
        cells[places.waiting] -= 1
        self.counters.changed()
        reason = self._obstacle(exchange, outcome, request)
        if reason is not None:
            cells[places.dropped[reason]] += 1
            return False
        assert request is not None
        if plan.model.mirror.mode == "log_only":
            cells[places.log_only] += 1
            self.capture.record(
                captured(
                    exchange,
                    "shadow",
                    "log_only",
                    status=None,
                    latency=None,
                    sampled=True,
                    request=request,
                    request_whole=True,
                    answer_head=None,
                    answer=None,
                    answer_size=0,
                )
            )
            return False
        cells[places.sent] += 1
        cells[places.in_flight] += 1
        clone = Clone(self, exchange, request)
        self._of(plan.name).add(clone)
        self.idle.clear()
        clone.start()
        return True

    def _obstacle(self, exchange: Original, outcome: Outcome, request: bytes | None) -> str | None:
        plan = exchange.plan
        mirror = plan.model.mirror
        if outcome != "ok":
            return "client_closed" if outcome == "client_closed" else "not_success"
        if plan.shadow_version == exchange.serving.version:
            return "same_version"
        if request is None or len(request) > mirror.max_body_bytes:
            return "body_too_large"
        if mirror.mode == "call" and len(self._of(plan.name)) >= mirror.max_in_flight:
            return "max_in_flight"
        return None

    def headers(self, exchange: Original) -> Headers:
        """A clone's headers: what it takes to read the body, to trace it, and what the configuration adds."""
        plan = exchange.plan
        allowed = self._allowed.get(plan.name)
        if allowed is None:
            extra = {name.lower().encode() for name in plan.model.mirror.headers}
            allowed = self._allowed[plan.name] = _PASSED_ON | extra
        passed = [pair for pair in exchange.head.forwarded if pair[0].lower() in allowed]
        return [*passed, (b"X-Request-Id", exchange.request_id), *_MARKS]

    def expire(self, now: float) -> None:
        """End the clones whose deadline has passed."""
        for clones in self._in_flight.values():
            for clone in [clone for clone in clones if clone.deadline <= now]:
                clone.fail("timeout")

    def give_up(self) -> None:
        """End every clone: the worker stops."""
        for clones in self._in_flight.values():
            for clone in list(clones):
                clone.fail("shutdown")

    def forget(self, clone: Clone) -> None:
        """A clone has ended."""
        self._of(clone.exchange.plan.name).discard(clone)
        if not any(self._in_flight.values()):
            self.idle.set()

    def _of(self, model: str) -> set[Clone]:
        return self._in_flight.setdefault(model, set())


class Clone:
    """One request to the shadow; its answer is read up to a bound, recorded, and nobody waits for it."""

    def __init__(self, mirror: Mirror, exchange: Original, request: bytes) -> None:
        self._mirror = mirror
        self.exchange = exchange
        self._request = request
        self._started = monotonic()
        self.deadline = self._started + exchange.plan.model.mirror.timeout
        self.abandoned = False
        self._connection: UpstreamConnection | None = None
        self._retried = False
        self._head: AnswerHead | None = None
        self._first_byte = 0.0
        self._answer: list[bytes] = []
        self._answer_size = 0
        places = exchange.plan.shadow_places
        assert places is not None
        self._places = places
        mirror.counters.cells[places.in_flight] += 1

    def start(self) -> None:
        """Ask for a connection of the shadow's own pool."""
        pool = self.exchange.plan.shadow
        assert pool is not None
        pool.acquire(self, fresh=self._retried)

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the request from its copy."""
        self._connection = connection
        head, address = self.exchange.head, connection.address
        connection.begin(self, head.method)
        length = len(self._request) if head.length is not None else None
        target = address.base_path + head.path + head.query
        headers = self._mirror.headers(self.exchange)
        connection.write(request_bytes(head.method, target, address.authority, headers, length) + self._request)
        connection.request_done()

    def answer_continues(self) -> None:
        """The body has left already."""

    def answer_head(self, head: AnswerHead) -> None:
        """The shadow begins to answer."""
        self._head = head
        self._first_byte = monotonic()

    def answer_body(self, data: bytes) -> None:
        """Keep what is captured, read on up to the bound."""
        if self._answer_size < self.exchange.plan.model.capture.max_bytes:
            self._answer.append(data)
        self._answer_size += len(data)
        if self._answer_size > MAX_ANSWER_BYTES:
            self.fail("answer_too_large")

    def answer_so_far(self) -> None:
        """Nobody waits for a part."""

    def answer_complete(self) -> None:
        """The shadow has answered whole."""
        self._connection = None
        if self.abandoned:
            return
        assert self._head is not None
        self._mirror.counters.cells[self.exchange.plan.mirror_places.completed] += 1
        self._end("ok" if 200 <= self._head.status < 300 else "error")

    def answer_failed(self, failure: Failure) -> None:
        """The shadow is away, or broke off; a kept connection that had closed meanwhile is no fault of its."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.reused and not connection.answered and not self._retried:
            self._retried = True
            self.start()
        else:
            self.fail(failure)

    def upstream_paused(self, paused: bool) -> None:
        """The request is in the transport's buffer already, and bounded."""

    def fail(self, reason: str) -> None:
        """There is no whole answer, for this reason."""
        if self.abandoned:
            return
        self._mirror.counters.cells[self.exchange.plan.mirror_places.failed[reason]] += 1
        outcomes: dict[str, Outcome] = {"timeout": "timeout", "truncated": "truncated", "answer_too_large": "truncated"}
        self._end(outcomes.get(reason, "error"))

    def _end(self, outcome: Outcome) -> None:
        self.abandoned = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.discard()
        mirror, exchange = self._mirror, self.exchange
        latency = monotonic() - self._started
        cells = mirror.counters.cells
        cells[exchange.plan.mirror_places.in_flight] -= 1
        cells[self._places.in_flight] -= 1
        status = self._head.status if self._head is not None else None
        cells[self._places.request(status, outcome)] += 1
        mirror.counters.observe(self._places.latency, latency)
        if self._head is not None:
            mirror.counters.observe(self._places.first_byte, self._first_byte - self._started)
        mirror.counters.changed()
        mirror.forget(self)
        mirror.capture.record(
            captured(
                exchange,
                "shadow",
                outcome,
                status=status,
                latency=latency,
                sampled=True,
                request=self._request,
                request_whole=True,
                answer_head=self._head,
                answer=b"".join(self._answer),
                answer_size=self._answer_size,
            )
        )
