"""Who runs where: the worker that is measured has a core of its own, everything else shares the others.

That is how a worker is deployed, and what makes one comparable with another on a machine where load, backend, emitter
and broker would otherwise take turns on its core.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


class Placement:
    """The cores of this machine, one of them set apart. With a single core everybody shares it."""

    def __init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.apart = len(cores) > 1
        self._all = set(cores)
        self._own = {cores[0]}
        self._others = set(cores[1:]) or self._own

    def leave_it(self) -> None:
        """Keep off the core that is set apart; so does every process that is started from now on."""
        os.sched_setaffinity(0, self._others)

    def come_back(self) -> None:
        """Run anywhere again."""
        os.sched_setaffinity(0, self._all)

    def give_it(self, pids: Iterable[int]) -> None:
        """Let these processes, all their threads, run there and nowhere else."""
        for pid in pids:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):  # a thread that has just ended
                    os.sched_setaffinity(int(thread.name), self._own)
