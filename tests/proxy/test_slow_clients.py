"""Clients that dawdle, send a byte now and then, or say no more: each by itself, and a thousand at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

import proxy.traffic.patience
from tests.proxy.conftest import Serve
from tests.proxy.planes import Plane
from tests.support.backend import Backend, Call, answers, echo, hang
from tests.support.raw_client import BrokenOffError, Client, connected, request
from tests.support.waiting import until

START = b"POST /predict HTTP/1.1\r\nHost: a\r\n"


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def passes(plane: Plane, seconds: float) -> None:
    """Wait until so much time has passed on the proxy's own clock."""
    begun = plane.plane.now
    await until(lambda: plane.plane.now >= begun + seconds, what="the proxy's clock")


async def drips(plane: Plane, client: Client, data: bytes) -> None:
    """Send a byte whenever the proxy's clock has moved, until nobody takes any more."""
    with contextlib.suppress(ConnectionError):
        for index in range(len(data)):
            await client.send(data[index : index + 1])
            await passes(plane, 0.001)


async def test_a_body_that_comes_by_the_byte_ends_with_408(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never stands still for long, and would hold a connection to the model for ever."""
    monkeypatch.setattr(proxy.traffic.patience, "BODY_SECONDS", 0.4)
    plane = await serve()
    production.script = hang
    async with connected(plane.port) as client:
        await client.send(START + b"Content-Length: 1000\r\n\r\n")
        dripping = asyncio.create_task(drips(plane, client, b"x" * 1000))
        answer = await client.answer()
        dripping.cancel()
    assert answer.status == 408
    await until(lambda: all(call.ended.is_set() for call in production.calls), what="the upstream's release")


async def test_a_body_at_a_modest_pace_is_taken(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the least pace, for longer than a body may stand still."""
    monkeypatch.setattr(proxy.traffic.patience, "BODY_SECONDS", 0.5)
    plane = await serve()
    production.script = echo
    async with connected(plane.port) as client:
        await client.send(START + b"Content-Length: 10000\r\n\r\n")
        for _ in range(10):
            await client.send(b"x" * 1000)
            await passes(plane, 0.1)
        assert (await client.answer()).body == b"x" * 10_000


async def test_the_time_in_which_a_client_is_not_read_does_not_count_as_its_slowness(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that takes its time with a large body is no reason for a 408."""
    monkeypatch.setattr(proxy.traffic.patience, "BODY_SECONDS", 0.3)
    plane = await serve()
    go_on = asyncio.Event()

    async def dawdles(call: Call) -> None:
        await go_on.wait()
        await call.answer(200, b"%d" % len(await call.read_body()))

    production.script = dawdles
    async with connected(plane.port) as client:
        sending = asyncio.create_task(client.send(request(body=bytes(16_000_000))))
        await until(lambda: production.calls, what="the request at the model")
        await passes(plane, 0.8)
        go_on.set()
        assert (await client.answer()).body == b"16000000"
        await sending


async def test_a_client_that_ends_its_sending_half_gets_its_answers(serve: Serve, production: Backend) -> None:
    """All that it has asked for, in order; then the connection ends."""
    plane = await serve()
    production.script = echo
    async with connected(plane.port) as client:
        await client.send(b"".join(request(body=b"%d" % number) for number in range(3)))
        client.end_sending()
        assert [(await client.answer()).body for _ in range(3)] == [b"0", b"1", b"2"]
        assert await client.to_its_end() == b""
    outcomes = [captured.outcome for captured in await plane.emitter.of_role("production", 3)]
    assert outcomes == ["ok"] * 3


async def test_a_client_that_is_gone_holds_the_model_no_longer_than_a_moment(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell whether it ended its sending half alone, so it is waited for a little, and not for long."""
    monkeypatch.setattr(proxy.traffic.patience, "HALF_CLOSED_SECONDS", 0.2)
    plane = await serve()
    production.script = hang
    async with connected(plane.port) as client:
        await client.send(request())
        await until(lambda: production.calls, what="the request at the model")
        client.end_sending()
        await until(lambda: production.calls[0].ended.is_set(), what="the upstream's release")
        assert await client.rest() == b""
    [captured] = await plane.emitter.of_role("production")
    assert captured.outcome == "client_closed"


async def test_a_request_that_breaks_off_with_its_sending_half_is_given_up_at_once(
    serve: Serve, production: Backend
) -> None:
    """What is missing of it will never come; the model never gets the part for the whole."""
    plane = await serve()
    async with connected(plane.port) as client:
        await client.send(START + b"Content-Length: 10\r\n\r\nabc")
        await until(lambda: production.calls, what="the head at the model")
        client.end_sending()
        with pytest.raises(BrokenOffError):
            await client.answer()
    await until(lambda: production.calls[0].ended.is_set(), what="the upstream's release")
    assert not production.calls[0].body_read.is_set()


async def test_a_thousand_slow_clients_end_by_deadline_beside_others_that_are_served(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow heads, slow bodies, slow readers: 408 or cut, their descriptors given back, and nobody else fails."""
    monkeypatch.setattr(proxy.traffic.patience, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(proxy.traffic.patience, "BODY_SECONDS", 1.0)
    plane = await serve(target={"timeout": 1})
    production.script = echo
    beginnings = (START, START + b"Content-Length: 9\r\n\r\nx", b"P")
    before = descriptors()
    slow = []
    for index in range(1000):
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
        writer.write(beginnings[index % len(beginnings)])
        slow.append((reader, writer))
    async with connected(plane.port) as client:
        while plane.number("proxy_refused_total", "slow_request") < len(slow):
            assert (await client.ask(request(body=b"quick"))).body == b"quick"
    for reader, writer in slow:
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.close()
    await until(lambda: plane.number("proxy_connections") == 0 and not production.open, what="everybody's end")
    await until(lambda: descriptors() <= before + 5, what="the descriptors' return")


async def test_a_request_has_its_deadline_while_the_next_one_trickles_in(serve: Serve, production: Backend) -> None:
    """A client that sends the next body by the byte must not hold a model that hangs for longer."""
    plane = await serve(target={"timeout": 0.3})
    production.script = hang
    async with connected(plane.port) as client:
        await client.send(request() + START + b"Content-Length: 100000\r\n\r\n")
        dripping = asyncio.create_task(drips(plane, client, bytes(100_000)))
        assert (await client.answer()).status == 504
        client.reset()
        dripping.cancel()
    await until(lambda: production.calls[0].ended.is_set(), what="the model's release")


async def test_a_client_that_is_read_again_has_its_time_from_then_on(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have nothing more to say at that moment."""
    monkeypatch.setattr(proxy.traffic.patience, "BODY_SECONDS", 0.4)
    plane = await serve()
    production.script = echo
    async with connected(plane.port) as client:
        await client.send(START + b"Content-Length: 2\r\n\r\na")
        await until(lambda: production.calls, what="the request at the model")
        [connection] = plane.plane.clients
        connection.pause_request(True)  # type: ignore[attr-defined]
        await passes(plane, 0.6)
        connection.pause_request(False)  # type: ignore[attr-defined]
        await passes(plane, 0.2)
        await client.send(b"b")
        assert (await client.answer()).body == b"ab"


async def stuffed(plane: Plane, client: Client) -> None:
    """Pipeline five requests and read nothing: two answers of 60,000 bytes are more than may wait to be taken."""
    client.stop_reading()
    await until(lambda: plane.plane.clients, what="the client")
    [connection] = plane.plane.clients
    kernel = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
    kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    await client.send(request() * 5)
    await until(lambda: connection.reads_slowly, what="a slow reader")  # type: ignore[attr-defined]


async def test_a_slow_reader_says_nothing_of_production(serve: Serve, production: Backend) -> None:
    """One client that asks for much and reads nothing would open the breaker for all the others."""
    breaker = {"failures": 1, "calls": 1}
    plane = await serve(target={"timeout": 0.3, "breaker": breaker}, fallback={"target": "v1"})
    production.script = answers(body=bytes(60_000))
    async with connected(plane.port) as client:
        await stuffed(plane, client)
        await until(lambda: not plane.plane.clients, what="the client's end")
    assert plane.numbers("proxy_fallback_total") == {}
    assert plane.numbers("proxy_breaker_open") == {}
    assert plane.numbers("proxy_refused_total") == {}


async def test_a_request_waits_until_its_client_has_taken_the_answers_before(serve: Serve, production: Backend) -> None:
    """Then it is asked for, and has its whole time."""
    plane = await serve()
    production.script = answers(body=bytes(60_000))
    async with connected(plane.port) as client:
        await stuffed(plane, client)
        await passes(plane, 0.2)
        assert len(production.calls) < 5
        assert plane.plane.plans.all[0].route(b"").pool.addresses[0].in_flight == 0
        client.go_on_reading()
        for _ in range(5):
            assert len((await client.answer()).body) == 60_000


async def test_a_client_that_ends_its_sending_half_behind_nonsense_gets_its_answers(
    serve: Serve, production: Backend
) -> None:
    """Those before, and the refusal."""
    plane = await serve()
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def dawdles(call: Call) -> None:
        asked.set()
        await go_on.wait()
        await call.answer(200, b"first")

    production.script = dawdles
    async with connected(plane.port) as client:
        await client.send(request())
        await asked.wait()
        await client.send(b"\x16\x03\x01")
        client.end_sending()
        [connection] = plane.plane.clients
        await until(lambda: connection._half_closed_until, what="the end of the sending half")  # type: ignore[attr-defined]
        go_on.set()
        assert (await client.answer()).body == b"first"
        assert (await client.answer()).status == 400
        assert await client.to_its_end() == b""


async def test_thousands_of_trailers_cost_no_time(serve: Serve, production: Backend) -> None:
    """One read can bring them, and all other clients wait meanwhile: each must cost the same."""
    plane = await serve()
    production.script = echo
    async with connected(plane.port) as client:
        await client.send(START + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
        [connection] = plane.plane.clients
        await until(lambda: connection._reading is not None, what="the head")  # type: ignore[attr-defined]
        exchange = connection._reading  # type: ignore[attr-defined]
        exchange.trailer(b"a", b"")
        first = exchange.body.trailers
        exchange.trailer(b"b", b"")
        assert exchange.body.trailers is first
        await client.send(b"\r\n")
        await client.answer()
    assert production.calls[0].trailers == [b"a: ", b"b: "]


async def test_a_clock_survives_what_it_calls(serve: Serve, production: Backend) -> None:
    """Or one client's misfortune would leave all others without deadlines."""
    plane = await serve(target={"timeout": 0.3})

    class Unfortunate:
        def expire(self, now: float) -> None:
            plane.plane.closed(self)  # type: ignore[arg-type]
            raise RuntimeError(f"at {now}")

    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    plane.plane.opened(Unfortunate())  # type: ignore[arg-type]
    await until(lambda: told, what="the misfortune")
    production.script = hang
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 504


async def test_a_body_in_tiny_chunks_is_kept_in_few_pieces(serve: Serve, production: Backend, shadow: Backend) -> None:
    """Each piece costs more than its bytes, which alone are counted."""
    plane = await serve(mirror={"fraction": 1})
    production.script = shadow.script = echo
    body = bytes(range(256)) * 200
    async with connected(plane.port) as client:
        raw = request(body=body, chunks=len(body) // 2)
        await client.send(raw[:-5])
        [connection] = plane.plane.clients
        await until(lambda: connection._reading and connection._reading.body.size == len(body), what="the body")  # type: ignore[attr-defined]
        assert len(connection._reading.body.pieces) < 50  # type: ignore[attr-defined]
        await client.send(raw[-5:])
        assert (await client.answer()).body == body
    await until(lambda: shadow.calls and shadow.calls[0].body == body, what="the clone")
