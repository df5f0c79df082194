"""The outermost frame of every process: its event loop, its signals, its last words."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from lifecycle.refusal import REFUSED, AlreadyTold, Refusal
from lifecycle.tether import Tether

Main = Callable[[Tether, asyncio.Event], Awaitable[None]]
"""A part: given its tether and the event that asks it to stop, it serves until then and cleans up."""


def run(main: Main, gone_within: float | None = None) -> int:
    """Run a part until SIGTERM, SIGINT or its parent's end; the process's exit code.

    A `Refusal` is one line on standard error and exit code 2: the user mends it and starts again. `gone_within`: so
    many seconds after it was asked to end, or has ended its work, the process is gone (`end_within`).
    """
    try:
        uvloop.run(_framed(main, gone_within))
    except AlreadyTold:
        return REFUSED
    except Refusal as refusal:
        sys.stderr.write(f"shadowdrift: {refusal}\n")
        return REFUSED
    return 0


async def _framed(main: Main, gone_within: float | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tether = Tether.take()
    if tether.held:  # a parent decides what a hangup means, and tells its children
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    tether.watch(stop)
    if gone_within is None:
        await main(tether, stop)
        return
    asked = asyncio.create_task(_gone_after(stop, gone_within), name="be gone")
    try:
        await main(tether, stop)
    finally:
        asked.cancel()
        end_within(gone_within)  # the event loop's own end is still to come, and waits for every task


async def _gone_after(stop: asyncio.Event, seconds: float) -> None:
    await stop.wait()
    end_within(seconds)


def end_within(seconds: float) -> None:
    """Let this process be gone after so many seconds, whatever holds it up: a disk, a library, a fault of ours.

    A thread of C watches, which needs neither the event loop nor the interpreter. Where it comes to that, standard
    error tells where each thread stood, and the exit code is 1: whoever keeps the process accounts for what it held.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
