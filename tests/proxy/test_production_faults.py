"""Production away, mute, or broken: what the client sees, what is counted, and that half an answer looks like one."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.proxy.conftest import Serve
from tests.proxy.planes import Plane
from tests.support.backend import Backend, Call, answer_bytes, answers, echo, hang, sends
from tests.support.raw_client import BrokenOffError, connected, request
from tests.support.waiting import until

OK = b"HTTP/1.1 200 OK\r\n"

BEFORE_THE_HEAD = {
    "closed": (b"", "close"),
    "reset": (b"", "reset"),
    "half a head, closed": (OK + b"Content-Le", "close"),
    "half a head, reset": (OK + b"Content-Le", "reset"),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "hang"),
    "two lengths": (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na", "hang"),
    "length and chunked": (OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "hang"),
    "an unknown coding": (OK + b"Transfer-Encoding: gzip\r\n\r\nabc", "close"),
    "a folded header": (OK + b"X-A: b\r\n c\r\n\r\n", "hang"),
    "a head without end": (OK + b"X-A: " + b"b" * 70_000, "hang"),
    "an unasked switch of protocols": (b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "hang"),
}


@pytest.mark.parametrize("case", BEFORE_THE_HEAD)
async def test_no_answer_that_can_be_passed_on_is_502(serve: Serve, production: Backend, case: str) -> None:
    """Whatever the model sent; the exchange is an error of production's."""
    raw, then = BEFORE_THE_HEAD[case]
    plane = await serve()
    production.script = sends(raw, then=then)
    async with connected(plane.port) as client:
        answer = await client.ask(request())
    [captured] = await plane.emitter.of_role("production")
    assert answer.status == 502
    assert answer.header("x-shadowdrift-id") == captured.id
    assert (captured.outcome, captured.status) == ("error", 502)
    assert plane.numbers("proxy_refused_total") == {("upstream_failed",): 1}
    assert plane.number("inference_requests_total", "fraud", "v2", "production", "5xx", "error") == 1


async def test_a_model_that_refuses_connections_is_502_until_it_is_back(serve: Serve, production: Backend) -> None:
    """The next request tries again."""
    plane = await serve()
    await production.stop()
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 502
    await production.start()
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 200


async def test_a_hung_model_is_504_by_the_deadline(serve: Serve, production: Backend) -> None:
    """And its connection is given up."""
    plane = await serve(target={"timeout": 0.2})
    production.script = hang
    async with connected(plane.port) as client:
        answer = await client.ask(request())
    [captured] = await plane.emitter.of_role("production")
    assert answer.status == 504
    assert (captured.outcome, captured.status) == ("timeout", 504)
    assert plane.numbers("proxy_refused_total") == {("upstream_timeout",): 1}
    await until(lambda: production.calls[0].ended.is_set(), what="the upstream's release")


HALVES = {
    "of a length": OK + b"Content-Length: 100\r\n\r\nabc",
    "of chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "of a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "before the last chunk's end": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    "a chunk that is none": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n",
    "of an unknown length": OK + b"\r\nabc",
}
CUTS = [(half, then) for half in HALVES for then in ("close", "reset", "hang") if (half, then) != ("of an unknown length", "close")]  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(("half", "then"), CUTS)
async def test_half_an_answer_never_looks_whole(
    serve: Serve, production: Backend, half: str, then: str, version: str
) -> None:
    """The client's connection breaks; a client of HTTP/1.0, which has no length to count, sees a reset."""
    plane = await serve(target={"timeout": 0.2})
    shown = asyncio.Event()

    async def broken(call: Call) -> None:
        await call.read_body()
        await call.send(HALVES[half])
        await shown.wait()
        await {"close": call.close, "reset": call.reset, "hang": call.gone}[then]()

    production.script = broken
    async with connected(plane.port) as client:
        await client.send(request(version=version))
        if half not in {"a chunk that is none"}:
            assert (await client.head()).status == 200
        shown.set()
        with pytest.raises(ConnectionResetError):
            await client.to_its_end()
    [captured] = await plane.emitter.of_role("production")
    assert captured.outcome == ("timeout" if then == "hang" and half != "a chunk that is none" else "truncated")
    assert captured.status == 200


async def test_a_pooled_connection_that_closed_meanwhile_costs_nothing(serve: Serve, production: Backend) -> None:
    """The model closes it at the very request: tried once more on a fresh one, and counted."""
    plane = await serve()
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 200
        production.script = _first_on_a_used_connection(production, "close")
        answer = await client.ask(request(body=b"again"))
    assert (answer.status, answer.body) == (200, b"again")
    assert plane.number("proxy_upstream_retries_total", "fraud") == 1
    assert plane.numbers("proxy_refused_total") == {}


async def test_a_streamed_body_is_sent_again_whole(serve: Serve, production: Backend) -> None:
    """What had come before the break and what comes after it, each once and in order."""
    plane = await serve()
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 200
        production.script = _first_on_a_used_connection(production, "reset")
        await client.send(b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await plane.reaches(1, "proxy_upstream_retries_total", "fraud")
        await client.send(b"3\r\ndef\r\n0\r\n\r\n")
        assert (await client.answer()).body == b"abcdef"


async def test_a_connection_that_closes_again_is_502(serve: Serve, production: Backend) -> None:
    """Once more means once."""
    plane = await serve()
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 200
        production.script = sends(b"", then="reset")
        assert (await client.ask(request())).status == 502
    assert plane.number("proxy_upstream_retries_total", "fraud") == 1
    assert len(production.calls) == 3


async def test_a_request_that_is_not_kept_whole_is_not_sent_again(serve: Serve, production: Backend) -> None:
    """Above what is kept of a body the client is told."""
    plane = await serve()
    body = bytes(300_000)
    async with connected(plane.port) as client:
        assert (await client.ask(request("PUT"))).status == 200
        production.script = _first_on_a_used_connection(production, "reset")
        assert (await client.ask(request("PUT", body=body))).status == 502
    assert plane.number("proxy_upstream_retries_total", "fraud") == 0


async def test_a_connection_with_more_than_its_answer_is_not_used_again(serve: Serve, production: Backend) -> None:
    """Nobody gets another's answer."""
    plane = await serve()
    production.script = sends(answer_bytes(body=b"mine") + answer_bytes(body=b"poison"), then="keep")
    async with connected(plane.port) as client:
        for _ in range(3):
            assert (await client.ask(request())).body == b"mine"
    assert production.connections == 3


async def test_a_kept_connection_that_says_something_unasked_is_closed(serve: Serve, production: Backend) -> None:
    """Between two requests there is nothing to say."""
    plane = await serve()
    call_ended = asyncio.Event()

    async def talkative(call: Call) -> None:
        await call.answer(200, b"mine")
        await call_ended.wait()
        await call.send(answer_bytes(body=b"poison"))
        await call.gone()

    production.script = talkative
    async with connected(plane.port) as client:
        assert (await client.ask(request())).body == b"mine"
        call_ended.set()
        await until(lambda: production.calls[0].ended.is_set(), what="the end of a connection that talks")
        production.script = answers(body=b"next")
        assert (await client.ask(request())).body == b"next"


# The client gone, in each phase.


def _connecting(plane: Plane) -> bool:
    return plane.number("inference_in_flight", "fraud", "v2", "production") > 0


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("phase", ["in the body", "waiting", "in the answer", "in the pipeline"])
async def test_a_client_that_goes_releases_the_model(serve: Serve, production: Backend, phase: str, how: str) -> None:
    """The upstream connection is closed, the exchange recorded as the client's doing, nothing stays open."""
    plane = await serve()

    async def model(call: Call) -> None:
        if phase == "in the answer":
            await call.send(OK + b"Content-Length: 100\r\n\r\nabc")
        await call.gone()

    production.script = model
    raw = request()[:-1] if phase == "in the body" else request() * (3 if phase == "in the pipeline" else 1)
    async with connected(plane.port) as client:
        await client.send(raw)
        if phase == "in the answer":
            assert (await client.head()).status == 200
        await until(lambda: production.calls, what="the request")
        client.reset() if how == "reset" else client.close()
        await until(lambda: production.calls[0].ended.is_set(), what="the upstream's release")
    count = 3 if phase == "in the pipeline" else 1
    captured = await plane.emitter.of_role("production", count)
    assert [one.outcome for one in captured] == ["client_closed"] * count
    assert captured[0].status == (200 if phase == "in the answer" else None)
    assert plane.number("proxy_connections") == 0
    assert len(production.calls) == 1


async def test_clients_that_come_and_go_leave_no_descriptor_behind(serve: Serve, production: Backend) -> None:
    """Two hundred of them, while the model hangs."""
    production.script = hang
    plane = await serve(target={"timeout": 20})
    before = _descriptors()

    async def come_and_go() -> None:
        async with connected(plane.port) as client:
            await client.send(request())
            await until(lambda: _connecting(plane), what="the request under way")
            client.reset()

    await asyncio.gather(*(come_and_go() for _ in range(200)))
    await until(lambda: not _connecting(plane), what="the end of all")
    await until(lambda: _descriptors() <= before, what="every descriptor's return")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_drain_serves_what_was_accepted(serve: Serve, production: Backend) -> None:
    """A request under way is answered whole, one on an idle connection is the last there, and their events are kept."""
    plane = await serve()
    release = asyncio.Event()

    async def slow(call: Call) -> None:
        await release.wait()
        await echo(call)

    production.script = slow
    async with connected(plane.port) as busy, connected(plane.port) as idle:
        await busy.send(request(body=b"last"))
        await until(lambda: production.calls, what="the request")
        stopping = asyncio.ensure_future(plane.stop(within=10))
        await until(lambda: plane.plane.draining, what="the drain")
        release.set()
        answer = await busy.answer()
        assert answer.body == b"last"
        assert await busy.rest() == b""
        answer = await idle.ask(request(body=b"on its way already"))
        assert (answer.body, answer.header("connection")) == (b"on its way already", "close")
        assert await idle.rest() == b""
        await stopping
    assert len(await plane.emitter.of_role("production", 2)) == 2


async def test_a_drain_ends_at_its_deadline_and_records_what_it_cut(serve: Serve, production: Backend) -> None:
    """A hung model does not hold a stop up, and its exchange is not forgotten."""
    plane = await serve()
    production.script = hang
    async with connected(plane.port) as client:
        await client.send(request())
        await until(lambda: production.calls, what="the request")
        await plane.stop(within=0.1)
        with pytest.raises(BrokenOffError):
            await client.answer()
    [captured] = await plane.emitter.of_role("production")
    assert captured.outcome == "client_closed"
    assert plane.numbers("events_lost_total") == {}


def _first_on_a_used_connection(production: Backend, how: str):  # type: ignore[no-untyped-def]
    """The next request finds its connection closing; every later one is echoed."""
    struck = False

    async def script(call: Call) -> None:
        nonlocal struck
        if struck:
            await echo(call)
            return
        struck = True
        with contextlib.suppress(ConnectionError):
            await (call.close() if how == "close" else call.reset())

    return script
