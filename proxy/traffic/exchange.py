"""One request on its way to production, and the answer back.

One state machine: what the client does, what production does, and what time does may come in any order, and each has to
know how far the others are. What it carries one way is the `RequestBody`, the other way the `Reply`; what an inference
is beside that, `inference` does.
"""

from __future__ import annotations

from time import monotonic, time
from typing import Final

from events.ids import new_id
from events.inference import Outcome
from proxy.http.answer import AnswerHead
from proxy.http.headers import CHUNKED
from proxy.http.request import RequestHead
from proxy.http.upstream import Failure, UpstreamConnection
from proxy.http.wire import CONTINUE, interim_bytes, request_bytes, switching_bytes
from proxy.layout import FallbackReason
from proxy.routing.fallback import FixedAnswer
from proxy.routing.gate import Gate
from proxy.routing.plan import UNSENT_BYTES, Plan
from proxy.shadowing.mirror import Candidate
from proxy.shadowing.shadow import CLONE_MARK
from proxy.traffic import inference
from proxy.traffic.body import RequestBody
from proxy.traffic.plane import Plane
from proxy.traffic.reply import Client, Reply

_TO_WEBSOCKET: Final = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]

_NOT_SERVED: Final = frozenset({502, 503, 504})
"""Answers that a breaker takes for failures; they are passed on as they came."""


class Exchange:
    """One request and its answer.

    The client's connection feeds it (`body`, `body_complete`, and after each read `proceed`; `client_gone`, `expire`),
    the upstream answers it (the methods of `upstream.Caller`). What one read of either side brings leaves in one write:
    system calls are most of what a request costs. It ends in `_end`, once, whatever happened.
    """

    __slots__ = (
        "_client",
        "_fixed",
        "_id_bytes",
        "_retried",
        "abandoned",
        "body",
        "candidate",
        "captured",
        "client_keeps",
        "connection",
        "deadline",
        "ended",
        "fallen_back",
        "head",
        "id",
        "inference",
        "plan",
        "plane",
        "reply",
        "request_id",
        "serving",
        "started",
        "time",
        "underway",
    )

    def __init__(self, client: Client, plane: Plane, plan: Plan, head: RequestHead, keeps: bool) -> None:
        self._client = client
        self.plane = plane
        self.plan = plan
        self.head = head
        self.client_keeps = keeps
        self.id = new_id()
        self._id_bytes = self.id.encode()
        self.request_id = head.request_id or self._id_bytes
        self.time = time()
        self.started = monotonic()
        self.serving = serving = plan.route(self.request_id)
        self.deadline = self.started + serving.timeout
        self.ended = False
        self.abandoned = False
        self.body = RequestBody(complete=head.length is None)
        self.reply: Reply | None = None
        """The answer, once its head is there."""
        self.underway = False
        """Whether a connection was asked for."""
        self.connection: UpstreamConnection | None = None
        self._retried = False
        self.fallen_back = False
        self._fixed: FixedAnswer | None = None  # answered once the request is read
        self.captured = False
        self.candidate: Candidate | None = None
        """What may become its clone."""
        self.inference = plan.is_inference(head.method, head.path) and not head.websocket
        if self.inference:
            inference.begin(self)

    @property
    def begun(self) -> bool:
        """Whether the client has the answer's head already."""
        return self.reply is not None

    # From the client.

    def proceed(self) -> None:
        """It is this exchange's turn, and one read has been taken in: send it on, or first ask for a connection."""
        if self.underway:
            connection = self.connection
            if connection is not None and not connection.request_done:  # or its last chunk would be sent once more
                self._send(connection)
        elif self._client.reads_slowly:  # answers must not pile up: it is asked once the client has caught up
            return
        else:
            self.underway = True
            self.deadline = self.plane.now + self.serving.timeout
            if not (self.inference and self.plan.guarded) or self._passes():
                self.serving.pool.acquire(self)
        if self.candidate is not None and inference.leaves_early(self):
            inference.settle(self, "ok")
            inference.keep_less(self)

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
        if not self.body.complete and gate.checks(self.head, self.body.size):
            self.underway = False  # and so this is asked again once more of it is here
            if self.head.expects_continue:
                self.head.expects_continue = False  # the model need not say it once more
                self._client.write(CONTINUE)
            return False
        refusal = gate.refusal(self.head, self.body.joined(), self.plane.counters)
        if refusal is None:
            return True
        self.underway = False  # nor may a clone leave that does not wait for production
        self._client.answer_refused(400, "schema", refusal, self)
        self._end("error", 400)
        return False

    def body_piece(self, data: bytes) -> None:
        """A piece of the request's body."""
        self.deadline = self.plane.now + self.serving.timeout
        body, connected = self.body, self.connection is not None
        body.take(data, connected=connected)
        if self.candidate is not None:
            inference.keep(self, len(data))
        if not connected and body.size > self.plan.unsent_bytes:
            self._client.pause_request(True)

    def trailer(self, name: bytes, value: bytes) -> None:
        """A header behind the request's chunked body."""
        if not self.plan.names_tenants(name):
            self.body.trail(name, value)

    def body_complete(self) -> None:
        """The request is whole."""
        self.body.complete = True
        self.deadline = self.plane.now + self.serving.timeout
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
        if self.reply is not None:
            self._client.cut()
            self._end("timeout")
        elif not self._fall_back("timeout"):
            self._client.answer_error(504, "upstream_timeout", "the model did not answer in time", self)
            self._end("timeout", 504)

    def pause_answer(self, paused: bool) -> None:
        """The client is slow to read (or has caught up)."""
        if self.connection is not None:
            self.connection.pause_answer(paused)

    # From the upstream: `Caller`.

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the head, and what has come of the body."""
        if self.ended:
            connection.discard()
            return
        self.connection = connection
        head, address = self.head, connection.address
        connection.begin(self, head.method, may_switch=head.websocket)
        forwarded = [*head.forwarded, (b"X-Request-Id", self.request_id)]
        if head.clone_mark and self.plan.model.mirror.trust_header:  # so that no proxy further on clones it either
            forwarded.append(CLONE_MARK)
        if head.expects_continue and not self.body.complete:
            forwarded.append((b"Expect", b"100-continue"))
        if head.websocket:
            forwarded += _TO_WEBSOCKET
        target = head.path if head.path == b"*" else address.base_path + head.path + head.query
        self.body.rewind()
        if self.body.size > self.plan.unsent_bytes or self._retried or self.fallen_back:
            self._client.pause_request(False)  # before anything is written: this connection may ask for a pause itself
        self._send(connection, request_bytes(head.method, target, address.authority, forwarded, head.length))
        if self._client.reads_slowly:
            connection.pause_answer(True)

    def _send(self, connection: UpstreamConnection, head: bytes = b"") -> None:
        """Write what has come of the request and has not been written, in one go."""
        data = self.body.to_send(self.head.length)
        if head or data:
            connection.transport.write(head + data)
        connection.request_done = self.body.complete

    def answer_interim(self, head: AnswerHead) -> None:
        """Pass it on to who can read it; 100 Continue only to who waits for it."""
        if head.status == 100:
            if self.head.expects_continue:
                self._client.write(CONTINUE)
        elif self._client.understands_chunks:
            self._client.write(interim_bytes(head))

    def answer_switched(self, head: AnswerHead, data: bytes) -> None:
        """The model speaks WebSocket from here on, and nobody listens in."""
        connection, self.connection = self.connection, None
        assert connection is not None
        self.ended = self.abandoned = True
        self._client.write(switching_bytes(head, self._id_bytes))
        self._client.tunnel(connection, data)

    def answer_head(self, head: AnswerHead) -> None:
        """Pass the answer's head on, with the framing that this client understands."""
        keeps = self.client_keeps and self.body.complete
        reply = Reply(head, self.head.method, self._id_bytes, keeps=keeps, chunks=self._client.understands_chunks)
        self.reply = reply
        self.client_keeps = reply.keeps
        self.deadline = reply.began + self.serving.timeout

    def answer_body(self, data: bytes) -> None:
        """Pass a piece on, and keep what is captured of it."""
        assert self.reply is not None
        self.deadline = self.plane.now + self.serving.timeout
        self.reply.take(data, self.plan.captured_bytes if self.captured else 0)

    def answer_trailer(self, name: bytes, value: bytes) -> None:
        """Keep it for the end."""
        assert self.reply is not None
        self.reply.trail(name, value)

    def answer_so_far(self) -> None:
        """One read of production's has been taken in: the client gets it now."""
        if self.reply is not None and (data := self.reply.to_write()):
            self._client.write(data)

    def answer_complete(self) -> None:
        """The client gets the rest of its answer; only then is anything else done."""
        self.connection = None  # it is the pool's again, and a slow reader must not pause it any more
        assert self.reply is not None
        self.reply.end()
        self.answer_so_far()
        status = self.reply.head.status
        if self.serving.breaker is not None:
            self._note(failed=status in _NOT_SERVED)
        if self.fallen_back:
            self._end("fallback", status)
        else:
            self._end("ok" if 200 <= status < 300 else "error", status)

    def answer_failed(self, failure: Failure) -> None:
        """Try once more where that is safe, else tell the client."""
        connection, self.connection = self.connection, None
        if self.reply is None and connection is not None and self._may_retry(connection):
            self._retried = True
            self.plane.counters.cells[self.plan.retries] += 1
            self.plane.counters.changed()
            self.serving.pool.acquire(self, fresh=True)
            return
        self._note(failed=True)
        if self.reply is not None:
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
        return connection.reused and not connection.answered and not self._retried and not self.body.forgot

    def _note(self, *, failed: bool) -> None:
        """Tell the breaker of the version that was asked what came of it."""
        if self.inference and self.serving.breaker is not None and not self.fallen_back:
            self.serving.note(self.plane.counters, monotonic(), failed=failed)

    def _fall_back(self, reason: FallbackReason) -> bool:
        """Let the fallback answer, if there is one and it can: the client has nothing yet, and memory the request."""
        fallback = self.plan.fallback
        if fallback is None or not self.inference or self.fallen_back:
            return False
        if self.body.forgot and fallback.answer is None:
            return False
        if not fallback.helps(self.serving) and reason != "paused":
            return False
        self.fallen_back = True
        self.serving.pool.withdraw(self)
        if self.connection is not None:
            self.connection.discard()
            self.connection = None
        cells = self.plane.counters.cells
        cells[fallback.places[reason]] += 1
        if fallback.serving is not None:
            cells[self.serving.places.in_flight] -= 1
            cells[fallback.serving.places.in_flight] += 1
            self.serving = fallback.serving
            self._retried = False
            self.deadline = self.plane.now + self.serving.timeout
            self.serving.pool.acquire(self)
        elif fallback.answer is not None:
            self._client.pause_request(False)
            if self._body_comes_soon():
                self._fixed = fallback.answer
            else:
                self._answer_fixed(fallback.answer)
        self.plane.counters.changed()
        return True

    def _body_comes_soon(self) -> bool:
        """Whether to read the request to its end before it is answered, so that the client can keep its connection."""
        length = self.head.length
        small = length is not None and length != CHUNKED and length <= UNSENT_BYTES
        return small and not self.body.complete and not self.head.expects_continue

    def _answer_fixed(self, answer: FixedAnswer) -> None:
        self.answer_head(answer.head)
        if self.head.method != b"HEAD":
            self.answer_body(answer.body)
        self.answer_complete()

    # The end.

    def _end(self, outcome: Outcome, status: int | None = None) -> None:
        if self.ended:
            return
        self.ended = self.abandoned = True
        if self.connection is not None:
            self.connection.discard()
            self.connection = None
        if status is None and self.reply is not None:
            status = self.reply.head.status
        try:
            if self.inference:
                inference.account(self, outcome, status)
        finally:  # whatever is wrong with clones and events, the client goes on
            self._client.exchange_ended(self)
