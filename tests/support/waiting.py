"""Waiting for a condition, with a deadline; the only way a test waits.

A condition is a function without arguments, plain or async. It is asked again and again until it returns something
true, and that is handed back. What it raises is a failure at once, unless `tolerating` names it.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

# Short enough that a test loses nothing by it, long enough that asking costs nothing.
INTERVAL = 0.02


@overload
async def until(
    condition: Callable[[], Awaitable[T]],
    within: float = ...,
    what: str = ...,
    tolerating: tuple[type[Exception], ...] = ...,
) -> T: ...


@overload
async def until(
    condition: Callable[[], T],
    within: float = ...,
    what: str = ...,
    tolerating: tuple[type[Exception], ...] = ...,
) -> T: ...


async def until(
    condition: Callable[[], Awaitable[T] | T],
    within: float = 10.0,
    what: str = "",
    tolerating: tuple[type[Exception], ...] = (),
) -> T:
    """Ask `condition` until it holds; AssertionError after `within` seconds, also where an async condition hangs."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + within
    last: T | Exception | None = None
    while True:
        try:
            async with asyncio.timeout_at(ends) as limit:
                answer = condition()
                seen: T = await answer if inspect.isawaitable(answer) else answer
        except tolerating as error:
            last = error
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise AssertionError(_failure(condition, within, what, last)) from error
        else:
            if seen:
                return seen
            last = seen
        if loop.time() >= ends:
            raise AssertionError(_failure(condition, within, what, last))
        await asyncio.sleep(INTERVAL)


def until_sync(
    condition: Callable[[], T],
    within: float = 10.0,
    what: str = "",
    tolerating: tuple[type[Exception], ...] = (),
) -> T:
    """`until` for tests without an event loop, and for fixtures."""
    ends = time.monotonic() + within
    last: T | Exception
    while True:
        try:
            answer = condition()
        except tolerating as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        if time.monotonic() >= ends:
            raise AssertionError(_failure(condition, within, what, last))
        time.sleep(INTERVAL)


def _failure(condition: Callable[[], object], within: float, what: str, last: object) -> str:
    """One line: what was waited for, how long, and what was seen last."""
    return f"not within {within:g} s: {what or getattr(condition, '__qualname__', condition)}; last seen: {last!r}"
