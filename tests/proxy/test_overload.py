"""What is left out when a worker is late: clones before events before requests, and nothing for one late turn."""

from __future__ import annotations

import time

import pytest

from proxy.overload import CLONES_SECONDS, EVENTS_SECONDS, MEASUREMENTS, RELIEF_SECONDS, REQUESTS_SECONDS, VAIN, Load
from tests.proxy.conftest import Serve
from tests.proxy.planes import Plane
from tests.support.raw_client import connected, request
from tests.support.waiting import until


def after(*lags: float) -> Load:
    """A load that has measured these."""
    load = Load()
    for lag in lags:
        load.measured(lag)
    return load


def test_one_late_turn_means_nothing() -> None:
    """However late, and several of them neither, as long as most were in time."""
    load = after(*[5.0] * (MEASUREMENTS // 2 - 1), 0.0)
    assert (load.sheds_clones, load.sheds_events, load.refuses()) == (False, False, False)


STANDING = {
    "in time": (0.0, False, False, False),
    "a little late": (CLONES_SECONDS, True, False, False),
    "late": (EVENTS_SECONDS, True, True, False),
    "very late": (REQUESTS_SECONDS, True, True, True),
}


@pytest.mark.parametrize(("lag", "clones", "events", "requests"), STANDING.values(), ids=STANDING)
def test_the_shadow_is_shed_first_then_events_and_requests_last(
    lag: float, clones: bool, events: bool, requests: bool
) -> None:
    """By how long the lag stands."""
    load = after(*[lag] * MEASUREMENTS)
    assert (load.sheds_clones, load.sheds_events) == (clones, events)
    assert any(load.refuses() for _ in range(100)) == requests


def test_the_share_that_is_refused_grows_while_the_lag_stands_and_falls_afterwards() -> None:
    """Some are always served, and in the end all."""
    load = after(*[1.0] * MEASUREMENTS)

    def refused() -> int:
        return sum(load.refuses() for _ in range(1000))

    first = refused()
    load.measured(1.0)
    second = refused()
    for _ in range(100):
        load.measured(1.0)
    most = refused()
    assert 0 < first < second < most <= 900
    for _ in range(MEASUREMENTS // 2 + 3):
        load.measured(0.0)
    assert 0 < refused() < most
    for _ in range(100):
        load.measured(0.0)
    assert refused() == 0


def test_once_requests_are_refused_more_are_until_a_refusal_is_quick() -> None:
    """It waits for its turn as long as any request: below the lag at which it began is not enough."""
    load = after(*[REQUESTS_SECONDS] * MEASUREMENTS)
    before = load.share
    load.measured(REQUESTS_SECONDS / 2)
    assert load.share > before
    before = load.share
    load.measured(RELIEF_SECONDS / 2)
    assert 0 < load.share < before


def test_a_turn_of_three_that_is_late_for_another_process_does_not_keep_requests_out() -> None:
    """Refusing cannot cure it, so the share falls all the same."""
    load = after(*[REQUESTS_SECONDS] * MEASUREMENTS)
    for _ in range(200):
        for lag in (0.0, 0.0, 0.0, 2 * RELIEF_SECONDS):
            load.measured(lag)
    assert load.share == 0.0


def test_what_no_refusal_cures_is_no_reason_to_refuse_for_ever() -> None:
    """As where other processes keep the core: never very late, and never in time. Very late once in a while is one."""
    load = after(*[REQUESTS_SECONDS] * MEASUREMENTS, *[RELIEF_SECONDS] * (VAIN - 1))
    assert load.share > 0.8
    for _ in range(100):
        load.measured(RELIEF_SECONDS)
    assert (load.share, load.sheds_clones) == (0.0, True)
    load = after(*[REQUESTS_SECONDS] * MEASUREMENTS)
    for _ in range(20):
        for lag in (*[RELIEF_SECONDS] * (VAIN // 2), REQUESTS_SECONDS):
            load.measured(lag)
    assert load.share > 0.8


def test_while_requests_are_refused_nothing_else_comes_before_them() -> None:
    """However quick the loop is by then: it is that because of them."""
    load = after(*[REQUESTS_SECONDS] * MEASUREMENTS, *[0.0] * MEASUREMENTS)
    assert load.share > 0
    assert (load.sheds_clones, load.sheds_events) == (True, True)
    for _ in range(100):
        load.measured(0.0)
    assert (load.share, load.sheds_clones, load.sheds_events) == (0.0, False, False)


def test_at_twice_what_a_worker_can_serve_a_refusal_is_quick_and_most_of_the_others_are_served() -> None:
    """A worker that takes in each turn what has come during the last one, of no more clients than this; by its own
    clock. A request costs it 0.5 ms, without clones and events a fifth less, a refusal 0.15 ms."""
    clients, cost, refusal, each_second = 800, 0.0005, 0.00015, 2 / 0.0005
    load, now, last, due, waiting = Load(), 0.0, 0.0, 0.1, 0.0
    turn, served = 0.0, 0
    refusals: list[float] = []
    while now < 60:
        waiting += each_second * (now - last)
        taken = int(min(waiting, clients))
        waiting, last, former, turn = waiting - taken, now, turn, 0.00002
        for _ in range(taken):
            if load.refuses():
                turn += refusal
                refusals.append(former / 2 + turn)  # on the average it came in the middle of the turn before
            else:
                turn += cost * (0.8 if load.sheds_events else 1.0)
                served += 1
        now += turn
        if now >= due:
            load.measured(now - due)
            due = now + 0.1
    refusals.sort()
    assert refusals[len(refusals) // 2] < EVENTS_SECONDS
    assert refusals[len(refusals) * 9 // 10] < REQUESTS_SECONDS
    assert served * cost / now > 0.75  # 0.8 is what refusing all the others leaves


def late(plane: Plane, seconds: float) -> None:
    """Let it find that it has stood so late for a second; in a test nobody else measures."""
    for _ in range(MEASUREMENTS):
        Load.measured(plane.plane.load, seconds)


async def test_a_late_worker_serves_without_clones(serve: Serve) -> None:
    """Each is counted, and its event is still made."""
    plane = await serve(mirror={"fraction": 1})
    late(plane, CLONES_SECONDS)
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 200
    assert plane.number("mirror_dropped_total", "fraud", "overload") == 1
    (event,) = await plane.emitter.of_role("production")
    assert event.sampled is False


async def test_a_later_worker_serves_without_events(serve: Serve) -> None:
    """Each is captured and lost, so that the law says how many."""
    plane = await serve()
    late(plane, EVENTS_SECONDS)
    async with connected(plane.port) as client:
        for _ in range(3):
            assert (await client.ask(request())).status == 200
    assert plane.number("events_lost_total", "fraud", "production", "overload") == 3
    assert plane.number("events_captured_total", "fraud", "production") == 3
    assert plane.emitter.captured == []


async def test_a_worker_that_is_very_late_refuses_some_with_503(serve: Serve) -> None:
    """At once, without asking the model; the others are served."""
    plane = await serve()
    late(plane, REQUESTS_SECONDS)
    seen: dict[int, int] = {}
    for _ in range(20):
        async with connected(plane.port) as client:
            status = (await client.ask(request())).status
            seen[status] = seen.get(status, 0) + 1
    assert seen.keys() == {200, 503}
    assert plane.number("proxy_refused_total", "overloaded") == seen[503]
    assert plane.number("inference_requests_total", "fraud", "v2", "production", "2xx", "ok") == seen[200]


async def test_a_loop_that_is_held_up_is_measured(serve: Serve) -> None:
    """The sweep tells the load how late it is."""
    plane = await serve()
    seen: list[float] = []
    plane.plane.load.measured = seen.append  # type: ignore[method-assign]
    await until(lambda: seen, what="a sweep")
    time.sleep(0.3)  # noqa: ASYNC251 - this is what is measured
    before = len(seen)
    await until(lambda: len(seen) > before, what="the next sweep")
    assert seen[before] >= 0.1
