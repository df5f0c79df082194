"""One request on its way to production, and the answer back; what is done afterwards is `mirror`'s and `capture`'s.

Longer than other modules, because it is one state machine: what the client does, what production does, and what time
does may come in any order, and each has to know how far the others are.
"""

from __future__ import annotations

from time import monotonic, time
from typing import Final, Protocol

from events.ids import new_id
from events.inference import Outcome
from logs.lines import told
from proxy.http.answer import AnswerHead
from proxy.http.headers import CHUNKED, Headers, may_trail
from proxy.http.request import RequestHead
from proxy.http.upstream import Failure, UpstreamConnection
from proxy.http.wire import CONTINUE, answer_bytes, chunk, interim_bytes, last_chunk, request_bytes, switching_bytes
from proxy.layout import FallbackReason
from proxy.record import captured
from proxy.routing.fallback import FixedAnswer
from proxy.routing.gate import Gate
from proxy.routing.plan import REPLAY_BYTES, UNSENT_BYTES, Plan
from proxy.shadowing.mirror import Candidate
from proxy.shadowing.shadow import CLONE_MARK
from proxy.traffic.plane import Plane

SMALL_BYTES: Final = 64
"""A kept piece costs some forty bytes beside its own: smaller ones are put together, or a body that comes in chunks of
two bytes would take twenty times what is counted for it."""

MERGED_BYTES: Final = 2048
"""How far: what is put together is copied each time."""

_TO_WEBSOCKET: Final = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]

_NO_BODY: Final = frozenset({204, 304})

_NOT_SERVED: Final = frozenset({502, 503, 504})
"""Answers that a breaker takes for failures; they are passed on as they came."""


class Client(Protocol):
    """The client's connection, as an exchange sees it."""

    understands_chunks: bool
    reads_slowly: bool

    def write(self, data: bytes) -> None:
        """Send a piece of the answer."""

    def pause_request(self, paused: bool) -> None:
        """Stop (or go on) reading the request."""

    def answer_error(self, status: int, reason: str, text: str, exchange: Exchange) -> None:
        """Answer instead of the model."""

    def answer_refused(self, status: int, reason: str, body: bytes, exchange: Exchange) -> None:
        """Answer a request that was read whole instead of the model; the connection stays."""

    def tunnel(self, connection: UpstreamConnection, from_upstream: bytes) -> None:
        """Let bytes pass both ways unread from now on."""

    def cut(self) -> None:
        """End the answer so that it never looks complete."""

    def exchange_ended(self, exchange: Exchange) -> None:
        """On with the next."""


class Exchange:
    """One request and its answer.

    The client's connection feeds it (`body`, `body_complete`, and after each read `proceed`; `client_gone`, `expire`),
    the upstream answers it (the methods of `upstream.Caller`). What one read of either side brings leaves in one write:
    system calls are most of what a request costs. It ends in `_end`, once, whatever happened.
    """

    __slots__ = (
        "_answer",
        "_answer_head",
        "_answer_size",
        "_answer_trailers",
        "_body",
        "_body_done",
        "_body_size",
        "_candidate",
        "_captured",
        "_client",
        "_connection",
        "_fallen_back",
        "_first_byte",
        "_fixed",
        "_forgot",
        "_id_bytes",
        "_keep_bytes",
        "_out",
        "_plane",
        "_rechunk",
        "_retried",
        "_started",
        "_trailers",
        "_underway",
        "_unsent",
        "abandoned",
        "client_keeps",
        "deadline",
        "ended",
        "head",
        "id",
        "inference",
        "plan",
        "request_id",
        "serving",
        "time",
    )

    def __init__(self, client: Client, plane: Plane, plan: Plan, head: RequestHead, keeps: bool) -> None:
        self._client = client
        self._plane = plane
        self.plan = plan
        self.head = head
        self.client_keeps = keeps
        self.id = new_id()
        self._id_bytes = self.id.encode()
        self.request_id = head.request_id or self._id_bytes
        self.time = time()
        self._started = monotonic()
        self.serving = serving = plan.route(self.request_id)
        self.deadline = self._started + serving.timeout
        self.ended = False
        self.abandoned = False
        self.inference = plan.is_inference(head.method, head.path) and not head.websocket
        self._captured = False
        self._candidate: Candidate | None = None
        self._keep_bytes = REPLAY_BYTES
        self._body: list[bytes] = []
        self._body_size = 0
        self._body_done = head.length is None
        self._unsent: list[bytes] = []  # pieces of the body that have not been written to production
        self._trailers: Headers | None = None
        self._underway = False
        self._connection: UpstreamConnection | None = None
        self._retried = False
        self._forgot = False  # whether a piece of the body is gone, so that it cannot be sent again
        self._fallen_back = False
        self._fixed: FixedAnswer | None = None  # answered once the request is read
        self._answer_head: AnswerHead | None = None
        self._answer: list[bytes] = []
        self._answer_size = 0
        self._answer_trailers: Headers | None = None
        self._first_byte = 0.0
        self._rechunk = False
        self._out: list[bytes] = []  # pieces of the answer that have not been written to the client
        if self.inference:
            plane.counters.cells[serving.places.in_flight] += 1
            plane.counters.changed()
            self._choose()

    def _choose(self) -> None:
        """Decide by the request's id whether it is cloned and captured, and so how much of its body is kept."""
        plan, plane = self.plan, self._plane
        position = plane.sampler.position(self.request_id)
        chosen = plan.chosen(self.head, position)
        if chosen or position < plan.capture_threshold:
            self._captured = True
            self._keep_bytes = plan.kept_captured
        if chosen:
            self._candidate = plane.mirror.choose(plan, self.serving.version, self.head.length)
            if self._candidate.waits:
                self._keep_bytes = plan.kept_waiting

    @property
    def begun(self) -> bool:
        """Whether the client has the answer's head already."""
        return self._answer_head is not None

    # From the client.

    def proceed(self) -> None:
        """It is this exchange's turn, and one read has been taken in: send it on, or first ask for a connection."""
        if self._underway:
            connection = self._connection
            if connection is not None and not connection.request_done:  # or its last chunk would be sent once more
                self._send(connection)
        elif self._client.reads_slowly:  # answers must not pile up: it is asked once the client has caught up
            return
        else:
            self._underway = True
            self.deadline = self._plane.now + self.serving.timeout
            if not (self.inference and self.plan.guarded) or self._passes():
                self.serving.pool.acquire(self)
        candidate = self._candidate
        early = candidate is not None and candidate.waits and candidate.leaves_early and self._body_done
        if early and not self._fallen_back:
            self._settle("ok")
            self._keep_less()

    def _passes(self) -> bool:
        """Whether nothing stands against asking the version; otherwise the fallback is asked, or the client refused."""
        gate = self.plan.gate
        if gate is not None and not self._fits(gate):
            return False
        obstacle = self.plan.obstacle(self.serving, monotonic())
        if obstacle is not None and not self._fall_back(obstacle):
            self._client.answer_error(503, "paused", "the model is paused", self)
            self._end("error", 503)
        return obstacle is None

    def _fits(self, gate: Gate) -> bool:
        """Whether the request may be sent; if not, it has been refused, or its body is still to come."""
        if not self._body_done and gate.checks(self.head, self._body_size):
            self._underway = False  # and so this is asked again once more of it is here
            if self.head.expects_continue:
                self.head.expects_continue = False  # the model need not say it once more
                self._client.write(CONTINUE)
            return False
        refusal = gate.refusal(self.head, b"".join(self._body), self._plane.counters)
        if refusal is None:
            return True
        self._underway = False  # nor may a clone leave that does not wait for production
        self._client.answer_refused(400, "schema", refusal, self)
        self._end("error", 400)
        return False

    def body(self, data: bytes) -> None:
        """A piece of the request's body."""
        self._body_size += len(data)
        self.deadline = self._plane.now + self.serving.timeout
        self._unsent.append(data)
        candidate = self._candidate
        if candidate is not None and candidate.waits and not self._plane.mirror.keep(candidate, len(data)):
            self._keep_less()
        if self._body_size <= self._keep_bytes or self._connection is None:
            if len(data) < SMALL_BYTES and self._body and len(self._body[-1]) < MERGED_BYTES:
                self._body[-1] += data
            else:
                self._body.append(data)
        else:
            self._forgot = True
        if self._connection is None and self._body_size > self.plan.unsent_bytes:
            self._client.pause_request(True)

    def trailer(self, name: bytes, value: bytes) -> None:
        """A header behind the request's chunked body."""
        if may_trail(name) and not self.plan.names_tenants(name):
            self._trailers = self._trailers or []
            self._trailers.append((name, value))

    def body_complete(self) -> None:
        """The request is whole."""
        self._body_done = True
        self.deadline = self._plane.now + self.serving.timeout
        if self._fixed is not None:
            self._answer_fixed(self._fixed)

    def client_gone(self) -> None:
        """The client has closed its connection, or broken the protocol in the middle of its request."""
        self._end("client_closed")

    def expire(self) -> None:
        """The deadline has passed."""
        if self._client.reads_slowly:  # which says nothing of production: its answer is not read meanwhile
            self._client.cut()
            self._end("client_closed")
            return
        self._note(failed=True)
        if self._answer_head is not None:
            self._client.cut()
            self._end("timeout")
        elif not self._fall_back("timeout"):
            self._client.answer_error(504, "upstream_timeout", "the model did not answer in time", self)
            self._end("timeout", 504)

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
        head, address = self.head, connection.address
        connection.begin(self, head.method, may_switch=head.websocket)
        forwarded = [*head.forwarded, (b"X-Request-Id", self.request_id)]
        if head.clone_mark and self.plan.model.mirror.trust_header:  # so that no proxy further on clones it either
            forwarded.append(CLONE_MARK)
        if head.expects_continue and not self._body_done:
            forwarded.append((b"Expect", b"100-continue"))
        if head.websocket:
            forwarded += _TO_WEBSOCKET
        target = head.path if head.path == b"*" else address.base_path + head.path + head.query
        self._unsent = [data] if (data := b"".join(self._body)) else []
        if self._body_size > self.plan.unsent_bytes or self._retried or self._fallen_back:
            self._client.pause_request(False)  # before anything is written: this connection may ask for a pause itself
        self._send(connection, request_bytes(head.method, target, address.authority, forwarded, head.length))
        if self._client.reads_slowly:
            connection.pause_answer(True)

    def _send(self, connection: UpstreamConnection, head: bytes = b"") -> None:
        """Write what has come of the request and has not been written, in one go."""
        data, self._unsent = b"".join(self._unsent), []
        if self.head.length == CHUNKED:
            data = (chunk(data) if data else b"") + (last_chunk(self._trailers) if self._body_done else b"")
        if head or data:
            connection.transport.write(head + data)
        connection.request_done = self._body_done

    def answer_interim(self, head: AnswerHead) -> None:
        """Pass it on to who can read it; 100 Continue only to who waits for it."""
        if head.status == 100:
            if self.head.expects_continue:
                self._client.write(CONTINUE)
        elif self._client.understands_chunks:
            self._client.write(interim_bytes(head))

    def answer_switched(self, head: AnswerHead, data: bytes) -> None:
        """The model speaks WebSocket from here on, and nobody listens in."""
        connection, self._connection = self._connection, None
        assert connection is not None
        self.ended = self.abandoned = True
        self._client.write(switching_bytes(head, self._id_bytes))
        self._client.tunnel(connection, data)

    def answer_head(self, head: AnswerHead) -> None:
        """Pass the answer's head on, with the framing that this client understands."""
        self._answer_head = head
        self._first_byte = monotonic()
        self.deadline = self._first_byte + self.serving.timeout
        length = head.length
        has_body = self.head.method != b"HEAD" and head.status not in _NO_BODY
        if has_body and (length is None or length == CHUNKED):
            self._rechunk = self._client.understands_chunks
            length = CHUNKED if self._rechunk else None
        elif length == CHUNKED or head.status == 204:
            length = None
        self.client_keeps = self.client_keeps and self._body_done and (not has_body or length is not None)
        self._out.append(answer_bytes(head, self._id_bytes, length, not self.client_keeps))

    def answer_body(self, data: bytes) -> None:
        """Pass a piece on, and keep what is captured of it."""
        self.deadline = self._plane.now + self.serving.timeout
        self._out.append(chunk(data) if self._rechunk else data)
        if self._captured and self._answer_size < self.plan.captured_bytes:
            self._answer.append(data)
        self._answer_size += len(data)

    def answer_trailer(self, name: bytes, value: bytes) -> None:
        """Keep it for the end."""
        if may_trail(name):
            self._answer_trailers = self._answer_trailers or []
            self._answer_trailers.append((name, value))

    def answer_so_far(self) -> None:
        """One read of production's has been taken in: the client gets it now."""
        out, self._out = self._out, []
        if out:
            self._client.write(out[0] if len(out) == 1 else b"".join(out))

    def answer_complete(self) -> None:
        """The client gets the rest of its answer; only then is anything else done."""
        self._connection = None  # it is the pool's again, and a slow reader must not pause it any more
        if self._rechunk:
            self._out.append(last_chunk(self._answer_trailers))
        self.answer_so_far()
        assert self._answer_head is not None
        status = self._answer_head.status
        if self.serving.breaker is not None:
            self._note(failed=status in _NOT_SERVED)
        if self._fallen_back:
            self._end("fallback", status)
        else:
            self._end("ok" if 200 <= status < 300 else "error", status)

    def answer_failed(self, failure: Failure) -> None:
        """Try once more where that is safe, else tell the client."""
        connection, self._connection = self._connection, None
        if self._answer_head is None and connection is not None and self._may_retry(connection):
            self._retried = True
            self._plane.counters.cells[self.plan.retries] += 1
            self._plane.counters.changed()
            self.serving.pool.acquire(self, fresh=True)
            return
        self._note(failed=True)
        if self._answer_head is not None:
            self.answer_so_far()
            self._client.cut()
            self._end("truncated")
        elif not self._fall_back("connect" if failure == "connect" else "reset"):
            self._client.answer_error(502, "upstream_failed", "the model cannot be reached", self)
            self._end("error", 502)

    def upstream_paused(self, paused: bool) -> None:
        """Production takes the body more slowly than it comes."""
        self._client.pause_request(paused)

    def _may_retry(self, connection: UpstreamConnection) -> bool:
        """A kept connection that closed unanswered, and a request that memory still holds whole."""
        return connection.reused and not connection.answered and not self._retried and not self._forgot

    def _note(self, *, failed: bool) -> None:
        """Tell the breaker of the version that was asked what came of it."""
        if self.inference and self.serving.breaker is not None and not self._fallen_back:
            self.serving.note(self._plane.counters, monotonic(), failed=failed)

    def _fall_back(self, reason: FallbackReason) -> bool:
        """Let the fallback answer, if there is one and it can: the client has nothing yet, and memory the request."""
        fallback = self.plan.fallback
        if fallback is None or not self.inference or self._fallen_back:
            return False
        if self._forgot and fallback.answer is None:
            return False
        if not fallback.helps(self.serving) and reason != "paused":
            return False
        self._fallen_back = True
        self.serving.pool.withdraw(self)
        if self._connection is not None:
            self._connection.discard()
            self._connection = None
        cells = self._plane.counters.cells
        cells[fallback.places[reason]] += 1
        if fallback.serving is not None:
            cells[self.serving.places.in_flight] -= 1
            cells[fallback.serving.places.in_flight] += 1
            self.serving = fallback.serving
            self._retried = False
            self.deadline = self._plane.now + self.serving.timeout
            self.serving.pool.acquire(self)
        elif fallback.answer is not None:
            self._client.pause_request(False)
            if self._body_comes_soon():
                self._fixed = fallback.answer
            else:
                self._answer_fixed(fallback.answer)
        self._plane.counters.changed()
        return True

    def _body_comes_soon(self) -> bool:
        """Whether to read the request to its end before it is answered, so that the client can keep its connection."""
        length = self.head.length
        small = length is not None and length != CHUNKED and length <= UNSENT_BYTES
        return small and not self._body_done and not self.head.expects_continue

    def _answer_fixed(self, answer: FixedAnswer) -> None:
        self.answer_head(answer.head)
        if self.head.method != b"HEAD":
            self.answer_body(answer.body)
        self.answer_complete()

    def _keep_less(self) -> None:
        """No clone needs the body any more: keep what a retry and the event do."""
        self._keep_bytes = self.plan.kept_captured if self._captured else REPLAY_BYTES
        if self._body_size > self._keep_bytes and self._connection is not None:
            self._body = [b"".join(self._body)[: self.plan.captured_bytes]] if self._captured else []
            self._forgot = True

    def _settle(self, outcome: Outcome) -> None:
        """The candidate's time has come. Whatever is wrong with clones, the exchange goes on."""
        assert self._candidate is not None
        self._body = [b"".join(self._body)]
        try:
            self._plane.mirror.settle(self._candidate, self, outcome, self._body[0] if self._body_done else None)
        except Exception as error:
            self._plane.loop.call_exception_handler({"message": "a clone could not be made", **told(error)})

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
        plane, places = self._plane, self.serving.places
        latency = monotonic() - self._started
        cells = plane.counters.cells
        cells[places.in_flight] -= 1
        cells[places.ok if outcome == "ok" else places.request(status, outcome)] += 1
        plane.counters.observe(places.latency, latency)
        if self._answer_head is not None:
            plane.counters.observe(places.first_byte, self._first_byte - self._started)
        plane.counters.changed()
        candidate = self._candidate
        if candidate is not None and candidate.waits:
            early = candidate.leaves_early and self._body_done and self._underway and not self._fallen_back
            self._settle("ok" if early else outcome)
        if self._captured and plane.load.sheds_events:
            plane.capture.shed(self.plan.name, "production")
        elif self._captured:
            plane.capture.record(
                captured(
                    self,
                    "production",
                    outcome,
                    status=status,
                    latency=latency,
                    sampled=candidate is not None and candidate.accepted,
                    request=b"".join(self._body),
                    request_whole=self._body_done and not self._forgot,
                    answer_head=self._answer_head,
                    answer=b"".join(self._answer),
                    answer_size=self._answer_size,
                )
            )
