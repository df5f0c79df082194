"""Clones: which of the chosen requests leave for the shadow, when, and why not. Production never waits here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from configuration.model import MAX_HELD_BYTES
from events.inference import Outcome
from proxy.capture import Capture
from proxy.counters import Counters
from proxy.overload import Load
from proxy.record import Original, captured
from proxy.routing.plan import Plan
from proxy.shadowing.clone import Clone
from proxy.shadowing.held import Held
from proxy.shadowing.shadow import Shadow


class Candidate:
    """A chosen request. It `waits` until its clone leaves or is dropped; meanwhile the exchange keeps its body."""

    __slots__ = ("accepted", "held", "shadow", "waits")

    def __init__(self, shadow: Shadow) -> None:
        self.shadow = shadow
        self.waits = True
        self.accepted = False
        """Whether a clone was sent, whatever became of it."""
        self.held = 0
        """How many bytes of its body are kept."""

    @property
    def leaves_early(self) -> bool:
        """Whether the clone leaves as soon as the body is whole, whatever production says."""
        return self.shadow.settings.after == "request"


class Mirror:
    """Decides for all models of a worker."""

    def __init__(
        self,
        plans: Iterable[Plan],
        credentials: Mapping[str, tuple[bytes, bytes]],
        state_dir: Path,
        counters: Counters,
        capture: Capture,
        load: Load,
    ) -> None:
        self._counters = counters
        self._capture = capture
        self._load = load
        self._held = Held(counters, MAX_HELD_BYTES)
        self._shadows = {
            plan.name: Shadow(plan, credentials.get(plan.name), state_dir / "budget", counters, capture, self._held)
            for plan in plans
            if plan.shadow is not None
        }
        self._under_way = 0
        self._stopped = False
        self.idle = asyncio.Event()
        """Set while no clone is under way."""
        self.idle.set()

    def choose(self, plan: Plan, serving: str, length: int | None) -> Candidate:
        """A request was chosen, which a version serves, and whose body is so long, as far as that is known.

        It may be dropped at once.
        """
        cells, places = self._counters.cells, plan.mirror_places
        cells[places.sampled] += 1
        cells[places.waiting] += 1
        self._counters.changed()
        candidate = Candidate(self._shadows[plan.name])
        if plan.shadow_version == serving:
            self._drop(candidate, "same_version")
        elif self._load.sheds_clones:
            self._drop(candidate, "overload")
        elif length is not None and length > candidate.shadow.settings.max_body_bytes:
            self._drop(candidate, "body_too_large")
        return candidate

    def keep(self, candidate: Candidate, count: int) -> bool:
        """Whether so many more bytes of the body are to be kept; otherwise the candidate is dropped."""
        if candidate.held + count > candidate.shadow.settings.max_body_bytes:
            self._drop(candidate, "body_too_large")
        elif not self._held.take(count):
            self._drop(candidate, "memory")
        else:
            candidate.held += count
        return candidate.waits

    def settle(self, candidate: Candidate, original: Original, outcome: Outcome, request: bytes | None) -> None:
        """Production is done with a request that still waits: send its clone, or count why not.

        `request` is the body, None where it did not come to its end.
        """
        if outcome != "ok":
            self._drop(candidate, "client_closed" if outcome == "client_closed" else "not_success")
        elif request is None:
            self._drop(candidate, "incomplete")
        else:
            self.leave(candidate, original, request)

    def leave(self, candidate: Candidate, original: Original, request: bytes) -> None:
        """The time has come for a candidate with this body: send its clone, or count why not."""
        shadow = candidate.shadow
        if self._stopped:
            self._drop(candidate, "shutdown")
        elif shadow.settings.mode == "log_only":
            self._log_only(candidate, original, request)
        elif (reason := shadow.admits(original.head, request)) is not None:
            self._drop(candidate, reason)
        else:
            self._send(candidate, original, request)

    def _send(self, candidate: Candidate, original: Original, request: bytes) -> None:
        shadow, cells = candidate.shadow, self._counters.cells
        clone = Clone(shadow, original, request, candidate.held, self._forget)
        candidate.accepted = True
        candidate.held = 0  # the clone gives it back
        self._ends_waiting(candidate)
        cells[shadow.mirror_places.sent] += 1
        cells[shadow.mirror_places.in_flight] += 1
        cells[shadow.places.in_flight] += 1
        shadow.clones[clone] = None
        self._under_way += 1
        self.idle.clear()
        clone.start()

    def _log_only(self, candidate: Candidate, original: Original, request: bytes) -> None:
        self._ends_waiting(candidate)
        self._counters.cells[candidate.shadow.mirror_places.log_only] += 1
        self._capture.record(
            captured(
                original,
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

    def _drop(self, candidate: Candidate, reason: str) -> None:
        self._ends_waiting(candidate)
        self._counters.cells[candidate.shadow.mirror_places.dropped[reason]] += 1

    def _ends_waiting(self, candidate: Candidate) -> None:
        candidate.waits = False
        self._held.give_back(candidate.held)
        candidate.held = 0
        self._counters.cells[candidate.shadow.mirror_places.waiting] -= 1
        self._counters.changed()

    def expire(self, now: float) -> None:
        """End the clones whose deadline has passed."""
        for shadow in self._shadows.values():
            while shadow.clones and (oldest := next(iter(shadow.clones))).deadline <= now:
                oldest.fail("timeout")

    def give_up(self) -> None:
        """End every clone, and let none leave any more: the worker stops."""
        self._stopped = True
        for shadow in self._shadows.values():
            for clone in list(shadow.clones):
                clone.fail("shutdown")
            shadow.close()

    def _forget(self, clone: Clone) -> None:
        del self._shadows[clone.plan.name].clones[clone]
        self._under_way -= 1
        if not self._under_way:
            self.idle.set()
