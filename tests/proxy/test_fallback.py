"""What answers when production cannot: another version or a fixed answer, and when the circuit breaker says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.conftest import Serve
from tests.proxy.planes import Plane
from tests.proxy.test_routing import order
from tests.support.backend import Backend, Call, answers, echo, hang, sends
from tests.support.raw_client import Answer, BrokenOffError, connected, request
from tests.support.waiting import until

TARGET = {"target": "v1"}
SAFE = b'{"prediction": 0, "safe": true}'
PRODUCTION = ("fraud", "v2", "production")
FALLBACK = ("fraud", "v1", "production")


@pytest.fixture
def fixed(tmp_path: Path) -> dict[str, Any]:
    """The section of a fixed answer."""
    (tmp_path / "safe.json").write_bytes(SAFE)
    return {"body_file": "safe.json", "status": 203, "content_type": "application/json; v=1"}


async def ask(plane: Plane, raw: bytes | None = None) -> Answer:
    """One request on a connection of its own."""
    async with connected(plane.port) as client:
        return await client.ask(request() if raw is None else raw)


FAILURES = {
    "closed": (sends(b""), "reset"),
    "reset": (sends(b"", then="reset"), "reset"),
    "half a head": (sends(b"HTTP/1.1 200 OK\r\nContent-Le"), "reset"),
    "not HTTP": (sends(b"SSH-2.0-OpenSSH_9.2\r\n", then="hang"), "reset"),
    "mute": (hang, "timeout"),
}


@pytest.mark.parametrize("kind", ["target", "fixed"])
@pytest.mark.parametrize("case", FAILURES)
async def test_the_fallback_answers_when_production_does_not(
    serve: Serve, production: Backend, shadow: Backend, fixed: dict[str, Any], case: str, kind: str
) -> None:
    """The client gets a whole answer; it is counted, recorded and never cloned; nothing is under way afterwards."""
    production.script, reason = FAILURES[case]
    shadow.script = echo
    fallback = TARGET if kind == "target" else fixed
    plane = await serve(fallback=fallback, target={"timeout": 0.2}, mirror={"fraction": 1})
    answer = await ask(plane, request(body=b'{"x": 1}'))
    [captured] = await plane.emitter.of_role("production")
    assert answer.header("x-shadowdrift-id") == captured.id
    assert answer.header("connection") is None
    if kind == "target":
        version, expected = "v1", (200, b'{"x": 1}')
    else:
        version, expected = "v2", (203, SAFE)
        assert answer.header("content-type") == "application/json; v=1"
    assert (answer.status, answer.body) == expected
    assert (captured.outcome, captured.version, captured.status) == ("fallback", version, expected[0])
    assert captured.answer == expected[1]
    assert not captured.sampled
    assert plane.numbers("inference_requests_total") == {("fraud", version, "production", "2xx", "fallback"): 1}
    assert plane.numbers("proxy_fallback_total") == {("fraud", reason): 1}
    assert plane.numbers("mirror_dropped_total") == {("fraud", "not_success"): 1}
    assert plane.numbers("inference_in_flight") == {}
    assert plane.numbers("proxy_refused_total") == {}


@pytest.mark.parametrize("kind", ["target", "fixed"])
async def test_the_fallback_answers_when_production_refuses_connections(
    serve: Serve, production: Backend, fixed: dict[str, Any], kind: str
) -> None:
    """Also a body larger than what is kept to be sent again: nothing of it was sent."""
    await production.stop()
    plane = await serve(fallback=TARGET if kind == "target" else fixed, capture={"max_bytes": 0})
    for size in (10, 100_000, 3_000_000):
        answer = await ask(plane, request(body=b"x" * size))
        assert (answer.status, answer.body) == ((200, b'{"prediction": 2}') if kind == "target" else (203, SAFE))
    assert plane.numbers("proxy_fallback_total") == {("fraud", "connect"): 3}


async def test_a_client_keeps_its_connection_over_a_fixed_answer(
    serve: Serve, production: Backend, fixed: dict[str, Any]
) -> None:
    """Pipelined requests too; HEAD gets the head alone."""
    await production.stop()
    plane = await serve(fallback=fixed, inference={"methods": ["POST", "HEAD"]})
    async with connected(plane.port) as client:
        await client.send(request() + request("HEAD", body=None) + request(body=b"abc", chunks=2) + request())
        bodies = [(await client.answer(method)).body for method in ("POST", "HEAD", "POST")]
        assert bodies == [SAFE, b"", SAFE]


async def test_a_fixed_answer_waits_for_a_small_body_and_not_for_a_large_one(
    serve: Serve, production: Backend, fixed: dict[str, Any]
) -> None:
    """A small one is read so that the connection stays; with a large one the client hears at once, and it closes."""
    await production.stop()
    plane = await serve(fallback=fixed)
    async with connected(plane.port) as client:
        whole = request(body=b"x" * 100)
        await client.send(whole[:-1])
        await plane.reaches(1, "proxy_fallback_total", "fraud", "connect")
        await client.send(whole[-1:])
        first = await client.answer()
        second = await client.ask(request())
    assert (first.body, first.header("connection"), second.body) == (SAFE, None, SAFE)
    async with connected(plane.port) as client:
        await client.send(request(body=b"x" * 200_000)[:1000])
        answer = await client.answer()
        assert (answer.body, answer.header("connection")) == (SAFE, "close")
        assert await client.rest() == b""
    async with connected(plane.port) as client:
        await client.send(request(headers=("Expect: 100-continue",))[:-2])
        assert (await client.answer()).body == SAFE


async def test_a_body_that_is_still_coming_goes_to_the_fallback_whole(
    serve: Serve, production: Backend, shadow: Backend
) -> None:
    """What had come when production broke off, and what came later, in chunks and with a length."""

    async def breaks_off(call: Call) -> None:
        await call.read_some()
        await call.reset()

    production.script, shadow.script = breaks_off, echo
    plane = await serve(fallback=TARGET)
    for number, chunks in enumerate((0, 3), start=1):
        body = bytes(range(200)) * 100
        raw = request(body=body, chunks=chunks)
        async with connected(plane.port) as client:
            await client.send(raw[:9000])
            await until(lambda number=number: len(shadow.calls) == number, what="the fallback's turn")
            await client.send(raw[9000:])
            assert (await client.answer()).body == body


async def test_a_request_that_memory_no_longer_holds_is_502(serve: Serve, production: Backend, shadow: Backend) -> None:
    """It cannot be sent to another version."""

    async def breaks_off(call: Call) -> None:
        await call.read_body()
        await call.reset()

    production.script = breaks_off
    large = request(body=b"x" * 300_000)
    plane = await serve(fallback=TARGET, capture={"max_bytes": 0})
    assert (await ask(plane, large)).status == 502
    assert shadow.calls == []
    assert plane.numbers("proxy_fallback_total") == {}


async def test_a_fixed_answer_needs_no_request(serve: Serve, production: Backend, fixed: dict[str, Any]) -> None:
    """However large it was."""

    async def breaks_off(call: Call) -> None:
        await call.read_body()
        await call.reset()

    production.script = breaks_off
    plane = await serve(fallback=fixed, capture={"max_bytes": 0})
    assert (await ask(plane, request(body=b"x" * 300_000))).body == SAFE


async def test_half_an_answer_is_never_replaced(serve: Serve, production: Backend, shadow: Backend) -> None:
    """The client has its head already: it sees a broken connection."""
    production.script = sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", then="reset")
    plane = await serve(fallback=TARGET)
    with pytest.raises(BrokenOffError):
        await ask(plane)
    assert shadow.calls == []


async def test_an_answer_of_productions_is_passed_on_whatever_it_is(
    serve: Serve, production: Backend, shadow: Backend
) -> None:
    """A 503 with its own body is an answer."""
    production.script = answers(503, b"busy")
    plane = await serve(fallback=TARGET)
    answer = await ask(plane)
    assert (answer.status, answer.body) == (503, b"busy")
    assert shadow.calls == []


async def test_what_is_only_forwarded_has_no_fallback(serve: Serve, production: Backend, fixed: dict[str, Any]) -> None:
    """A fixed answer to a health check would be a lie."""
    await production.stop()
    plane = await serve(fallback=fixed)
    assert (await ask(plane, request("GET", "/health", body=None))).status == 502


@pytest.mark.parametrize(("script", "status"), [(sends(b""), 502), (hang, 504)], ids=["502", "504"])
async def test_a_fallback_that_fails_too_is_an_error(
    serve: Serve, production: Backend, shadow: Backend, script: Any, status: int
) -> None:
    """Told of the version that was asked last."""
    await production.stop()
    shadow.script = script
    plane = await serve(fallback=TARGET)
    plane.plane.plans.all[0].fallback.serving.timeout = 0.2  # type: ignore[union-attr]
    assert (await ask(plane)).status == status
    outcome = "error" if status == 502 else "timeout"
    assert plane.numbers("inference_requests_total") == {("fraud", "v1", "production", "5xx", outcome): 1}
    assert plane.numbers("inference_in_flight") == {}


async def test_a_fallback_that_serves_already_is_none(serve: Serve, production: Backend, shadow: Backend) -> None:
    """After a switch to it, there is nothing behind it."""
    await shadow.stop()
    plane = await serve(fallback=TARGET)
    plane.plane.plans.apply(order(v1=1.0))
    assert (await ask(plane)).status == 502
    assert production.calls == []


@pytest.mark.parametrize("serving", ["v1", "v2"])
async def test_a_paused_model_is_answered_by_the_fallback(
    serve: Serve, production: Backend, shadow: Backend, serving: str
) -> None:
    """Also where the fallback is the version that was serving: a person has said so."""
    plane = await serve(fallback=TARGET)
    plane.plane.plans.apply(order("paused", **{serving: 1.0}))
    assert (await ask(plane)).body == b'{"prediction": 2}'
    [captured] = await plane.emitter.of_role("production")
    assert (captured.outcome, captured.version) == ("fallback", "v1")
    assert plane.numbers("proxy_fallback_total") == {("fraud", "paused"): 1}
    assert production.calls == []


async def test_a_slow_connect_is_not_answered_twice(serve: Serve, production: Backend, shadow: Backend) -> None:
    """The deadline passes while production still connects; its connection, once there, is nobody's."""
    plane = await serve(fallback=TARGET)
    serving = plane.plane.plans.all[0].route(b"a")
    serving.timeout = 0.2  # the pool itself would wait for 30 s
    connecting, loop = asyncio.Event(), serving.pool.loop

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

        async def create_connection(self, *arguments: Any, **options: Any) -> Any:
            await connecting.wait()
            return await loop.create_connection(*arguments, **options)

    serving.pool.loop = Slow()  # type: ignore[assignment]
    assert (await ask(plane)).body == b'{"prediction": 2}'
    connecting.set()
    serving.pool.loop = loop
    assert plane.numbers("proxy_fallback_total") == {("fraud", "timeout"): 1}
    assert production.connections == 0


BREAKER = {"calls": 4, "failures": 2, "open_for": 0.3}


def is_open(plane: Plane) -> bool:
    """Whether production's breaker keeps requests from it."""
    return bool(plane.number("proxy_breaker_open", *PRODUCTION))


@pytest.mark.parametrize("failure", ["connect", "reset", "timeout", "503"])
async def test_an_open_breaker_asks_production_no_more_and_then_tries_once(
    serve: Serve, production: Backend, shadow: Backend, failure: str
) -> None:
    """Whatever the failures were; when production is well again, one request finds out, and all go to it."""
    scripts = {"reset": sends(b"", then="reset"), "timeout": hang, "503": answers(503, b"busy")}
    target = {"timeout": 0.2, "breaker": {**BREAKER, "open_for": 3600}}
    plane = await serve(fallback=TARGET, target=target)
    if failure == "connect":
        await production.stop()
    else:
        production.script = scripts[failure]
    expected = (503, b"busy") if failure == "503" else (200, b'{"prediction": 2}')
    for _ in range(2):
        answer = await ask(plane)
        assert (answer.status, answer.body) == expected
    assert is_open(plane)
    asked = len(production.calls)
    for _ in range(5):
        assert (await ask(plane)).body == b'{"prediction": 2}'
    assert len(production.calls) == asked
    assert plane.number("proxy_fallback_total", "fraud", "breaker_open") == 5


async def test_a_half_open_breaker_lets_one_request_find_out(
    serve: Serve, production: Backend, shadow: Backend
) -> None:
    """The others are answered by the fallback meanwhile; success closes it."""
    plane = await serve(fallback=TARGET, target={"breaker": BREAKER})
    production.script = sends(b"", then="reset")
    for _ in range(2):
        await ask(plane)
    trial = asyncio.Event()

    async def slow(call: Call) -> None:
        await trial.wait()
        await call.answer(200, b"well")

    production.script = slow
    asked = len(production.calls)
    first: list[asyncio.Task[Answer]] = []

    async def tried() -> bool:
        first.append(asyncio.ensure_future(ask(plane)))
        await until(lambda: first[-1].done() or len(production.calls) > asked)
        return len(production.calls) > asked

    await until(tried, what="one request at production")
    assert is_open(plane)
    assert (await ask(plane)).body == b'{"prediction": 2}'
    assert len(production.calls) == asked + 1
    trial.set()
    assert (await first[-1]).body == b"well"
    assert not is_open(plane)
    assert (await ask(plane)).body == b"well"
    await asyncio.gather(*first)


async def test_a_trial_that_fails_opens_the_breaker_again(serve: Serve, production: Backend) -> None:
    """Its client is answered by the fallback, as before."""
    plane = await serve(fallback=TARGET, target={"breaker": BREAKER})
    production.script = sends(b"", then="reset")
    asked = 0

    async def tried() -> bool:
        assert (await ask(plane)).body == b'{"prediction": 2}'
        return len(production.calls) > asked

    for _ in range(2):
        await ask(plane)
    for _ in range(2):
        asked = len(production.calls)
        await until(tried, what="a trial")
        assert is_open(plane)


async def test_without_a_fallback_production_is_always_tried(serve: Serve, production: Backend) -> None:
    """A breaker would only take away what chance there is."""
    plane = await serve(target={"breaker": BREAKER})
    production.script = sends(b"", then="reset")
    for _ in range(6):
        assert (await ask(plane)).status == 502
    assert len(production.calls) == 6
    assert not is_open(plane)


async def test_clients_that_go_say_nothing_of_production(serve: Serve, production: Backend) -> None:
    """They are no failures."""
    plane = await serve(fallback=TARGET, target={"breaker": BREAKER})
    production.script = hang
    for count in range(1, 5):
        async with connected(plane.port) as client:
            await client.send(request())
            await until(lambda count=count: len(production.calls) == count)
        await plane.reaches(count, "inference_requests_total", *PRODUCTION, "none", "client_closed")
    assert not is_open(plane)


async def test_a_health_check_that_fails_says_nothing_of_inferences(serve: Serve, production: Backend) -> None:
    """The breaker looks at inferences alone."""
    plane = await serve(fallback=TARGET, target={"breaker": BREAKER})
    production.script = answers(503)
    for _ in range(4):
        assert (await ask(plane, request("GET", "/ready", body=None))).status == 503
    assert not is_open(plane)


@pytest.mark.parametrize("after", ["success", "request"])
async def test_what_the_fallback_answers_from_the_start_is_not_cloned(
    serve: Serve, shadow: Backend, after: str
) -> None:
    """Also where clones leave before production has answered."""
    plane = await serve(fallback=TARGET, mirror={"fraction": 1, "after": after})
    plane.plane.plans.apply(order("paused", v2=1.0))
    async with connected(plane.port) as client:
        assert (await client.ask(request(body=b"x" * 100))).status == 200
    assert plane.numbers("mirror_dropped_total") == {("fraud", "not_success"): 1}
    assert plane.numbers("mirror_sent_total") == {}
    assert len(shadow.calls) == 1


async def test_hundreds_of_pipelined_requests_are_answered_by_a_fixed_answer(
    serve: Serve, fixed: dict[str, Any]
) -> None:
    """Each at once, and none within the other: that would end in a RecursionError."""
    plane = await serve(fallback=fixed)
    plane.plane.plans.apply(order("paused", v2=1.0))
    async with connected(plane.port) as client:
        await client.send(request() * 250)
        for _ in range(250):
            assert (await client.answer()).body == SAFE


async def test_fixed_answers_do_not_pile_up_for_a_client_that_reads_none(serve: Serve, tmp_path: Path) -> None:
    """It is read no further, and gets them all once it reads again."""
    (tmp_path / "safe.json").write_bytes(bytes(30_000))
    plane = await serve(fallback={"body_file": "safe.json"})
    plane.plane.plans.apply(order("paused", v2=1.0))
    held = 0
    async with connected(plane.port) as client:
        client.stop_reading()
        await until(lambda: plane.plane.clients, what="the client")
        [connection] = plane.plane.clients
        asked = 0
        while asked < 1000 and not connection._pauses:  # type: ignore[attr-defined]
            asked += 5
            sending = asyncio.ensure_future(client.send(request() * 5))
            await until(lambda: sending.done() or connection._pauses, what="a read")  # type: ignore[attr-defined]  # noqa: B023
            held = max(held, connection._transport.get_write_buffer_size())  # type: ignore[attr-defined]
        assert held < 200_000
        client.go_on_reading()
        for _ in range(asked):
            assert len((await client.answer()).body) == 30_000
