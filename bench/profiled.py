"""The proxy's worker under a profiler, for as long as it gets SIGUSR1: what came before is not looked at.

The environment says how: `BENCH_PROFILE=HOW:FILE`. `calls` counts every call (cProfile; this makes Python's calls
dearer than they are, and C's not). `samples` looks once a tick of CPU (1 to 4 ms) at where the worker is, and distorts
nothing; Python takes a signal between two of its own instructions, so time in C counts for the line that called it.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec

from lifecycle.process import run
from lifecycle.tether import Tether
from proxy.traffic.worker import work

VARIABLE: Final = "BENCH_PROFILE"
SAMPLE_SECONDS: Final = 0.001
DEPTH: Final = 40
"""Frames of a sample that are looked at."""


class Samples:
    """How often a stack was seen."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, ...]] = Counter()

    def start(self) -> None:
        """Look from now on."""
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)

    def _look(self, _: int, frame: FrameType | None) -> None:
        stack: list[str] = []
        while frame is not None and len(stack) < DEPTH:
            stack.append(f"{frame.f_code.co_filename}:{frame.f_lineno or 0}:{frame.f_code.co_qualname}")
            frame = frame.f_back
        self._seen[tuple(stack)] += 1

    def save(self, file: Path) -> None:
        """Write every stack, the innermost frame first, and its count."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        file.write_bytes(msgspec.json.encode(list(self._seen.items())))


class Calls:
    """Every call, by cProfile."""

    def __init__(self) -> None:
        self._profile = cProfile.Profile()

    def start(self) -> None:
        """Count from now on."""
        self._profile.enable()

    def save(self, file: Path) -> None:
        """Write what `pstats` reads."""
        self._profile.disable()
        self._profile.dump_stats(file)


async def profiled(tether: Tether, stop: asyncio.Event) -> None:
    """A worker; what was seen is written at its end."""
    how, _, file = os.environ[VARIABLE].partition(":")
    kinds: dict[str, Callable[[], Samples | Calls]] = {"samples": Samples, "calls": Calls}
    kind = kinds.get(how)
    if kind is None:
        await work(tether, stop)
        return
    seen = kind()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, seen.start)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, _save_whole, seen, Path(file))
    await work(tether, stop)


def _save_whole(seen: Samples | Calls, file: Path) -> None:
    """The file is there when it is whole."""
    unfinished = file.with_suffix(".unfinished")
    seen.save(unfinished)
    unfinished.rename(file)


if __name__ == "__main__":
    sys.exit(run(profiled))
