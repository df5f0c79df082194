"""`mirror.after: request`: a clone leaves as soon as the request is whole, whatever becomes of it at production."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import proxy.shadowing.mirror
from tests.proxy.conftest import Serve
from tests.support.backend import Backend, Call, answers, hang
from tests.support.raw_client import connected, request
from tests.support.waiting import until

EARLY: dict[str, Any] = {"fraction": 1, "after": "request"}


async def test_it_does_not_wait_for_productions_answer(serve: Serve, production: Backend, shadow: Backend) -> None:
    """The shadow has answered before production has; waiting ended with the request's body."""
    plane = await serve(mirror=EARLY)
    release = asyncio.Event()

    async def slow(call: Call) -> None:
        await release.wait()
        await call.answer()

    production.script = slow
    async with connected(plane.port) as client:
        await client.send(request(body=b'{"a": 1}'))
        await plane.reaches(1, "mirror_completed_total", "fraud")
        assert production.calls
        assert plane.number("mirror_waiting", "fraud") == 0
        assert plane.number("inference_in_flight", "fraud", "v2", "production") == 1
        [cloned] = await plane.emitter.of_role("shadow")
        release.set()
        assert (await client.answer()).status == 200
    [answered] = await plane.emitter.of_role("production")
    assert answered.sampled
    assert (answered.id, answered.request) == (cloned.id, cloned.request)
    assert shadow.calls[0].body == b'{"a": 1}'


@pytest.mark.parametrize("chunks", [0, 2])
async def test_it_waits_for_the_whole_body(serve: Serve, production: Backend, shadow: Backend, chunks: int) -> None:
    """Until then the shadow hears nothing, and the gauge says that one waits."""
    plane = await serve(mirror=EARLY)
    raw = request(body=bytes(range(200)), chunks=chunks)
    async with connected(plane.port) as client:
        await client.send(raw[:-1])
        await until(lambda: production.calls, what="the request")
        assert plane.number("mirror_waiting", "fraud") == 1
        assert shadow.connections == 0
        await client.send(raw[-1:])
        assert (await client.answer()).status == 200
    await plane.reaches(1, "mirror_completed_total", "fraud")
    assert shadow.calls[0].body == bytes(range(200))


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_it_has_left_whatever_production_says(
    serve: Serve, production: Backend, shadow: Backend, status: int
) -> None:
    """That is what the setting asks for."""
    plane = await serve(mirror=EARLY)
    production.script = answers(status)
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == status
    await until(lambda: shadow.calls, what="the clone")
    [captured] = await plane.emitter.of_role("production")
    assert (captured.outcome, captured.sampled) == ("error", True)


async def test_it_has_left_where_production_cannot_be_reached(
    serve: Serve, production: Backend, shadow: Backend
) -> None:
    """A production that is down is no reason not to try the shadow."""
    plane = await serve(mirror=EARLY)
    await production.stop()
    async with connected(plane.port) as client:
        assert (await client.ask(request(body=bytes(100_000)))).status == 502
    await plane.reaches(1, "mirror_completed_total", "fraud")
    assert shadow.calls[0].body == bytes(100_000)


async def test_a_client_that_goes_after_its_request_leaves_its_clone(
    serve: Serve, production: Backend, shadow: Backend
) -> None:
    """It was sent already."""
    plane = await serve(mirror=EARLY)
    production.script = hang
    async with connected(plane.port) as client:
        await client.send(request())
        await plane.reaches(1, "mirror_completed_total", "fraud")
    [captured] = await plane.emitter.of_role("production")
    assert (captured.outcome, captured.sampled) == ("client_closed", True)


async def test_a_client_that_goes_within_its_request_has_no_clone(serve: Serve, shadow: Backend) -> None:
    """Half a body is never cloned."""
    plane = await serve(mirror=EARLY)
    async with connected(plane.port) as client:
        await client.send(request(body=bytes(1000))[:-1])
        await plane.reaches(1, "mirror_waiting", "fraud")
    await plane.reaches(1, "mirror_dropped_total", "fraud", "client_closed")
    assert shadow.connections == 0


async def test_requests_in_a_row_are_cloned_each_at_its_turn(
    serve: Serve, production: Backend, shadow: Backend
) -> None:
    """One whose turn never comes is not: production did not get it either."""
    plane = await serve(mirror=EARLY)
    production.script = hang
    async with connected(plane.port) as client:
        await client.send(request(body=b"1") + request(body=b"2"))
        await plane.reaches(1, "mirror_completed_total", "fraud")
        assert plane.number("mirror_waiting", "fraud") == 1
    await plane.reaches(1, "mirror_dropped_total", "fraud", "client_closed")
    assert [call.body for call in shadow.calls] == [b"1"]


async def test_log_only_is_recorded_as_early(serve: Serve, production: Backend, shadow: Backend) -> None:
    """Without a call."""
    plane = await serve(mirror={**EARLY, "mode": "log_only"})
    production.script = hang
    async with connected(plane.port) as client:
        await client.send(request(body=b'{"a": 1}'))
        [captured] = await plane.emitter.of_role("shadow")
        assert (captured.outcome, captured.request) == ("log_only", b'{"a": 1}')
    assert shadow.connections == 0


async def test_a_body_that_the_clone_alone_needed_is_not_kept_on(
    serve: Serve, production: Backend, shadow: Backend
) -> None:
    """Once the clone is done, nothing is held for it, however long production takes."""
    plane = await serve(mirror=EARLY)
    release = asyncio.Event()

    async def slow(call: Call) -> None:
        await call.read_body()
        await release.wait()
        await call.answer()

    production.script = slow
    body = bytes(900_000)
    async with connected(plane.port) as client:
        await client.send(request(body=body))
        await plane.reaches(1, "mirror_completed_total", "fraud")
        assert plane.number("mirror_held_bytes") == 0
        release.set()
        assert (await client.answer()).status == 200
    assert shadow.calls[0].body == production.calls[0].body == body
    [captured] = await plane.emitter.of_role("production")
    assert captured.request_truncated
    assert captured.request == body[:65536]


async def test_a_fault_of_our_own_in_it_does_not_reach_the_client(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it happens while the request is read: the reply always wins."""
    plane = await serve(mirror=EARLY)
    told: list[dict[str, Any]] = []
    plane.plane.loop.set_exception_handler(lambda _, context: told.append(context))

    def broken(*_: object) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(proxy.shadowing.mirror.Mirror, "leave", broken)
    monkeypatch.setattr(plane, "check_laws", lambda: None)  # a fault in the middle of counting breaks them
    async with connected(plane.port) as client:
        for _ in range(3):
            assert (await client.ask(request())).body == b'{"prediction": 1}'
    assert {context["message"] for context in told} == {"a clone could not be made"}
