"""An exchange that has ended, as the emitter gets it: the same for production's leg and for the shadow's."""

from __future__ import annotations

from typing import Protocol

from events.inference import Outcome, Role
from proxy.frames import Captured
from proxy.http.answer import AnswerHead
from proxy.http.request import RequestHead
from proxy.routing.plan import Plan
from proxy.routing.serving import Serving


class Original(Protocol):
    """The client's request, of which production's exchange and the clone are legs.

    `serving`: the version that answers the client; `time`: when the request's head arrived.
    """

    plan: Plan
    serving: Serving
    head: RequestHead
    id: str
    request_id: bytes
    time: float


def captured(
    original: Original,
    role: Role,
    outcome: Outcome,
    *,
    status: int | None,
    latency: float | None,
    sampled: bool,
    request: bytes,
    request_whole: bool,
    answer_head: AnswerHead | None,
    answer: bytes | None,
    answer_size: int,
) -> Captured:
    """One leg's record, with no more of each body than `capture.max_bytes`.

    `request` and `answer` may be beginnings: `request_whole` and `answer_size` (bytes in all) tell.
    """
    plan, head = original.plan, original.head
    limit = plan.captured_bytes
    version = original.serving.version if role == "production" else plan.shadow_version
    assert version is not None
    return Captured(
        id=original.id,
        request_id=original.request_id.decode(),
        role=role,
        model=plan.name,
        version=version,
        tenant=plan.tenant(head) if plan.has_tenants else None,
        time=original.time,
        latency_seconds=latency,
        status=status,
        outcome=outcome,
        fraction=plan.fraction,
        sampled=sampled,
        request_truncated=not request_whole or len(request) > limit,
        answer_truncated=answer_size > limit,
        encoded=head.encoded or (answer_head is not None and answer_head.encoded),
        path=head.path.decode("latin-1"),
        request=request[:limit],
        answer=None if answer is None else answer[:limit],
        headers=plan.recorded(head) if plan.records_headers else None,
    )
