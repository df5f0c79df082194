"""One request on its way to production, and the answer back; what is done afterwards is `mirror`'s and `capture`'s."""

from __future__ import annotations

from time import monotonic, time
from typing import Final, Protocol

from events.ids import new_id
from events.inference import Outcome
from proxy.heads import CHUNKED, LAST_CHUNK, AnswerHead, RequestHead, answer_bytes, chunk, request_bytes
from proxy.plan import Plan
from proxy.plane import Plane
from proxy.record import captured
from proxy.shadow import CLONE_MARK
from proxy.upstream import Failure, UpstreamConnection

REPLAY_BYTES: Final = 64 * 1024
"""How much of a body is kept to send it again on a fresh connection."""

UNSENT_BYTES: Final = 64 * 1024
"""How much of a body may wait for a connection before the client is paused."""

_NO_BODY: Final = frozenset({204, 304})


class Client(Protocol):
    """The client's connection, as an exchange sees it."""

    understands_chunks: bool

    @property
    def reads_slowly(self) -> bool:
        """Whether what was written has not left yet, beyond what may wait."""

    def write(self, data: bytes) -> None:
        """Send a piece of the answer."""

    def pause_request(self, paused: bool) -> None:
        """Stop (or go on) reading the request."""

    def answer_error(self, status: int, reason: str, text: str, exchange: Exchange) -> None:
        """Answer instead of the model."""

    def cut(self) -> None:
        """End the answer so that it never looks complete."""

    def exchange_ended(self, exchange: Exchange) -> None:
        """On with the next."""


class Exchange:
    """One request and its answer.

    The client's connection feeds it (`body`, `body_complete`, `client_gone`, `expire`), the upstream answers it (the
    methods of `upstream.Caller`). It ends in `_end`, once, whatever happened.
    """

    __slots__ = (
        "_answer",
        "_answer_head",
        "_answer_size",
        "_body",
        "_body_done",
        "_body_size",
        "_candidate",
        "_captured",
        "_client",
        "_connection",
        "_first_byte",
        "_keep_bytes",
        "_plane",
        "_rechunk",
        "_retried",
        "_started",
        "abandoned",
        "client_keeps",
        "deadline",
        "ended",
        "head",
        "id",
        "inference",
        "plan",
        "request_id",
        "time",
    )

    def __init__(self, client: Client, plane: Plane, plan: Plan, head: RequestHead, keeps: bool) -> None:
        self._client = client
        self._plane = plane
        self.plan = plan
        self.head = head
        self.client_keeps = keeps
        self.id = new_id()
        self.request_id = head.request_id or self.id.encode()
        self.time = time()
        self._started = monotonic()
        self.deadline = self._started + plan.timeout
        self.ended = False
        self.abandoned = False
        self.inference = plan.is_inference(head)
        position = plane.sampler.position(self.request_id) if self.inference else 0
        chosen = self.inference and plan.chosen(head, position)
        self._captured = self.inference and (chosen or position < plan.capture_threshold)
        self._candidate = plane.mirror.choose(plan, head.length) if chosen else None
        self._keep_bytes = max(
            REPLAY_BYTES,
            plan.model.mirror.max_body_bytes if self._candidate is not None and self._candidate.waits else 0,
            plan.model.capture.max_bytes if self._captured else 0,
        )
        self._body: list[bytes] = []
        self._body_size = 0
        self._body_done = head.length is None
        self._connection: UpstreamConnection | None = None
        self._retried = False
        self._answer_head: AnswerHead | None = None
        self._answer: list[bytes] = []
        self._answer_size = 0
        self._first_byte = 0.0
        self._rechunk = False
        if self.inference:
            plane.counters.cells[plan.places.in_flight] += 1
            plane.counters.changed()

    @property
    def begun(self) -> bool:
        """Whether the client has the answer's head already."""
        return self._answer_head is not None

    def start(self) -> None:
        """Ask for a connection: it is this exchange's turn."""
        self._touch()
        self.plan.production.acquire(self)

    # From the client.

    def body(self, data: bytes) -> None:
        """A piece of the request's body."""
        self._body_size += len(data)
        self._touch()
        if self._connection is not None:
            self._connection.write(chunk(data) if self.head.length == CHUNKED else data)
        candidate = self._candidate
        if candidate is not None and candidate.waits and not self._plane.mirror.keep(candidate, len(data)):
            self._keep_less()
        if self._body_size <= self._keep_bytes or self._connection is None:
            self._body.append(data)
        if self._connection is None and self._body_size > UNSENT_BYTES:
            self._client.pause_request(True)

    def body_complete(self) -> None:
        """The request is whole."""
        self._body_done = True
        self._touch()
        if self._connection is not None:
            self._finish_request(self._connection)
        if self._candidate is not None and self._candidate.waits and self._candidate.leaves_early:
            self._settle("ok")
            self._keep_less()

    def client_gone(self) -> None:
        """The client has closed its connection, or broken the protocol in the middle of its request."""
        self._end("client_closed")

    def expire(self) -> None:
        """The deadline has passed."""
        if self._answer_head is None:
            self._client.answer_error(504, "upstream_timeout", "the model did not answer in time", self)
            self._end("timeout", 504)
        else:
            self._client.cut()
            self._end("client_closed" if self._client.reads_slowly else "timeout")

    def pause_answer(self, paused: bool) -> None:
        """The client is slow to read (or has caught up)."""
        if self._connection is not None:
            self._connection.pause_answer(paused)

    # From the upstream: `Caller`.

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the head, and what has come of the body."""
        if self.ended:
            connection.discard()
            return
        self._connection = connection
        head, pool = self.head, self.plan.production
        connection.begin(self, head.method)
        forwarded = [*head.forwarded, (b"X-Request-Id", self.request_id)]
        if head.clone_mark and self.plan.model.mirror.trust_header:  # so that no proxy further on clones it either
            forwarded.append(CLONE_MARK)
        if head.expects_continue and not self._body_done:
            forwarded.append((b"Expect", b"100-continue"))
        target = pool.base_path + head.path + head.query
        connection.write(request_bytes(head.method, target, pool.authority, forwarded, head.length))
        if self._body:
            data = b"".join(self._body)
            connection.write(chunk(data) if head.length == CHUNKED else data)
        self._client.pause_request(False)
        if self._client.reads_slowly:
            connection.pause_answer(True)
        if self._body_done:
            self._finish_request(connection)

    def _finish_request(self, connection: UpstreamConnection) -> None:
        if self.head.length == CHUNKED:
            connection.write(LAST_CHUNK)
        connection.request_done()

    def answer_continues(self) -> None:
        """Let the client go on with its body."""
        if self.head.expects_continue:
            self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answer_head(self, head: AnswerHead) -> None:
        """Pass the answer's head on, with the framing that this client understands."""
        self._answer_head = head
        self._first_byte = monotonic()
        self.deadline = self._first_byte + self.plan.timeout
        length = head.length
        has_body = self.head.method != b"HEAD" and head.status not in _NO_BODY
        if has_body and (length is None or length == CHUNKED):
            self._rechunk = self._client.understands_chunks
            length = CHUNKED if self._rechunk else None
        elif length == CHUNKED or head.status == 204:
            length = None
        self.client_keeps = self.client_keeps and self._body_done and (not has_body or length is not None)
        self._client.write(answer_bytes(head, self.id.encode(), length, not self.client_keeps))

    def answer_body(self, data: bytes) -> None:
        """Pass a piece on, and keep what is captured of it."""
        self._touch()
        self._client.write(chunk(data) if self._rechunk else data)
        if self._captured and self._answer_size < self.plan.model.capture.max_bytes:
            self._answer.append(data)
        self._answer_size += len(data)

    def answer_complete(self) -> None:
        """The client has its answer; only now is anything else done."""
        if self._rechunk:
            self._client.write(LAST_CHUNK)
        self._connection = None
        assert self._answer_head is not None
        status = self._answer_head.status
        self._end("ok" if 200 <= status < 300 else "error", status)

    def answer_failed(self, failure: Failure) -> None:
        """Try once more where that is safe, else tell the client."""
        connection, self._connection = self._connection, None
        if self._answer_head is not None:
            self._client.cut()
            self._end("truncated")
        elif connection is not None and self._may_retry(connection):
            self._retried = True
            self._plane.counters.cells[self.plan.retries] += 1
            self._plane.counters.changed()
            self.plan.production.acquire(self, fresh=True)
        else:
            self._client.answer_error(502, "upstream_failed", "the model cannot be reached", self)
            self._end("error", 502)

    def upstream_paused(self, paused: bool) -> None:
        """Production takes the body more slowly than it comes."""
        self._client.pause_request(paused)

    def _may_retry(self, connection: UpstreamConnection) -> bool:
        """A kept connection that closed unanswered, and a request that memory still holds whole."""
        whole = self._body_size <= self._keep_bytes
        return connection.reused and not connection.answered and not self._retried and whole

    def _keep_less(self) -> None:
        """No clone needs the body any more: keep what a retry and the event do."""
        captured_bytes = self.plan.model.capture.max_bytes if self._captured else 0
        self._keep_bytes = max(REPLAY_BYTES, captured_bytes)
        if self._body_size > self._keep_bytes and self._connection is not None:
            self._body = [b"".join(self._body)[:captured_bytes]]

    def _settle(self, outcome: Outcome) -> None:
        """The candidate's time has come. Whatever is wrong with clones, the exchange goes on."""
        assert self._candidate is not None
        self._body = [b"".join(self._body)]
        try:
            self._plane.mirror.settle(self._candidate, self, outcome, self._body[0] if self._body_done else None)
        except Exception as error:
            self._plane.loop.call_exception_handler({"message": "a clone could not be made", "exception": error})

    def _touch(self) -> None:
        self.deadline = monotonic() + self.plan.timeout

    # The end.

    def _end(self, outcome: Outcome, status: int | None = None) -> None:
        if self.ended:
            return
        self.ended = self.abandoned = True
        if self._connection is not None:
            self._connection.discard()
            self._connection = None
        if status is None and self._answer_head is not None:
            status = self._answer_head.status
        try:
            if self.inference:
                self._account(outcome, status)
        finally:  # whatever is wrong with clones and events, the client goes on
            self._client.exchange_ended(self)

    def _account(self, outcome: Outcome, status: int | None) -> None:
        plane, places = self._plane, self.plan.places
        latency = monotonic() - self._started
        cells = plane.counters.cells
        cells[places.in_flight] -= 1
        cells[places.request(status, outcome)] += 1
        plane.counters.observe(places.latency, latency)
        if self._answer_head is not None:
            plane.counters.observe(places.first_byte, self._first_byte - self._started)
        plane.counters.changed()
        candidate = self._candidate
        if candidate is not None and candidate.waits:
            self._settle(outcome)
        if self._captured:
            plane.capture.record(
                captured(
                    self,
                    "production",
                    outcome,
                    status=status,
                    latency=latency,
                    sampled=candidate is not None and candidate.accepted,
                    request=b"".join(self._body),
                    request_whole=self._body_done and self._body_size <= self._keep_bytes,
                    answer_head=self._answer_head,
                    answer=b"".join(self._answer),
                    answer_size=self._answer_size,
                )
            )
