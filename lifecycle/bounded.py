"""Work that is not ours, with an end of ours: neither a deadline nor a cancellation can get lost in it.

Who awaits a task hands its own cancellation on to it. A library that cancels a task of its own and awaits it (aiokafka
does, wherever something is closed) thereby swallows a cancellation of its caller that comes in that moment: the task
takes the two for one. The caller then goes on as if nobody had asked it to end, and a deadline that has fired so never
fires again. So such work is done in a task of its own, which is waited for and never awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def bounded(work: Coroutine[Any, Any, T], within: float) -> T:
    """What `work` returns or raises; TimeoutError after so many seconds, or where it was cancelled by itself.

    When this returns or is cancelled, unfinished work has been asked to end, and nobody waits for that.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=within)
    finally:
        if not task.done():
            task.add_done_callback(_look_away)
            task.cancel()
    if not task.done() or task.cancelled():
        raise TimeoutError
    return task.result()


def _look_away(task: asyncio.Task[Any]) -> None:
    """Nobody waits for it any more; asyncio would complain about its error."""
    if not task.cancelled():
        task.exception()
