"""The supervisor's sockets: a quiet one begins no handshake, and resets nobody when it is closed."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from lifecycle.refusal import Refusal
from proxy.listeners import Listeners, quieted
from tests.support.waiting import until

linux = pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")


def connected(port: int) -> socket.socket:
    """A connection that the kernel has made, whether or not anybody accepts it."""
    return socket.create_connection(("127.0.0.1", port), 5)


@linux
async def test_a_quiet_socket_drops_what_would_begin_and_takes_what_has_begun() -> None:
    """Bytes of connections that were there pass, in both directions."""
    listeners = await Listeners.open("proxy.listen", "127.0.0.1:0", 1)
    (listener,) = listeners.sockets
    early = connected(listeners.address.port)
    assert quieted(listener)
    with socket.socket() as late:
        late.setblocking(False)
        assert late.connect_ex(("127.0.0.1", listeners.address.port)) != 0
        served, _ = listener.accept()
        early.sendall(b"ping")
        assert served.recv(4) == b"ping"
        served.sendall(b"pong")
        assert early.recv(4) == b"pong"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    for one in (early, served):
        one.close()
    listeners.close()


@linux
async def test_closing_quiet_sockets_resets_nobody() -> None:
    """Clients connect as fast as they can while three sockets become quiet, are emptied and closed."""
    listeners = await Listeners.open("proxy.listen", "127.0.0.1:0", 3)
    address = ("127.0.0.1", listeners.address.port)
    loop = asyncio.get_running_loop()
    over = False
    refused = answered = reset = 0

    async def client() -> None:
        nonlocal refused, answered, reset
        while not over and not refused:
            with socket.socket() as one:
                one.setblocking(False)
                try:
                    await asyncio.wait_for(loop.sock_connect(one, address), 5)
                    await loop.sock_sendall(one, b"?")
                    assert await loop.sock_recv(one, 1) == b"!"
                    answered += 1
                except ConnectionRefusedError:
                    refused += 1
                except ConnectionError:
                    reset += 1

    async def serve(listener: socket.socket) -> None:
        listener.setblocking(False)
        while True:
            served, _ = await loop.sock_accept(listener)
            await answer(served)

    async def answer(served: socket.socket) -> None:
        with served:
            served.setblocking(False)
            await loop.sock_recv(served, 1)
            await loop.sock_sendall(served, b"!")

    serving = [asyncio.create_task(serve(listener)) for listener in listeners.sockets]
    clients = [asyncio.create_task(client()) for _ in range(8)]
    await until(lambda: answered > 500, what="load")
    await listeners.quiet()
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    listeners.close()
    over = True
    await asyncio.gather(*clients)
    assert reset == 0


async def test_a_port_that_is_let_go_soon_is_waited_for() -> None:
    """The workers of a proxy that was killed hold it until they have noticed."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    opening = asyncio.create_task(Listeners.open("proxy.listen", f"127.0.0.1:{port}", 1))
    await asyncio.sleep(0)
    assert not opening.done()
    taken.close()
    listeners = await opening
    assert listeners.address.port == port
    listeners.close()


async def test_a_port_that_stays_in_use_is_refused() -> None:
    """Also by a proxy of the same user, whose sockets would share it."""
    first = await Listeners.open("proxy.listen", "127.0.0.1:0", 2)
    with pytest.raises(Refusal, match=r"proxy\.listen: cannot listen at .*: address already in use"):
        await Listeners.open("proxy.listen", f"127.0.0.1:{first.address.port}", 1)
    first.close()
