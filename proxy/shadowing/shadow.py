"""One model's shadow as a worker sees it: how it is asked, what is under way, and what stands against asking again."""

from __future__ import annotations

from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from proxy.capture import Capture
from proxy.counters import Counters
from proxy.http.headers import Headers
from proxy.http.request import RequestHead
from proxy.routing.breaker import Breaker
from proxy.routing.plan import Plan
from proxy.shadowing.budget import Budget
from proxy.shadowing.deduplicate import Recent, fingerprint
from proxy.shadowing.held import Held

if TYPE_CHECKING:
    from proxy.shadowing.clone import Clone

_PASSED_ON: Final = frozenset(
    {b"content-type", b"content-encoding", b"content-language", b"accept", b"traceparent", b"tracestate"}
)
CLONE_MARK: Final = (b"X-Shadowdrift-Clone", b"1")


class Shadow:
    """What all clones of one model share."""

    def __init__(
        self,
        plan: Plan,
        credential: tuple[bytes, bytes] | None,
        budgets: Path,
        counters: Counters,
        capture: Capture,
        held: Held,
    ) -> None:
        assert plan.shadow is not None
        assert plan.shadow_places is not None
        assert plan.shadow_version is not None
        self.plan = plan
        self.pool = plan.shadow
        self.places = plan.shadow_places
        self.mirror_places = plan.mirror_places
        self.counters = counters
        self.capture = capture
        self.held = held
        self.settings = settings = plan.model.mirror
        self.timeout = float(settings.timeout)
        self.kept_answer = int(plan.model.capture.max_bytes)
        self.clones: dict[Clone, None] = {}
        """Under way, the oldest first; all have the same time, so the first is the first to run out of it."""
        self._breaker = Breaker(settings.breaker)
        self._breaker_open = counters.layout.place("proxy_breaker_open", plan.name, plan.shadow_version, "shadow")
        limit = settings.budget.requests_per_day
        self._budget = None if limit is None else Budget(budgets, plan.name, limit)
        self._recent = None if settings.deduplicate is None else Recent(float(settings.deduplicate))
        own = [] if credential is None else [credential]
        self._written: Headers = [*own, (b"X-Shadow", b"true"), CLONE_MARK]
        passed_on = _PASSED_ON | {name.lower().encode() for name in settings.headers}
        self._passed_on = passed_on - {name.lower() for name, _ in own}
        self._tenant_header = plan.model.tenant.header.lower().encode() if plan.model.tenant else None

    def admits(self, head: RequestHead, request: bytes) -> str | None:
        """Take one more clone of this request upon the shadow's account; or why not, and then nothing is taken."""
        settings = self.settings
        if len(self.clones) >= settings.max_in_flight:
            return "max_in_flight"
        now = monotonic()
        recent, budget, key = self._recent, self._budget, 0
        if recent is not None:
            recent.forget(now)
            key = fingerprint(head.path, head.query, request)
            if key in recent:
                return "duplicate"
        if budget is not None and not budget.allows(time()):
            return "budget"
        if not self._breaker.allows(now):  # last: where the breaker lets one through to decide, that one must leave
            return "breaker_open"
        if recent is not None:
            recent.note(key, now)
        if budget is not None:
            budget.spend()
        return None

    def head_of(self, head: RequestHead) -> RequestHead:
        """Of the client's head what a clone and its event need; the rest would stay as long as the shadow takes."""
        passed = [pair for pair in head.forwarded if pair[0].lower() in self._passed_on]
        tenant = [pair for pair in head.headers if pair[0].lower() == self._tenant_header]
        return replace(head, forwarded=passed, headers=tenant)

    def headers(self, head: RequestHead, request_id: bytes) -> Headers:
        """A clone's headers: what it takes to read the body, to trace it, and what the configuration adds."""
        return [*head.forwarded, (b"X-Request-Id", request_id), *self._written]

    def answered(self) -> None:
        """The shadow has answered a clone whole, with whatever status: its errors are evidence, not a fault."""
        self._breaker.succeeded()
        self._show_breaker()

    def failed(self) -> None:
        """It has not."""
        self._breaker.failed(monotonic())
        self._show_breaker()

    def close(self) -> None:
        """No clone leaves any more."""
        if self._budget is not None:
            self._budget.close()

    def _show_breaker(self) -> None:
        self.counters.cells[self._breaker_open] = self._breaker.state != "closed"
