"""What the client sent reaches the model, and what the model answered reaches the client: byte for byte, in order."""

from __future__ import annotations

import asyncio
import random
import resource
import socket

import pytest

from proxy.http.upstream import UpstreamConnection
from tests.proxy.conftest import Serve
from tests.support.backend import Backend, Call, answer_bytes, answers, chunked, echo, sends
from tests.support.hostile import Visit, hostile
from tests.support.raw_client import connected, request
from tests.support.waiting import until

SIZES = (0, 1, 65535, 65536, 65537, 1024 * 1024 + 1, 5_000_000)


def noise(size: int) -> bytes:
    """Bytes of every value, the same each time."""
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunks", [0, 1, 7], ids=["length", "one chunk", "chunks"])
async def test_a_body_arrives_as_it_was_sent(serve: Serve, production: Backend, size: int, chunks: int) -> None:
    """Both ways, with either framing, on one connection that is used again."""
    plane = await serve()
    production.script = echo
    body = noise(size)
    async with connected(plane.port) as client:
        for _ in range(2):
            answer = await client.ask(request(body=body, chunks=chunks))
            assert answer.status == 200
            assert answer.body == body
    framing = production.calls[0].header(b"content-length")
    assert framing == (None if chunks else b"%d" % size)
    assert production.connections == 1


@pytest.mark.parametrize("size", SIZES)
async def test_a_chunked_answer_arrives_as_it_was_sent(serve: Serve, production: Backend, size: int) -> None:
    """Re-framed, with the same bytes."""
    plane = await serve()
    body = noise(size)
    pieces = [body[start : start + 100_000] for start in range(0, size, 100_000)]
    production.script = sends(chunked(*pieces), then="keep")
    async with connected(plane.port) as client:
        assert (await client.ask(request())).body == body
        assert (await client.ask(request())).body == body


async def test_an_answer_that_ends_with_its_connection_is_framed_for_the_client(
    serve: Serve, production: Backend
) -> None:
    """A model without a length costs the client neither its connection nor the certainty that all has come."""
    plane = await serve()
    production.script = sends(b"HTTP/1.1 200 OK\r\n\r\n" + noise(100_000))
    async with connected(plane.port) as client:
        for _ in range(2):
            answer = await client.ask(request())
            assert answer.header("transfer-encoding") == "chunked"
            assert answer.body == noise(100_000)


async def test_twenty_pipelined_requests_are_answered_in_their_order(serve: Serve, production: Backend) -> None:
    """All in one write, with bodies in both framings; the model sees one after the other."""
    plane = await serve()
    production.script = echo
    async with connected(plane.port) as client:
        await client.send(b"".join(request(body=b"%d" % index, chunks=index % 2) for index in range(20)))
        assert [(await client.answer()).body for _ in range(20)] == [b"%d" % index for index in range(20)]
    assert [call.body for call in production.calls] == [b"%d" % index for index in range(20)]


async def test_a_pipelined_request_has_its_whole_time(serve: Serve, production: Backend) -> None:
    """Its deadline begins with its turn, not while those before it are served."""
    plane = await serve(target={"timeout": 0.4})
    plenty = 6

    async def slowly(call: Call) -> None:
        await asyncio.wait({asyncio.ensure_future(call.gone())}, timeout=0.12)
        await call.answer()

    production.script = slowly
    async with connected(plane.port) as client:
        await client.send(request("GET", body=None) * plenty)
        assert [(await client.answer()).status for _ in range(plenty)] == [200] * plenty


async def test_more_requests_at_once_than_are_taken_are_refused_after_those_before(serve: Serve) -> None:
    """One read brings thousands of small requests; what is made of them is bounded."""
    plane = await serve()
    async with connected(plane.port) as client:
        await client.send(request("GET", "/", None) * 400)
        statuses = [(await client.answer()).status for _ in range(257)]
        assert statuses == [200] * 256 + [400]
        assert await client.rest() == b""


async def test_a_client_of_http_1_0_gets_an_answer_that_ends_with_the_connection(
    serve: Serve, production: Backend
) -> None:
    """It knows no chunks."""
    plane = await serve()
    production.script = sends(chunked(b"one", b"two"), then="keep")
    async with connected(plane.port) as client:
        answer = await client.ask(request(version="1.0"))
        assert (answer.body, answer.header("transfer-encoding")) == (b"onetwo", None)
        assert answer.header("connection") == "close"
        assert await client.rest() == b""


BODYLESS = {
    "HEAD with a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", "HEAD", "500"),
    "HEAD of a chunked answer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", None),
    "HEAD without either": (b"HTTP/1.1 200 OK\r\n\r\n", "HEAD", None),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "POST", None),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "POST", None),
    "304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "GET", None),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", "GET", "500"),
}


@pytest.mark.parametrize("case", BODYLESS)
async def test_an_answer_without_a_body_has_none(serve: Serve, production: Backend, case: str) -> None:
    """And the connection goes on with the next request."""
    raw, method, length = BODYLESS[case]
    plane = await serve()
    production.script = sends(raw, then="keep")
    body = None if method != "POST" else b"{}"
    async with connected(plane.port) as client:
        for _ in range(3):
            answer = await client.ask(request(method, body=body))
            assert answer.header("content-length") == length
            assert answer.header("transfer-encoding") is None


async def test_each_piece_of_a_stream_is_delivered_at_once(serve: Serve, production: Backend) -> None:
    """Server-sent events: the model sends the next only when the client has the one before."""
    plane = await serve()
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def stream(call: Call) -> None:
        await call.read_body()
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for index in range(10):
            data = b"data: %d\n\n" % index
            await call.send(b"%x\r\n%s\r\n" % (len(data), data))
            assert await received.get() == data
        await call.send(b"0\r\n\r\n")

    production.script = stream
    async with connected(plane.port) as client:
        await client.send(request())
        assert (await client.head()).header("content-type") == "text/event-stream"
        for _ in range(10):
            received.put_nowait(await client.chunk())
        assert await client.chunk() == b""


async def test_a_request_streams_to_the_model_before_it_is_whole(serve: Serve, production: Backend) -> None:
    """The model has read one piece before the client sends the next."""
    plane = await serve()
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(call: Call) -> None:
        for _ in range(5):
            seen.put_nowait(await call.read_some())
        await call.send(answer_bytes())

    production.script = take
    async with connected(plane.port) as client:
        await client.send(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        for index in range(5):
            await client.send(b"%d" % index)
            assert await seen.get() == b"%d" % index
        assert (await client.answer()).status == 200


async def test_a_slow_reader_slows_the_model_and_not_the_worker(serve: Serve, production: Backend) -> None:
    """200 MB for a client that does not read: the model stops sending, and the worker holds next to nothing."""
    plane = await serve(capture={"fraction": 0})
    piece, pieces = bytes(65536), 3200
    left: list[int] = []

    async def endless(call: Call) -> None:
        await call.read_body()
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * pieces))
        for index in range(pieces):
            await call.send(piece)
            left.append(index)

    production.script = endless
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with connected(plane.port) as client:
        client.stop_reading()
        await client.send(request())
        counts: list[int] = []

        def stuck() -> bool:
            counts.append(len(left))
            return len(counts) > 10 and 0 < counts[-1] == counts[-10]

        await until(stuck, what="the model to be held back")
        assert len(left) < pieces // 4
        client.go_on_reading()
        head = await client.head()
        for _ in range(pieces):
            assert await client.some(len(piece)) == piece
    assert head.status == 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB: client, worker and model


async def test_a_slow_model_slows_the_client_and_not_the_worker(serve: Serve, production: Backend) -> None:
    """An upload that the model does not take is left in the client's hands, and goes on when it does."""
    plane = await serve()
    release, size = asyncio.Event(), 40_000_000

    async def reluctant(call: Call) -> None:
        await release.wait()
        await call.answer(200, b"%d" % len(await call.read_body()))

    production.script = reluctant
    async with connected(plane.port) as client:
        sending = asyncio.ensure_future(client.send(request(body=bytes(size))))
        await until(lambda: production.calls, what="the request's head")
        done, _ = await asyncio.wait({sending}, timeout=0.3)
        assert not done
        release.set()
        await sending
        assert (await client.answer()).body == b"%d" % size


async def test_the_first_write_of_a_large_body_may_be_too_much_already(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had come before there was a connection is written at once: the pause that this brings must hold."""
    made = UpstreamConnection.connection_made

    def small(self: UpstreamConnection, transport: asyncio.Transport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        transport.set_write_buffer_limits(high=1024)
        made(self, transport)

    monkeypatch.setattr(UpstreamConnection, "connection_made", small)
    async with hostile(Visit.stay) as server:
        plane = await serve(target={"url": f"http://127.0.0.1:{server.port}"})
        pool = plane.plane.plans.all[0].route(b"").pool
        async with connected(plane.port) as client:
            sending = asyncio.ensure_future(client.send(request(body=bytes(40_000_000))))
            await until(lambda: pool._open, what="the connection")
            [connection] = pool._open
            sizes: list[int] = []

            def settled() -> bool:
                sizes.append(connection.transport.get_write_buffer_size())
                return sizes[-1] > 0 and sizes[-12:] == [sizes[-1]] * 12

            await until(settled, what="a client held back")
            assert sizes[-1] < 2**20
            client.reset()
            await sending


async def test_a_connection_is_good_again_after_its_slow_reader(serve: Serve, production: Backend) -> None:
    """A whole answer that came in one read while its client was slow must not leave the connection paused."""
    plane = await serve()
    big = noise(180_000)
    production.script = answers(body=big)
    async with connected(plane.port) as client:
        client.stop_reading()
        await client.send(request() * 40)
        await until(lambda: len(production.calls) > 3, what="answers that nobody reads")
        client.go_on_reading()
        for _ in range(40):
            assert (await client.answer()).body == big
    async with connected(plane.port) as client:
        assert (await client.ask(request())).body == big


async def test_a_kept_connection_serves_the_next_client_of_a_slow_one(serve: Serve, production: Backend) -> None:
    """The answer came whole in one read while its reader was slow: the connection must not stay paused in the pool."""
    plane = await serve()
    production.script = answers(body=noise(200_000))
    async with connected(plane.port) as slow, connected(plane.port) as other:
        slow.stop_reading()
        await until(lambda: plane.number("proxy_connections") == 2, what="both clients")
        for client in plane.plane.clients:
            client._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await slow.send(request())
        await plane.reaches(1, "inference_requests_total", "fraud", "v2", "production", "2xx", "ok")
        for _ in range(2):
            assert (await other.ask(request())).body == noise(200_000)
        slow.go_on_reading()
        assert (await slow.answer()).body == noise(200_000)


async def test_a_client_that_waited_for_the_model_is_read_again(serve: Serve, production: Backend) -> None:
    """A model that answers without taking the rest of a request leaves its client paused no longer."""
    plane = await serve()

    async def half_taken(call: Call) -> None:
        [client] = plane.plane.clients
        client.pause_request(True)
        await call.answer()

    production.script = half_taken
    async with connected(plane.port) as client:
        for _ in range(3):
            assert (await client.ask(request())).status == 200


# What is forwarded.

FORWARDED = {
    "an ordinary header": (["X-Feature: 1"], [(b"X-Feature", b"1")]),
    "its name as it was written": (["x-fEATure: 1"], [(b"x-fEATure", b"1")]),
    "the same name twice": (["X-A: 1", "X-A: 2"], [(b"X-A", b"1"), (b"X-A", b"2")]),
    "an empty value": (["X-A:"], [(b"X-A", b"")]),
    "bytes above ASCII": (["X-A: \xe4\xff"], [(b"X-A", b"\xe4\xff")]),
    "space around a value": (["X-A:  \t b c \t "], [(b"X-A", b"b c")]),
    "credentials for the model": (
        ["Authorization: Bearer s", "Cookie: a=b"],
        [(b"Authorization", b"Bearer s"), (b"Cookie", b"a=b")],
    ),
    "hop by hop": (
        ["Keep-Alive: 5", "Proxy-Connection: x", "Proxy-Authorization: x", "TE: trailers", "Trailer: X-T"],
        [],
    ),
    "what Connection names": (["Connection: close, X-Hop", "X-Hop: 1", "X-Stays: 1"], [(b"X-Stays", b"1")]),
    "Connection twice": (["Connection: X-Hop", "Connection: X-Hip", "X-Hip: 1", "X-Hop: 1"], []),
    "Connection naming the framing": (["Connection: Content-Length, Host, X-Request-Id"], []),
    "the proxy's own marks": (["X-Shadow: true", "X-Shadowdrift-Clone: 1"], []),
}


@pytest.mark.parametrize("case", FORWARDED)
async def test_the_model_gets_these_headers(serve: Serve, production: Backend, case: str) -> None:
    """Host comes from the configuration, the framing is written anew, the id is added; the rest is the table's."""
    headers, expected = FORWARDED[case]
    plane = await serve()
    async with connected(plane.port) as client:
        assert (await client.ask(request(headers=tuple(headers)))).status == 200
    call = production.calls[0]
    assert call.header(b"host") == production.url.removeprefix("http://").encode()
    assert call.header(b"content-length") == b"2"
    assert call.header(b"x-request-id")
    own = {b"host", b"content-length", b"x-request-id"}
    assert [pair for pair in call.headers if pair[0].lower() not in own] == expected


RETURNED = {
    "an ordinary header": ([(b"X-Model", b"a")], [("x-model", "a")]),
    "cookies each for itself": (
        [(b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")],
        [("set-cookie", "a"), ("set-cookie", "b")],
    ),
    "hop by hop": ([(b"Keep-Alive", b"timeout=5"), (b"Proxy-Authenticate", b"x"), (b"Trailer", b"x")], []),
    "what Connection names": ([(b"Connection", b"X-Hop"), (b"X-Hop", b"1"), (b"X-Stays", b"1")], [("x-stays", "1")]),
    "an id that is not ours": ([(b"X-Shadowdrift-Id", b"forged")], []),
    "a content coding": ([(b"Content-Encoding", b"gzip")], [("content-encoding", "gzip")]),
}


@pytest.mark.parametrize("case", RETURNED)
async def test_the_client_gets_these_headers(serve: Serve, production: Backend, case: str) -> None:
    """The model's own, without what belongs to its connection; the exchange's id is the proxy's."""
    headers, expected = RETURNED[case]
    plane = await serve()
    production.script = answers(headers=headers)
    async with connected(plane.port) as client:
        answer = await client.ask(request())
    [captured] = await plane.emitter.of_role("production")
    assert answer.header("x-shadowdrift-id") == captured.id
    own = {"content-length", "date", "x-shadowdrift-id"}
    assert [pair for pair in answer.headers if pair[0] not in own] == expected


IDS = {
    "kept": ("abc.DEF_1-9", True),
    "of 128 characters": ("a" * 128, True),
    "of 129 characters": ("a" * 129, False),
    "empty": ("", False),
    "with a space": ("a b", False),
    "with markup": ("<a>", False),
    "above ASCII": ("\xe4", False),
    "with a trailing blank": ("abc ", True),
}


@pytest.mark.parametrize("case", IDS)
async def test_a_request_id_is_kept_when_it_is_one(serve: Serve, production: Backend, case: str) -> None:
    """Any other is replaced by the exchange's own id, and nothing of it goes on."""
    sent, kept = IDS[case]
    plane = await serve()
    async with connected(plane.port) as client:
        answer = await client.ask(request(headers=(f"X-Request-Id: {sent}",)))
    forwarded = production.calls[0].header(b"x-request-id")
    assert forwarded is not None
    assert forwarded.decode() == (sent.strip() if kept else answer.header("x-shadowdrift-id"))


TARGETS = {
    "/predict?a=b&c=%20d": b"/base/predict?a=b&c=%20d",
    "/predict?": b"/base/predict?",
    "//double//slash": b"/base//double//slash",
    "/a/../b": b"/base/a/../b",
    "/%2e%2e/%00": b"/base/%2e%2e/%00",
    "http://evil.example/predict?x=1": b"/base/predict?x=1",
    "http://evil.example": b"/base/",
    "http://evil.example?x=1": b"/base/?x=1",
    "HTTPS://evil.example:99/p": b"/base/p",
}


@pytest.mark.parametrize("target", TARGETS)
async def test_path_and_query_alone_come_from_the_client(production: Backend, serve: Serve, target: str) -> None:
    """An absolute target names no upstream; the configured base path stands before the client's."""
    plane = await serve(target={"url": production.url + "/base/"})
    async with connected(plane.port) as client:
        assert (await client.ask(request(path=target))).status == 200
    assert production.calls[0].target == TARGETS[target]
    assert production.calls[0].header(b"host") == production.url.removeprefix("http://").encode()


@pytest.mark.parametrize("target", ["*", "http://evil.example"])
async def test_options_of_the_whole_server_reach_the_model_as_such(
    production: Backend, serve: Serve, target: str
) -> None:
    """RFC 9112, 3.2.4; where several models share the proxy, it is the one at the root."""
    plane = await serve(target={"url": production.url + "/base/"})
    async with connected(plane.port) as client:
        assert (await client.ask(request("OPTIONS", target, None))).status == 200
    assert production.calls[0].target == b"*"


async def test_trailers_are_passed_on_behind_the_body(serve: Serve, production: Backend) -> None:
    """Both ways, announced or not; the next request on the connection is none the worse."""
    plane = await serve()

    async def trailing(call: Call) -> None:
        await call.read_body()
        assert call.trailers == [b"X-Checksum: 5"]
        await call.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n\r\n"
        )

    production.script = trailing
    raw = request(chunks=1, headers=("Trailer: X-Checksum",)).removesuffix(b"\r\n") + b"X-Checksum: 5\r\n\r\n"
    async with connected(plane.port) as client:
        for _ in range(2):
            answer = await client.ask(raw)
            assert (answer.body, answer.trailers, answer.header("trailer")) == (b"a", [b"X-T: 1"], "X-T")
    assert production.calls[0].header(b"trailer") == b"X-Checksum"
    assert production.connections == 1


async def test_no_trailer_passes_for_a_header(serve: Serve, production: Backend) -> None:
    """A client could otherwise name its own tenant behind the body, or frame, route or authorise the request."""
    plane = await serve(tenant={"header": "X-Tenant-Id", "allow": ["acme"]})
    production.script = sends(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nSet-Cookie: a\r\nDate: 9\r\n\r\n",
        then="keep",
    )
    names = "X-Tenant-Id", "x-tenant-id", "Content-Type", "Content_Length", "Host", "Authorization"
    names += "X-Request-Id", "X-Shadow", "X-Shadowdrift-Clone", "X-Forwarded-For", "Cookie", "Connection"
    trailers = "".join(f"{name}: acme\r\n" for name in names).encode()
    async with connected(plane.port) as client:
        answer = await client.ask(request(chunks=1).removesuffix(b"\r\n") + trailers + b"\r\n")
        assert (answer.body, answer.trailers) == (b"a", [])
        assert (await client.ask(request())).body == b"a"
    assert production.calls[0].trailers == []
    assert production.calls[0].header(b"x-tenant-id") is None
    assert [captured.tenant for captured in await plane.emitter.of_role("production", 2)] == [None, None]


async def test_a_client_may_wait_to_be_told_to_continue(serve: Serve, production: Backend) -> None:
    """`Expect: 100-continue` goes to the model, its 100 to the client, and the body follows."""
    plane = await serve()

    async def careful(call: Call) -> None:
        assert call.header(b"expect") == b"100-continue"
        await call.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await echo(call)

    production.script = careful
    head, body = request(headers=("Expect: 100-continue",), body=b"hello").split(b"\r\n\r\n")
    async with connected(plane.port) as client:
        for _ in range(2):
            await client.send(head + b"\r\n\r\n")
            assert (await client.head()).status == 100
            await client.send(body)
            assert (await client.answer()).body == b"hello"


async def test_a_client_of_http_1_0_is_never_told_to_continue(serve: Serve, production: Backend) -> None:
    """It does not know interim answers (RFC 9110, 10.1.1)."""
    plane = await serve()
    production.script = echo
    async with connected(plane.port) as client:
        answer = await client.ask(request(headers=("Expect: 100-continue",), body=b"hello", version="1.0"))
    assert answer.body == b"hello"
    assert production.calls[0].header(b"expect") is None


async def test_interim_answers_are_passed_on(serve: Serve, production: Backend) -> None:
    """103 to whoever can read it, 100 to whoever asked for it; the final answer is the answer."""
    plane = await serve()
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nConnection: x-a\r\nX-A: b\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    production.script = sends(interim + answer_bytes(body=b"final"), then="keep")
    async with connected(plane.port) as client:
        for _ in range(2):
            await client.send(request())
            hints = await client.head()
            assert (hints.status, hints.headers) == (103, [("link", "x")])
            answer = await client.answer()
            assert (answer.status, answer.body, answer.header("link")) == (200, b"final", None)
    async with connected(plane.port) as client:
        assert (await client.ask(request(version="1.0"))).body == b"final"


@pytest.mark.parametrize("status", [101, 100])
async def test_interim_answers_that_nobody_can_mean_are_malformed(
    serve: Serve, production: Backend, status: int
) -> None:
    """A switch of protocols that was not asked for, or interim answers without end."""
    plane = await serve()
    production.script = sends(b"HTTP/1.1 %d X\r\n\r\n" % status * (1 if status == 101 else 1000), then="hang")
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 502


async def test_an_answer_before_the_request_is_whole_ends_the_connection_after_it(
    serve: Serve, production: Backend
) -> None:
    """A model that refuses an upload early: the client reads the refusal, and no second request is misread."""
    plane = await serve()

    async def early(call: Call) -> None:
        await call.send(answer_bytes(413, b"too much"))
        await call.gone()

    production.script = early
    async with connected(plane.port) as client:
        await client.send(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
        answer = await client.answer()
        assert (answer.status, answer.body, answer.header("connection")) == (413, b"too much", "close")
        await client.send(request())
        assert await client.rest() == b""
    await until(lambda: production.calls[0].ended.is_set(), what="the upstream's end")
