"""What clones may cost a day."""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from proxy.shadowing.ledger import Ledger

_SHARE: Final = 32
"""A loan is one part in so many of what is left, and at least one clone: so a worker that has little to do holds little
back from the others, and a budget of a million takes a few hundred loans a day."""

_LOOK_AGAIN_SECONDS: Final = 1.0
"""How long nothing is asked of a ledger that had nothing left, or could not be used."""

_DAY_SECONDS: Final = 86_400

_log = logging.getLogger("shadowdrift.mirror")


class Budget:
    """So many clones a day (UTC) of one model, over all workers, and over all proxies that share the directory.

    A worker borrows a few at a time from the day's ledger and spends them without looking at it again. Times are
    seconds since 1970.
    """

    def __init__(self, directory: Path, model: str, limit: int) -> None:
        self._directory = directory
        self._model = model
        self._limit = limit
        self._day = -1
        self._ledger: Ledger | None = None
        self._borrowed = 0
        self._looked = 0.0
        self._in_trouble = False

    def allows(self, now: float) -> bool:
        """Whether one more clone may leave. Without a usable ledger none may: a budget is kept rather than guessed."""
        day = int(now // _DAY_SECONDS)
        if day != self._day:
            self._turn_to(day)
        elif not self._borrowed and 0 <= now - self._looked < _LOOK_AGAIN_SECONDS:
            return False
        if not self._borrowed:
            self._looked = now
            self._borrow()
        return self._borrowed > 0

    def spend(self) -> None:
        """One clone leaves, as `allows` has just said that it may."""
        self._borrowed -= 1
        self._looked = 0.0

    def close(self) -> None:
        """Give back what was borrowed and not spent."""
        with contextlib.suppress(OSError):
            if self._ledger is not None and self._borrowed:
                self._ledger.give_back(self._borrowed)
        self._borrowed = 0
        self._close_ledger()

    def _turn_to(self, day: int) -> None:
        """What was borrowed of yesterday's budget is worth nothing today."""
        self._day = day
        self._borrowed = 0
        self._close_ledger()

    def _borrow(self) -> None:
        try:
            if self._ledger is None:
                self._ledger = Ledger(self._path(self._day))
                self._remove_old()
            left = self._ledger.left(self._limit)
            if left > 0:
                self._borrowed = self._ledger.take(max(1, left // _SHARE), self._limit)
        except OSError as error:
            if not self._in_trouble:
                self._in_trouble = True
                fields = {"path": str(self._path(self._day)), "error": error.strerror or str(error)}
                _log.warning("cannot keep the clones' budget, so none is sent", extra={"fields": fields})
        else:
            if self._in_trouble:
                self._in_trouble = False
                _log.info("keeps the clones' budget again", extra={"fields": {"path": str(self._path(self._day))}})

    def _path(self, day: int) -> Path:
        date = datetime.fromtimestamp(day * _DAY_SECONDS, UTC).date()
        return self._directory / f"{self._model}.{date.isoformat()}"

    def _remove_old(self) -> None:
        """Yesterday's stays, for a process whose clock is behind."""
        kept = {self._path(self._day - 1), self._path(self._day), self._path(self._day + 1)}
        for path in self._directory.glob(f"{self._model}.????-??-??"):
            if path not in kept:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _close_ledger(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
