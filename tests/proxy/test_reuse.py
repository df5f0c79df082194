"""A kept connection to the model carries one request after the other: nothing of one may reach the next."""

from __future__ import annotations

import asyncio

import pytest

from tests.proxy.conftest import Serve
from tests.support.backend import Backend, Call, answer_bytes, answers, sends
from tests.support.hostile import Visit, connections_to, hostile
from tests.support.raw_client import connected, request
from tests.support.waiting import until

OK = b"HTTP/1.1 200 OK\r\n"


async def test_a_chunked_body_ends_once_whatever_is_read_behind_it(serve: Serve, production: Backend) -> None:
    """Each read used to send the last chunk once more: five bytes that a model takes for the next request's."""
    plane = await serve()
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def dawdles(call: Call) -> None:
        await call.read_body()
        asked.set()
        await go_on.wait()
        await call.answer(200, call.body)

    production.script = dawdles
    async with connected(plane.port) as client:
        await client.send(request(body=b"one", chunks=1))
        await asked.wait()
        following = request(body=b"two", chunks=1)
        for index in range(20):  # reads that come while the first waits for its answer
            await client.send(following[index : index + 1])
            await asyncio.sleep(0)
        [connection] = plane.plane.clients
        await until(lambda: len(connection._target) > 5, what="a part of the next head")  # type: ignore[attr-defined]
        go_on.set()
        await client.send(following[20:])
        assert [(await client.answer()).body for _ in range(2)] == [b"one", b"two"]
    assert [call.method for call in production.calls] == [b"POST", b"POST"]
    assert production.connections == 1


BEHIND_A_HEAD = {
    "an answer": answer_bytes(200, b"not yours"),
    "the last chunk": b"0\r\n\r\n",
    "a piece of a body": b"x",
}


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("case", BEHIND_A_HEAD)
async def test_a_body_where_none_belongs_ends_the_connection(
    serve: Serve, production: Backend, case: str, method: str
) -> None:
    """The rest of it would be taken for the next request's answer."""
    plane = await serve()
    status = b"HTTP/1.1 204 No Content\r\n\r\n" if method == "GET" else OK + b"Content-Length: 100\r\n\r\n"
    production.script = sends(status + BEHIND_A_HEAD[case], then="keep")
    async with connected(plane.port) as client:
        assert (await client.ask(request(method, body=None))).body == b""
        production.script = answers(body=b"good")
        assert (await client.ask(request())).body == b"good"
    assert production.connections == 2


@pytest.mark.parametrize("cut", range(-5, 0))
async def test_a_connection_is_kept_after_an_answer_to_head_however_it_arrives(
    serve: Serve, production: Backend, cut: int
) -> None:
    """Also when the empty line that ends it comes in two reads."""
    plane = await serve()
    raw = OK + b"Content-Length: 100\r\n\r\n"
    halfway = asyncio.Event()

    async def in_two(call: Call) -> None:
        await call.send(raw[:cut])
        await halfway.wait()
        await call.send(raw[cut:])

    production.script = in_two
    async with connected(plane.port) as client:
        asking = asyncio.ensure_future(client.ask(request("HEAD", body=None)))
        await until(lambda: any(one.answered for one in plane.plane.plans.all[0].route(b"").pool._open), what="a half")
        halfway.set()
        assert (await asking).header("content-length") == "100"
        production.script = answers(body=b"good")
        assert (await client.ask(request())).body == b"good"
    assert production.connections == 1


LAST_ANSWERS = {
    "a trailer that closes": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nConnection: close\r\n\r\n",
    "a trailer that names a coding": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n",
    # RFC 9112, 6.1: its framing is not to be trusted.
    "chunks of HTTP/1.0": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("case", LAST_ANSWERS)
async def test_a_connection_whose_answer_is_its_last_is_not_used_again(
    serve: Serve, production: Backend, case: str
) -> None:
    """Or the next request would fail, and could not be tried again: something has been answered."""
    plane = await serve()
    production.script = sends(LAST_ANSWERS[case], then="keep")
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 200
        assert (await client.ask(request())).status == 200
    assert production.connections == 2


async def test_a_model_that_answers_and_takes_no_more_is_let_go(serve: Serve) -> None:
    """What it will never read must not hold the connection, and itself, for ever."""

    async def refuses(visit: Visit) -> None:
        await visit.head()
        await visit.send(answer_bytes(413, b"too much"))
        await visit.stay()

    async with hostile(refuses) as server:
        plane = await serve(target={"url": f"http://127.0.0.1:{server.port}"})
        async with connected(plane.port) as client:
            sending = asyncio.ensure_future(client.send(request(body=bytes(20_000_000))))
            assert (await client.answer()).body == b"too much"
            client.reset()
            await sending
        await until(lambda: not connections_to(server.port), what="the model's release")
