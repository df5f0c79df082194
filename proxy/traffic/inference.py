"""What an inference is beside an answer to its client: counted, perhaps cloned, perhaps captured.

The exchange tells when; nothing here can hold it up or fail it.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from events.inference import Outcome
from logs.lines import told
from proxy.record import captured
from proxy.routing.plan import REPLAY_BYTES

if TYPE_CHECKING:
    from proxy.traffic.exchange import Exchange


def begin(exchange: Exchange) -> None:
    """It is under way. Its id decides whether it is cloned and captured, and so how much of its body is kept."""
    plan, plane = exchange.plan, exchange.plane
    plane.counters.cells[exchange.serving.places.in_flight] += 1
    plane.counters.changed()
    position = plane.sampler.position(exchange.request_id)
    chosen = plan.chosen(exchange.head, position)
    if chosen or position < plan.capture_threshold:
        exchange.captured = True
        exchange.body.keeps = plan.kept_captured
    if chosen:
        exchange.candidate = plane.mirror.choose(plan, exchange.serving.version, exchange.head.length)
        if exchange.candidate.waits:
            exchange.body.keeps = plan.kept_waiting


def keep(exchange: Exchange, count: int) -> None:
    """So many more bytes of the body have come: a clone that waits for it takes them, or is dropped."""
    candidate = exchange.candidate
    if candidate is not None and candidate.waits and not exchange.plane.mirror.keep(candidate, count):
        keep_less(exchange)


def keep_less(exchange: Exchange) -> None:
    """No clone needs the body any more: keep what a retry and the event do."""
    plan, body = exchange.plan, exchange.body
    keeps = plan.kept_captured if exchange.captured else REPLAY_BYTES
    if exchange.connection is None:
        body.keeps = keeps
    else:
        body.keep_less(keeps, plan.captured_bytes if exchange.captured else 0)


def leaves_early(exchange: Exchange) -> bool:
    """Whether a clone that does not wait for production's answer may leave now."""
    candidate = exchange.candidate
    whole = candidate is not None and candidate.waits and candidate.leaves_early and exchange.body.complete
    return whole and not exchange.fallen_back


def settle(exchange: Exchange, outcome: Outcome) -> None:
    """The candidate's time has come. Whatever is wrong with clones, the exchange goes on."""
    assert exchange.candidate is not None
    request = exchange.body.joined()
    try:
        whole = request if exchange.body.complete else None
        exchange.plane.mirror.settle(exchange.candidate, exchange, outcome, whole)
    except Exception as error:
        exchange.plane.loop.call_exception_handler({"message": "a clone could not be made", **told(error)})


def account(exchange: Exchange, outcome: Outcome, status: int | None) -> None:
    """It has ended: count it, let its clone leave, and hand over what was captured."""
    plane, places, reply, body = exchange.plane, exchange.serving.places, exchange.reply, exchange.body
    latency = monotonic() - exchange.started
    counters = plane.counters
    counters.cells[places.in_flight] -= 1
    counters.cells[places.ok if outcome == "ok" else places.request(status, outcome)] += 1
    counters.observe(places.latency, latency)
    if reply is not None:
        counters.observe(places.first_byte, reply.began - exchange.started)
    counters.changed()
    candidate = exchange.candidate
    if candidate is not None and candidate.waits:
        early = exchange.underway and leaves_early(exchange)
        settle(exchange, "ok" if early else outcome)
    if not exchange.captured:
        return
    if plane.load.sheds_events:
        plane.capture.shed(exchange.plan.name, "production")
        return
    plane.capture.record(
        captured(
            exchange,
            "production",
            outcome,
            status=status,
            latency=latency,
            sampled=candidate is not None and candidate.accepted,
            request=body.joined(),
            request_whole=body.complete and not body.forgot,
            answer_head=None if reply is None else reply.head,
            answer=b"" if reply is None else b"".join(reply.captured),
            answer_size=0 if reply is None else reply.size,
        )
    )
