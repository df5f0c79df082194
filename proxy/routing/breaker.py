"""A circuit breaker: when too many of the last calls have failed, none is made for a while.

Decisions alone: whoever makes the calls asks before each and says afterwards what came of it.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from configuration import Breaker as Settings

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens at `failures` among the last `calls`; after `open_for` lets one call through, whose outcome decides.

    Times are seconds of one monotonic clock, which the caller passes in.
    """

    def __init__(self, settings: Settings) -> None:
        self._failures = settings.failures
        self._open_for = float(settings.open_for)
        self._last: deque[bool] = deque(maxlen=settings.calls)
        self._failed = 0
        self._opened_at: float | None = None
        self._trial_at: float | None = None

    @property
    def state(self) -> State:
        """`half_open` while the one call that decides is under way."""
        if self._opened_at is None:
            return "closed"
        return "open" if self._trial_at is None else "half_open"

    def allows(self, now: float) -> bool:
        """Whether a call may be made; when it is the one that decides, no other is until its outcome is known.

        A deciding call that never reports (its worker's request was given up) is replaced after another `open_for`.
        """
        if self._opened_at is None:
            return True
        if now - (self._trial_at or self._opened_at) < self._open_for:
            return False
        self._trial_at = now
        return True

    def succeeded(self) -> None:
        """A call succeeded. One that began before the breaker opened decides nothing."""
        if self._opened_at is None:
            self._note(failed=False)
        elif self._trial_at is not None:
            self._opened_at = self._trial_at = None
            self._last.clear()
            self._failed = 0

    def failed(self, now: float) -> None:
        """A call failed."""
        if self._opened_at is None:
            self._note(failed=True)
            if self._failed >= self._failures:
                self._opened_at = now
        elif self._trial_at is not None:
            self._opened_at, self._trial_at = now, None

    def _note(self, *, failed: bool) -> None:
        if len(self._last) == self._last.maxlen:
            self._failed -= self._last[0]
        self._last.append(failed)
        self._failed += failed
