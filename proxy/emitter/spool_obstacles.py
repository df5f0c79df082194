"""What stands against the spool: one line in the log when it comes and one when it goes, and a gauge."""

from __future__ import annotations

import logging
from typing import Literal

from proxy.counters import Counters
from proxy.layout import SPOOL_OBSTACLES

SpoolObstacle = Literal["held", "disk", "bound"]
"""Another process has the spool; the disk does not take it; it holds `proxy.spool.max_bytes`."""

_log = logging.getLogger("shadowdrift.emitter")


class SpoolObstacles:
    """Those that stand now."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.standing: set[SpoolObstacle] = set()

    def stand(self, obstacle: SpoolObstacle, message: str, why: str) -> None:
        """Something stands against the spool, perhaps still."""
        if obstacle not in self.standing:
            self.standing.add(obstacle)
            _log.error(message, extra={"fields": {"why": why}})
            self._show()

    def clear(self, obstacle: SpoolObstacle) -> None:
        """This stands against it no more, if it did."""
        if obstacle in self.standing:
            self.standing.discard(obstacle)
            _log.info("the spool takes events again", extra={"fields": {"after": obstacle}})
            self._show()

    def _show(self) -> None:
        for obstacle in SPOOL_OBSTACLES:
            place = self._counters.layout.place("shadowdrift_spool_obstacle", obstacle)
            self._counters.cells[place] = int(obstacle in self.standing)
        self._counters.changed()
