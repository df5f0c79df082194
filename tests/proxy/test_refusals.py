"""What the proxy answers itself: raw bytes, the status they get, and the reason under which it is counted."""

from __future__ import annotations

import asyncio

import pytest

import proxy.traffic.patience
from tests.proxy.conftest import Serve
from tests.support.backend import Backend, Call
from tests.support.raw_client import connected, request
from tests.support.waiting import until

START = b"POST /predict HTTP/1.1\r\nHost: a\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    # Two framings, or one that cannot be trusted.
    "length and chunked": (START + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and length": (START + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (START + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "two equal lengths": (START + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "a list of lengths": (START + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "a signed length": (START + b"Content-Length: +3\r\n\r\nabc", 400),
    "a negative length": (START + b"Content-Length: -3\r\n\r\nabc", 400),
    "a hexadecimal length": (START + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "an empty length": (START + b"Content-Length: \r\n\r\n", 400),
    "a length without end": (START + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "an unknown coding": (START + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    "a coding before chunked": (START + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "a coding after chunked": (START + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    "identity": (START + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "chunked twice": (START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "no coding at all": (START + b"Transfer-Encoding:\r\n\r\n", 400),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a blank before the colon": (START + b"Content-Length : 3\r\n\r\nabc", 400),
    "a folded header": (START + b"X-A: b\r\n c\r\n\r\n", 400),
    "a folded framing": (START + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    "a bare line feed": (b"POST / HTTP/1.1\nHost: a\n\n", 400),
    "a bare line feed in a header": (START + b"X-A: b\nContent-Length: 3\r\n\r\nabc", 400),
    "a bare carriage return": (START + b"X-A: b\rContent-Length: 3\r\n\r\nabc", 400),
    "a zero byte": (START + b"X-A: b\0c\r\n\r\n", 400),
    "a control character": (START + b"X-A: b\x7fc\r\n\r\n", 400),
    # Chunks. The request has begun, and the model never gets the rest of it.
    "a chunk's size in words": (CHUNKED + b"three\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk's size with 0x": (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk's size without end": (CHUNKED + b"fffffffffffffffff\r\n", 400),
    "a chunk longer than its size": (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    "a chunk ended by a line feed": (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    "an extension with a line feed": (CHUNKED + b"3;a\nabc\r\n0\r\n\r\n", 400),
    "an extension without end": (CHUNKED + b"3;" + b"a" * 400_000, 431),
    "a trailer without end": (CHUNKED + b"0\r\nX-T: " + b"a" * 400_000, 431),
    "trailers without end": (CHUNKED + b"0\r\n" + b"X-T: a\r\n" * 50_000, 431),
    # The head.
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "a host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a host with a user": (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    "a host with a blank": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "no version, and no empty line": (b"GET /\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "version 2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    "version 1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    "an unknown method": (b"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "a method in small letters": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01", 400),
    "a header without a name": (START + b": a\r\n\r\n", 400),
    "a header without a colon": (START + b"abc\r\n\r\n", 400),
    "a target that is no path": (b"GET predict HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target of another scheme": (b"GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a fragment": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bytes above ASCII in the path": (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "OPTIONS of the server with a path": (b"OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "any other method of the server": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target with a user": (b"GET http://u:p@a/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target without a host": (b"GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a host with two ports": (b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400),
    "a length that CGI would take for one": (START + b"Content_Length: 3\r\n\r\n", 400),
    "a coding that CGI would take for one": (START + b"Transfer_Encoding: chunked\r\n\r\n", 400),
    "a mark that CGI would take for ours": (START + b"X_Shadow: true\r\n\r\n", 400),
    "a head of many headers": (START + b"X-A: b\r\n" * 9_000 + b"\r\n", 431),
    "a header without end": (START + b"X-A: " + b"b" * 400_000, 431),
    "a path without end": (b"GET /" + b"a" * 400_000, 431),
    "empty lines without end": (b"\r\n" * 40_000, 431),
    # Limits.
    "a length above the limit": (START + b"Content-Length: 100001\r\n\r\n", 413),
    "chunks above the limit": (CHUNKED + b"30d40\r\n" + b"a" * 200_000, 413),
}
REASONS = {400: "bad_request", 413: "body_too_large", 431: "head_too_large", 501: "not_implemented"}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_not_plain_http_is_refused(serve: Serve, production: Backend, case: str) -> None:
    """A short JSON answer that echoes nothing, a counter with its reason, the end, and nothing for the model."""
    raw, status = REFUSED[case]
    plane = await serve(proxy={"limits": {"body_bytes": 100_000}})
    async with connected(plane.port) as client:
        await client.send(raw)
        answer = await client.answer("GET")
        await client.send(request())
        assert await client.rest() == b""
    assert answer.status == status
    assert answer.header("connection") == "close"
    assert answer.header("content-type") == "application/json"
    assert answer.body.startswith(b'{"error": "')
    assert plane.numbers("proxy_refused_total") == {(REASONS[status],): 1}
    assert not [call for call in production.calls if call.body_read.is_set()]
    await until(lambda: all(call.ended.is_set() for call in production.calls), what="the upstream's release")


@pytest.mark.parametrize("cut", [1, 3, 16, 400])
@pytest.mark.parametrize("case", ["length and chunked", "a folded header", "a trailer without end", "CONNECT"])
async def test_a_refusal_does_not_depend_on_how_the_bytes_arrive(serve: Serve, case: str, cut: int) -> None:
    """In small pieces too."""
    raw, status = REFUSED[case]
    cut = cut if len(raw) < 10_000 else cut * 10_000
    plane = await serve()
    async with connected(plane.port) as client:
        for start in range(0, len(raw), cut):
            await client.send(raw[start : start + cut])
            await asyncio.sleep(0)  # a turn of the loop, in which it is read
        assert (await client.answer("GET")).status == status


async def test_requests_before_a_refused_one_are_answered_first(serve: Serve, production: Backend) -> None:
    """In their order; nothing behind it is read."""
    plane = await serve()
    async with connected(plane.port) as client:
        await client.send(request() * 3 + REFUSED["length and chunked"][0] + request())
        assert [(await client.answer()).status for _ in range(4)] == [200, 200, 200, 400]
        assert await client.rest() == b""
    assert len(production.calls) == 3


async def test_a_path_of_no_model_is_not_found(serve: Serve, production: Backend) -> None:
    """The prefix ends at a slash."""
    plane = await serve(path_prefix="/fraud")
    statuses = {}
    for path in ("/fraud", "/fraud/x", "/fraudulent", "/", "/other"):
        async with connected(plane.port) as client:
            statuses[path] = (await client.ask(request(path=path))).status
    assert statuses == {"/fraud": 200, "/fraud/x": 200, "/fraudulent": 404, "/": 404, "/other": 404}
    assert plane.number("proxy_refused_total", "no_model") == 3
    assert [call.target for call in production.calls] == [b"/fraud", b"/fraud/x"]


async def test_a_refused_head_request_gets_no_body(serve: Serve) -> None:
    """Its Content-Length tells what a GET would have got."""
    plane = await serve(path_prefix="/fraud")
    async with connected(plane.port) as client:
        answer = await client.ask(request("HEAD", "/other", None))
        assert (answer.status, answer.body) == (404, b"")
        assert await client.rest() == b""


async def test_a_slow_head_ends_with_408(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections hold one."""
    monkeypatch.setattr(proxy.traffic.patience, "HEAD_SECONDS", 0.2)
    plane = await serve()
    async with connected(plane.port) as client:
        await client.send(START)
        assert (await client.answer()).status == 408
    assert plane.number("proxy_refused_total", "slow_request") == 1


async def test_a_slow_body_ends_with_408_and_releases_the_model(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model must not take what has come for the whole."""
    monkeypatch.setattr(proxy.traffic.patience, "BODY_SECONDS", 0.2)
    plane = await serve()
    async with connected(plane.port) as client:
        await client.send(START + b"Content-Length: 100\r\n\r\nabc")
        assert (await client.answer()).status == 408
    await until(lambda: production.calls[0].ended.is_set(), what="the upstream's release")
    [captured] = await plane.emitter.of_role("production")
    assert (captured.outcome, captured.status, captured.request_truncated) == ("client_closed", None, True)


async def test_an_idle_connection_is_closed_in_silence(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never asked, and one that has been served."""
    monkeypatch.setattr(proxy.traffic.patience, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(proxy.traffic.patience, "IDLE_SECONDS", 0.2)
    plane = await serve()
    async with connected(plane.port) as never, connected(plane.port) as served:
        assert (await served.ask(request())).status == 200
        assert await never.rest() == await served.rest() == b""
    assert plane.numbers("proxy_refused_total") == {}


async def test_a_client_that_keeps_its_refused_connection_open_is_cut(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an answer that came before the request was whole, silence has an end."""
    monkeypatch.setattr(proxy.traffic.patience, "LINGER_SECONDS", 0.1)
    plane = await serve()

    async def early(call: Call) -> None:
        await call.send(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        await call.gone()

    production.script = early
    async with connected(plane.port) as client:
        await client.send(START + b"Content-Length: 100\r\n\r\nabc")
        assert (await client.answer()).status == 413
        await until(lambda: plane.number("proxy_connections") == 0, what="the end of a silent client")


async def test_a_client_that_never_reads_its_last_answer_is_cut(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing waits for what is written, but not for ever."""
    monkeypatch.setattr(proxy.traffic.patience, "FLUSH_SECONDS", 0.2)
    monkeypatch.setattr(proxy.traffic.patience, "IDLE_SECONDS", 0.2)
    plane = await serve(target={"timeout": 0.5})

    async def big(call: Call) -> None:
        await call.answer(200, bytes(8_000_000))

    production.script = big
    async with connected(plane.port) as client:
        client.stop_reading()
        await client.send(request())
        await until(lambda: plane.number("proxy_connections") == 1, what="the client")
        await until(lambda: plane.number("proxy_connections") == 0, what="the end of a client that does not read")
    [captured] = await plane.emitter.of_role("production")
    assert captured.outcome == "client_closed"
