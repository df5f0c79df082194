"""Requests to speak another protocol: WebSocket is tunnelled, any other is declined without a word."""

from __future__ import annotations

import asyncio
import socket

import pytest

import proxy.traffic.tunnel
from tests.proxy.conftest import Serve
from tests.support.backend import Backend, Call, echo, hang, sends
from tests.support.raw_client import Client, connected, request
from tests.support.waiting import until

ASK = (
    b"GET /live HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


async def switches(call: Call) -> None:
    """A script: switch, greet in the same breath, then send back in capitals whatever comes, to its end."""
    await call.send(SWITCH + b"welcome ")
    while data := await call.read_some():
        await call.send(data.upper())
    await call.send(b"bye")
    await call.close()


async def tunnelled(client: Client, early: bytes = b"") -> None:
    """Ask for WebSocket, and check that the model's consent comes as it was sent."""
    await client.send(ASK + early)
    answer = await client.head()
    assert answer.status == 101
    assert answer.header("upgrade") == "websocket"
    assert answer.header("connection") == "Upgrade"
    assert answer.header("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


async def test_a_websocket_passes_both_ways_unread(serve: Serve, production: Backend) -> None:
    """Also what each side says before the other has spoken; each may end its half first."""
    plane = await serve(inference={"methods": ["GET"]}, mirror={"fraction": 1})
    production.script = switches
    async with connected(plane.port) as client:
        await tunnelled(client, b"early ")
        assert await client.some(14) == b"welcome EARLY "
        await client.send(b"POST / HTTP/1.1\r\n\r\n")  # no longer HTTP to anybody here
        assert await client.some(19) == b"POST / HTTP/1.1\r\n\r\n"
        client.end_sending()
        assert await client.to_its_end() == b"bye"
    [call] = production.calls
    assert call.header(b"upgrade") == b"websocket"
    assert call.header(b"connection") == b"Upgrade"
    assert call.header(b"sec-websocket-key") is not None
    await until(lambda: plane.number("proxy_connections") == 0 and not production.open, what="both ends' release")
    assert plane.numbers("inference_requests_total") == {}
    assert plane.numbers("mirror_sampled_total") == {}


async def test_a_slow_reader_of_a_tunnel_holds_its_sender_back(serve: Serve, production: Backend) -> None:
    """64 MiB do not gather in memory: the model can send no more than what the buffers hold."""
    plane = await serve()
    sent = 0

    async def pours(call: Call) -> None:
        nonlocal sent
        await call.send(SWITCH)
        for _ in range(1024):
            await call.send(b"x" * 65536)
            sent += 65536
        await call.close()

    production.script = pours
    async with connected(plane.port) as client:
        await tunnelled(client)
        client.stop_reading()
        looks: list[int] = []
        # Until the buffers between the two are full: a dozen looks, a fifth of a second, see nothing more sent.
        await until(lambda: looks.append(sent) or (sent and looks[-12:] == [sent] * 12), what="a sender held back")
        assert sent < 32 * 2**20
        client.go_on_reading()
        assert len(await client.to_its_end()) == 1024 * 65536


@pytest.mark.parametrize("who", ["client", "model"])
async def test_an_end_that_breaks_ends_the_other(serve: Serve, production: Backend, who: str) -> None:
    """A reset on either side releases both."""
    plane = await serve()
    breaks = asyncio.Event()

    async def switches_and_breaks(call: Call) -> None:
        await call.send(SWITCH)
        await breaks.wait()
        await (call.reset() if who == "model" else call.gone())

    production.script = switches_and_breaks
    async with connected(plane.port) as client:
        await tunnelled(client)
        breaks.set()
        if who == "client":
            client.reset()
        else:
            assert await client.rest() == b""
        await until(lambda: plane.number("proxy_connections") == 0 and not production.open, what="both ends' release")


async def test_a_silent_tunnel_ends_by_a_deadline(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a client that went away without a word would hold two descriptors for ever."""
    monkeypatch.setattr(proxy.traffic.tunnel, "IDLE_SECONDS", 0.2)
    plane = await serve()
    production.script = switches
    async with connected(plane.port) as client:
        await tunnelled(client)
        assert (await client.rest()).startswith(b"welcome")
    assert plane.number("proxy_connections") == 0


async def test_a_tunnel_goes_on_while_its_worker_drains_and_is_cut_at_the_deadline(
    serve: Serve, production: Backend
) -> None:
    """Nobody can tell when a conversation is over."""
    plane = await serve()
    production.script = switches
    async with connected(plane.port) as client:
        await tunnelled(client)
        stopping = asyncio.create_task(plane.stop(within=0.5))
        await until(lambda: plane.plane.draining, what="the drain")
        await client.send(b"still here")
        assert await client.some(18) == b"welcome STILL HERE"
        await stopping
        assert await client.rest() == b""


async def test_a_model_may_decline(serve: Serve, production: Backend) -> None:
    """Its answer is an ordinary one, and the next request follows on the same connection, sent ahead or not."""
    plane = await serve()
    production.script = sends(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno", then="keep")
    async with connected(plane.port) as client:
        await client.send(ASK + request() + request())
        for _ in range(3):
            answer = await client.answer()
            assert (answer.status, answer.body) == (426, b"no")
        assert (await client.ask(request())).status == 426
    assert [call.method for call in production.calls] == [b"GET", b"POST", b"POST", b"POST"]


DECLINED = {
    "HTTP/2 in clear": ("h2c", "Upgrade, HTTP2-Settings", "POST"),
    "a choice": ("h2c, websocket", "Upgrade", "POST"),
    "something new": ("foo/2", "upgrade", "POST"),
    "WebSocket with a body": ("websocket", "Upgrade", "POST"),
    "an upgrade that Connection does not name": ("websocket", "keep-alive", "GET"),
    "HTTP/2 without a body": ("h2c", "Upgrade", "GET"),
    # What a Connection header's option may look like is one matter here; a tunnel that the parser knows nothing of
    # would pass on what comes behind as if it were parsed.
    "an upgrade with a parameter": ("websocket", "upgrade;x", "GET"),
}


@pytest.mark.parametrize("chunks", [0, 2])
@pytest.mark.parametrize("case", DECLINED)
async def test_any_other_protocol_is_declined_and_the_request_served(
    serve: Serve, production: Backend, case: str, chunks: int
) -> None:
    """As HTTP/1.1 allows; the model never hears of it, so that no request can be hidden in another protocol."""
    protocol, connection, method = DECLINED[case]
    plane = await serve()
    production.script = echo
    headers = (f"Connection: {connection}", f"Upgrade: {protocol}", "HTTP2-Settings: AAMAAABkAAQAAP__")
    body = None if method == "GET" else b"hello"
    raw = request(method, headers=headers, body=body, chunks=chunks if body else 0)
    async with connected(plane.port) as client:
        for piece in (raw + request(body=b"next"), raw[:-3], raw[-3:], request(body=b"next")):
            await client.send(piece)
        bodies = [(await client.answer()).body for _ in range(4)]
    assert bodies == [body or b"", b"next"] * 2
    for call in production.calls:
        assert call.header(b"upgrade") is None
        assert call.header(b"connection") is None


async def test_the_first_words_of_a_model_do_not_undo_its_pause(serve: Serve, production: Backend) -> None:
    """What comes with its consent may fill the client's buffer already; then nothing more is read of it."""
    plane = await serve()
    sent = 0

    async def pours(call: Call) -> None:
        nonlocal sent
        await call.send(SWITCH + b"x" * 30_000)
        for _ in range(1024):
            await call.send(b"x" * 65536)
            sent += 65536
        await call.close()

    production.script = pours
    async with connected(plane.port) as client:
        client.stop_reading()
        await until(lambda: plane.plane.clients, what="the client")
        [connection] = plane.plane.clients
        transport = connection._transport  # type: ignore[attr-defined]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        transport.set_write_buffer_limits(high=1024)
        await client.send(ASK)
        looks: list[int] = []
        await until(lambda: looks.append(sent) or (sent and looks[-12:] == [sent] * 12), what="a sender held back")
        assert transport.get_write_buffer_size() < 2**20
        assert sent < 32 * 2**20


async def test_a_tunnel_whose_end_nobody_takes_is_cut(
    serve: Serve, production: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads nothing would hold its descriptor, and what was meant for it, for ever."""
    monkeypatch.setattr(proxy.traffic.tunnel, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(proxy.traffic.tunnel, "FLUSH_SECONDS", 0.2)
    plane = await serve()

    async def pours(call: Call) -> None:
        await call.send(SWITCH + b"x" * 8_000_000)

    production.script = pours
    async with connected(plane.port) as client:
        await client.send(ASK)
        await client.head()
        client.stop_reading()
        await until(lambda: plane.number("proxy_connections") == 0, what="the tunnel's end")


async def test_a_client_whose_model_never_switches_reads_why(serve: Serve, production: Backend) -> None:
    """What it has sent meanwhile is unread, and must not turn the answer into a reset."""
    plane = await serve(target={"timeout": 0.3})
    production.script = hang
    async with connected(plane.port) as client:
        await client.send(ASK + b"early")
        await until(lambda: production.calls, what="the request at the model")
        await client.send(b"and more")
        assert (await client.answer()).status == 504
        assert await client.to_its_end() == b""


@pytest.mark.parametrize("upgrade", ["h2c", "websocket, h2c", "websocket\r\nUpgrade: h2c"])
async def test_a_switch_to_another_protocol_than_was_asked_for_is_malformed(
    serve: Serve, production: Backend, upgrade: str
) -> None:
    """The client would be told that it is WebSocket."""
    plane = await serve()
    raw = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n"
    production.script = sends(raw.encode(), then="hang")
    async with connected(plane.port) as client:
        await client.send(ASK)
        assert (await client.answer()).status == 502
    await until(lambda: production.calls[0].ended.is_set(), what="the model's release")


async def test_a_refused_head_request_that_asked_for_an_upgrade_gets_no_body(serve: Serve) -> None:
    """Its body is read by another parser, which knows nothing of its method."""
    plane = await serve()
    headers = ("Connection: Upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked")
    async with connected(plane.port) as client:
        answer = await client.ask(request("HEAD", headers=headers, body=None) + b"xyz\r\n")
        assert answer.status == 400
        assert await client.to_its_end() == b""
