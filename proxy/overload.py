"""What a worker leaves out when it cannot keep up: first the clones, then the events, last a share of the requests.

The measure is how late the event loop comes to a timer, which is how long anything waits for its turn. One late turn
means nothing (a collection of garbage, another process on the core), so the median of the last second decides.
"""

from __future__ import annotations

from collections import deque
from typing import Final

CLONES_SECONDS: Final = 0.03
"""From this lag on no request is cloned."""

EVENTS_SECONDS: Final = 0.075
"""From this lag on nothing is captured."""

REQUESTS_SECONDS: Final = 0.2
"""From this lag on requests are refused."""

RELIEF_SECONDS: Final = 0.03
"""Once requests are refused, more of them at each measurement until the lag is below this, and then fewer. A refusal
waits for its turn as long as any request: were it enough to come back below `REQUESTS_SECONDS`, the lag would stay
there, and so would every answer. It would gain nobody anything: a worker that is late at all is never idle."""

MEASUREMENTS: Final = 10

VAIN: Final = 600
"""Measurements, a minute: where none of so many has come to `REQUESTS_SECONDS`, fewer requests are refused however many
turns are late. It is something else that makes them late, which no refusal cures; were it the requests after all, the
lag would rise, and more would be refused again."""

_MORE: Final = 0.1
_SLOWLY_MORE: Final = 0.04
"""Below `REQUESTS_SECONDS`: so the share falls as long as more than two turns of three are in time. The others may be
late for another process on the core, which no refusal cures."""
_LESS: Final = 0.02
_MOST: Final = 0.9
"""Some are always served, and show whether it goes on."""


class Load:
    """How a worker stands. It is told the lag at each of its sweeps, and says what is left out until the next."""

    def __init__(self) -> None:
        self.sheds_clones = False
        self.sheds_events = False
        self._lags: deque[float] = deque([0.0] * MEASUREMENTS, MEASUREMENTS)
        self.share = 0.0
        """Of the requests, which are refused."""
        self._owed = 0.0
        self._since_very_late = 0
        """Measurements since the lag was at `REQUESTS_SECONDS`."""

    def measured(self, lag: float) -> None:
        """The loop came so many seconds late to its timer."""
        self._lags.append(lag)
        standing = sorted(self._lags)[MEASUREMENTS // 2]
        self._since_very_late = 0 if lag >= REQUESTS_SECONDS else self._since_very_late + 1
        if not self.share:
            self.share = _MORE if standing >= REQUESTS_SECONDS else 0.0
        elif lag >= RELIEF_SECONDS and self._since_very_late < VAIN:
            self.share = min(_MOST, self.share + (_MORE if lag >= REQUESTS_SECONDS else _SLOWLY_MORE))
        else:
            self.share = max(0.0, self.share - _LESS)
        self.sheds_clones = standing >= CLONES_SECONDS or self.share > 0  # as long as requests are refused, no other
        self.sheds_events = standing >= EVENTS_SECONDS or self.share > 0  # work comes before them

    def refuses(self) -> bool:
        """Whether the next request is one of those that are refused; they are spread evenly."""
        if not self.share:
            return False
        self._owed += self.share
        if self._owed < 1.0:
            return False
        self._owed -= 1.0
        return True
