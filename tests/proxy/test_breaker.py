"""The circuit breaker, on a clock that the test moves."""

from __future__ import annotations

from configuration.target import Breaker as Settings
from configuration.units import Duration
from proxy.routing.breaker import Breaker


def breaker(calls: int = 4, failures: int = 2, open_for: float = 5.0) -> Breaker:
    """A breaker of few calls."""
    return Breaker(Settings(calls=calls, failures=failures, open_for=Duration(open_for)))


def test_it_opens_at_so_many_failures_among_the_last_calls_and_not_before() -> None:
    """Two of the last four."""
    one = breaker()
    for _ in range(5):
        one.failed(0.0)
        for _ in range(3):
            one.succeeded()
    assert one.allows(0.0)
    assert one.state == "closed"
    one.failed(0.0)
    one.failed(0.0)
    assert one.state == "open"
    assert not one.allows(4.9)


def test_one_call_decides_and_none_is_made_beside_it() -> None:
    """Half open: the first to ask is let through."""
    one = breaker(failures=1)
    one.failed(0.0)
    assert one.allows(5.0)
    assert one.state == "half_open"
    assert not one.allows(5.1)
    one.succeeded()
    assert one.state == "closed"
    assert one.allows(5.2)


def test_a_deciding_call_that_fails_opens_it_anew() -> None:
    """For as long again."""
    one = breaker(failures=1)
    one.failed(0.0)
    assert one.allows(5.0)
    one.failed(6.0)
    assert not one.allows(10.9)
    assert one.allows(11.0)


def test_closing_forgets_the_failures_that_opened_it() -> None:
    """Or the next failure would open it again."""
    one = breaker()
    one.failed(0.0)
    one.failed(0.0)
    assert one.allows(5.0)
    one.succeeded()
    one.failed(5.0)
    assert one.state == "closed"


def test_what_began_before_it_opened_decides_nothing() -> None:
    """A late success does not close it, a late failure does not prolong it."""
    one = breaker(failures=1)
    one.failed(0.0)
    one.succeeded()
    one.failed(4.0)
    assert one.state == "open"
    assert one.allows(5.0)


def test_a_deciding_call_that_never_reports_is_replaced() -> None:
    """Its client went away, say."""
    one = breaker(failures=1)
    one.failed(0.0)
    assert one.allows(5.0)
    assert not one.allows(9.9)
    assert one.allows(10.0)
