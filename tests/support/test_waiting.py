"""Waiting: the one place where a test lets time pass."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.waiting import until, until_sync


def answers(*given: object) -> Iterator[object]:
    """What a condition says, call by call."""
    return iter(given)


async def test_until_hands_back_what_the_condition_gave_plain_or_async() -> None:
    """The first true answer, not merely True."""
    plain, awaited = answers(None, 0, "here"), answers(False, "there")

    async def ask() -> object:
        return next(awaited)

    assert await until(lambda: next(plain)) == "here"
    assert await until(ask) == "there"
    again = answers(0, 7)
    assert until_sync(lambda: next(again)) == 7


async def test_a_deadline_passed_says_what_was_waited_for_and_what_was_seen() -> None:
    """One readable line, with the last answer."""
    with pytest.raises(AssertionError, match=r"not within 0\.05 s: a third answer; last seen: 0"):
        await until(lambda: 0, 0.05, "a third answer")
    with pytest.raises(AssertionError, match=r"not within 0\.05 s: a third answer; last seen: 0"):
        until_sync(lambda: 0, 0.05, "a third answer")


async def test_a_condition_that_hangs_does_not_outlast_the_deadline() -> None:
    """It is cancelled, and counts as not met."""
    with pytest.raises(AssertionError, match="an answer"):
        await until(asyncio.Event().wait, 0.05, "an answer")


async def test_only_the_errors_named_are_tolerated_and_the_last_of_them_is_shown() -> None:
    """Any other is a failure of the test at once."""

    def refused() -> bool:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(ConnectionRefusedError):
        await until(refused)
    with pytest.raises(AssertionError, match="nobody there"):
        await until(refused, 0.05, "a server", tolerating=(ConnectionRefusedError,))
    with pytest.raises(AssertionError, match="nobody there"):
        until_sync(refused, 0.05, "a server", tolerating=(ConnectionRefusedError,))
