"""What stands against a clone: budget, duplicates, the breaker, memory; and whose credentials it carries."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import proxy.shadowing.mirror
from tests.proxy.conftest import Serve
from tests.proxy.planes import Plane, document, serving
from tests.support.backend import Backend, Call, answers, hang
from tests.support.raw_client import connected, request
from tests.support.waiting import until

ALL: dict[str, Any] = {"fraction": 1}


async def ask(plane: Plane, raw: bytes, times: int = 1) -> None:
    """The same request so many times; production answers each."""
    async with connected(plane.port) as client:
        for _ in range(times):
            assert (await client.ask(raw)).body == b'{"prediction": 1}'


async def settled(plane: Plane) -> None:
    """No clone is under way."""
    await until(lambda: plane.number("mirror_in_flight", "fraud") == 0, what="the clones' end")


# The budget.


async def test_no_more_clones_leave_than_the_budget_has(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """Not after a restart either; a higher one lends the difference."""
    for limit, expected in ((3, 3), (3, 0), (5, 2)):
        mirror = {**ALL, "budget": {"requests_per_day": limit}}
        async with serving(document(production.url, shadow.url, mirror=mirror), tmp_path) as plane:
            await ask(plane, request(), times=7)
            await settled(plane)
            assert plane.number("mirror_sent_total", "fraud") == expected
            assert plane.number("mirror_dropped_total", "fraud", "budget") == 7 - expected
            captured = await plane.emitter.of_role("production", 7)
            assert [one.sampled for one in captured] == [True] * expected + [False] * (7 - expected)
        (tmp_path / "e.sock").unlink(missing_ok=True)
    assert len(shadow.calls) == 5


async def test_what_is_dropped_for_another_reason_costs_no_budget(serve: Serve, shadow: Backend) -> None:
    """Two of the ten are spent on clones, and not one on the rest."""
    shadow.script = hang
    plane = await serve(mirror={**ALL, "max_in_flight": 2, "timeout": 0.2, "budget": {"requests_per_day": 4}})
    await ask(plane, request(), times=20)
    assert plane.numbers("mirror_dropped_total") == {("fraud", "max_in_flight"): 18}
    await settled(plane)
    shadow.script = answers()
    await ask(plane, request(), times=2)
    await plane.reaches(2, "mirror_completed_total", "fraud")
    await ask(plane, request())
    assert plane.number("mirror_dropped_total", "fraud", "budget") == 1


# Duplicates.


async def test_an_identical_request_is_cloned_once(serve: Serve, shadow: Backend) -> None:
    """Whatever its id and headers; path, query and body count."""
    plane = await serve(mirror={**ALL, "deduplicate": "10m"})
    different = [request(body=b"1"), request(body=b"2"), request(path="/predict?x=1", body=b"1"), request(path="/p")]
    for raw in different:
        await ask(plane, raw)
    for raw in different:
        await ask(plane, raw.replace(b"Host: client.example", b"Host: client.example\r\nX-Request-Id: other"))
    await until(lambda: len(shadow.calls) == 4, what="the clones")
    assert plane.numbers("mirror_dropped_total") == {("fraud", "duplicate"): 4}
    captured = await plane.emitter.of_role("production", 8)
    assert [one.sampled for one in captured] == [True] * 4 + [False] * 4


async def test_an_identical_request_is_cloned_again_when_its_time_is_over(serve: Serve) -> None:
    """Here after 50 ms."""
    plane = await serve(mirror={**ALL, "deduplicate": "50ms"})
    await ask(plane, request())

    async def cloned_again() -> bool:
        await ask(plane, request())
        return plane.number("mirror_sent_total", "fraud") >= 2

    await until(cloned_again, what="a second clone")


async def test_a_request_that_was_not_cloned_is_no_duplicates_original(serve: Serve, shadow: Backend) -> None:
    """What was dropped does not keep the next one from the shadow."""
    shadow.script = hang
    plane = await serve(mirror={**ALL, "deduplicate": "10m", "max_in_flight": 1, "timeout": 0.2})
    await ask(plane, request(body=b"1"))
    await ask(plane, request(body=b"2"))
    assert plane.numbers("mirror_dropped_total") == {("fraud", "max_in_flight"): 1}
    await settled(plane)
    await ask(plane, request(body=b"2"))
    assert plane.number("mirror_sent_total", "fraud") == 2


# The breaker.


async def test_a_shadow_that_fails_is_left_alone_for_a_while(serve: Serve, shadow: Backend) -> None:
    """Three failures open the breaker; the gauge shows it; once the shadow is back, one clone finds out."""
    plane = await serve(mirror={**ALL, "breaker": {"calls": 4, "failures": 3, "open_for": "100ms"}})
    await shadow.stop()
    for count in (1, 2, 3):
        assert plane.number("proxy_breaker_open", "fraud", "v1", "shadow") == 0
        await ask(plane, request())
        await plane.reaches(count, "mirror_failed_total", "fraud", "connect")
    assert plane.number("proxy_breaker_open", "fraud", "v1", "shadow") == 1
    await ask(plane, request(), times=5)
    await settled(plane)
    assert plane.number("mirror_dropped_total", "fraud", "breaker_open") >= 1
    captured = await plane.emitter.of_role("production", 8)
    assert sum(one.sampled for one in captured) == plane.number("mirror_sent_total", "fraud") < 8
    await shadow.start()

    async def found_out() -> bool:
        await ask(plane, request())
        return plane.number("mirror_completed_total", "fraud") > 0

    await until(found_out, what="the clone that closes the breaker")
    assert plane.number("proxy_breaker_open", "fraud", "v1", "shadow") == 0
    assert plane.numbers("mirror_failed_total").keys() == {("fraud", "connect")}


async def test_a_shadow_that_answers_with_errors_is_asked_on(serve: Serve, shadow: Backend) -> None:
    """They are evidence, and events tell of them."""
    plane = await serve(mirror={**ALL, "breaker": {"calls": 2, "failures": 1, "open_for": "1h"}})
    shadow.script = answers(503)
    await ask(plane, request(), times=4)
    await plane.reaches(4, "mirror_completed_total", "fraud")
    assert plane.numbers("mirror_dropped_total") == {}


async def test_a_stop_is_no_failure_of_the_shadow(serve: Serve, shadow: Backend) -> None:
    """The clones that it ends say nothing about it."""
    plane = await serve(mirror={**ALL, "timeout": 60, "breaker": {"calls": 2, "failures": 1, "open_for": "1h"}})
    shadow.script = hang
    await ask(plane, request(), times=2)
    await plane.stop()
    assert plane.numbers("mirror_failed_total") == {("fraud", "shutdown"): 2}
    assert plane.number("proxy_breaker_open", "fraud", "v1", "shadow") == 0


# Memory.


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 kB for all clones."""
    monkeypatch.setattr(proxy.shadowing.mirror, "MAX_HELD_BYTES", 100_000)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("chunks", [0, 5])
async def test_bodies_that_wait_for_production_have_one_bound(
    serve: Serve, production: Backend, shadow: Backend, chunks: int
) -> None:
    """What is above it is not cloned, and served all the same, byte for byte."""
    plane = await serve(mirror=ALL)
    release = asyncio.Event()

    async def slow(call: Call) -> None:
        body = await call.read_body()
        await release.wait()
        await call.answer(200, body)

    production.script = slow
    bodies = [bytes([number]) * 60_000 for number in range(4)]

    async def one(body: bytes) -> None:
        async with connected(plane.port) as client:
            assert (await client.ask(request(body=body, chunks=chunks))).body == body

    asking = [asyncio.ensure_future(one(body)) for body in bodies]
    await until(lambda: sum(call.body_read.is_set() for call in production.calls) == 4, what="the bodies")
    assert plane.numbers("mirror_dropped_total") == {("fraud", "memory"): 3}
    assert plane.number("mirror_held_bytes") == 60_000
    release.set()
    await asyncio.gather(*asking)
    await plane.reaches(1, "mirror_completed_total", "fraud")
    assert shadow.calls[0].body in bodies
    assert plane.number("mirror_held_bytes") == 0


@pytest.mark.usefixtures("little_memory")
async def test_bodies_at_a_shadow_that_hangs_count_too(serve: Serve, shadow: Backend) -> None:
    """Until their clones have ended."""
    shadow.script = hang
    plane = await serve(mirror={**ALL, "timeout": 0.3})
    await ask(plane, request(body=bytes(60_000)), times=3)
    assert plane.numbers("mirror_dropped_total") == {("fraud", "memory"): 2}
    assert 60_000 <= plane.number("mirror_held_bytes") < 62_000
    await settled(plane)
    assert plane.number("mirror_held_bytes") == 0
    await ask(plane, request(body=bytes(60_000)))
    assert plane.number("mirror_sent_total", "fraud") == 2


@pytest.mark.usefixtures("little_memory")
async def test_answers_that_are_kept_count_too(serve: Serve, shadow: Backend) -> None:
    """One that has no room fails, for a reason of ours that is no failure of the shadow."""
    plane = await serve(mirror={**ALL, "breaker": {"calls": 1, "failures": 1}}, capture={"max_bytes": 200_000})
    shadow.script = answers(body=bytes(150_000))
    await ask(plane, request())
    await plane.reaches(1, "mirror_failed_total", "fraud", "memory")
    assert plane.number("mirror_held_bytes") == 0
    assert plane.number("proxy_breaker_open", "fraud", "v1", "shadow") == 0


@pytest.mark.parametrize("chunks", [0, 9])
async def test_a_body_that_is_too_large_is_not_kept_at_all(serve: Serve, production: Backend, chunks: int) -> None:
    """As soon as that is known: by its length at once, in chunks when the bound is passed."""
    plane = await serve(mirror={**ALL, "max_body_bytes": 100_000})
    production.script = hang
    async with connected(plane.port) as client:
        await client.send(request(body=bytes(300_000), chunks=chunks)[:250_000])
        await plane.reaches(1, "mirror_dropped_total", "fraud", "body_too_large")
        assert plane.number("mirror_held_bytes") == 0
        assert plane.number("mirror_waiting", "fraud") == 0


async def test_a_body_that_production_answers_before_its_end_is_not_cloned(
    serve: Serve, production: Backend, shadow: Backend
) -> None:
    """Half of it is all there is, and no clone is cut."""
    plane = await serve(mirror=ALL)

    async def early(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await call.gone()

    production.script = early
    async with connected(plane.port) as client:
        await client.send(request(body=bytes(1000))[:-1])
        assert (await client.answer()).status == 200
    await plane.reaches(1, "mirror_dropped_total", "fraud", "incomplete")
    assert shadow.connections == 0
    [captured] = await plane.emitter.of_role("production")
    assert (captured.sampled, captured.request_truncated) == (False, True)


# Credentials.


async def test_the_shadow_is_shown_its_own_credentials(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """And never the client's, though a header of that name be passed on; production gets the client's alone."""
    (tmp_path / "token").write_text("Bearer of-the-shadow\n")
    mirror = {**ALL, "headers": ["Authorization"], "credentials": {"value_file": "token"}}
    async with serving(document(production.url, shadow.url, mirror=mirror), tmp_path) as plane:
        await ask(plane, request(headers=("authorization: Bearer of-the-client", "Cookie: a=b")))
        await until(lambda: shadow.calls, what="the clone")
        assert shadow.calls[0].header(b"authorization") == b"Bearer of-the-shadow"
        assert shadow.calls[0].header(b"cookie") is None
        assert production.calls[0].header(b"authorization") == b"Bearer of-the-client"
        [captured] = await plane.emitter.of_role("shadow")
        assert b"of-the-shadow" not in repr(captured).encode()


async def test_a_clients_credentials_are_passed_on_where_the_configuration_says_so(
    serve: Serve, shadow: Backend
) -> None:
    """By name, and only those."""
    plane = await serve(mirror={**ALL, "headers": ["Cookie"]})
    await ask(plane, request(headers=("Authorization: Bearer of-the-client", "Cookie: a=b")))
    await until(lambda: shadow.calls, what="the clone")
    assert shadow.calls[0].header(b"authorization") is None
    assert shadow.calls[0].header(b"cookie") == b"a=b"


async def test_a_clones_event_names_the_tenant(serve: Serve, shadow: Backend) -> None:
    """Though the shadow does not get the header that names it."""
    plane = await serve(mirror=ALL, tenant={"header": "X-Tenant-Id", "allow": ["acme"]})
    await ask(plane, request(headers=("X-Tenant-Id: acme", "Content-Encoding: gzip")))
    [captured] = await plane.emitter.of_role("shadow")
    assert (captured.tenant, captured.encoded, captured.path) == ("acme", True, "/predict")
    assert shadow.calls[0].header(b"x-tenant-id") is None
