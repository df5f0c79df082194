"""A worker's door: who does not fit waits outside, is not cut, and gets in as soon as there is room."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy.traffic.door import Door, clients_that_fit
from tests.proxy.conftest import Serve
from tests.proxy.planes import Plane
from tests.support.raw_client import connected, request
from tests.support.waiting import until

Opened = Callable[..., Awaitable[tuple[Plane, int]]]


class Scarce(socket.socket):
    """A listener of a process that is out of descriptors for a few attempts."""

    attempts = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Fail first."""
        if self.attempts > 0:
            self.attempts -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


@pytest.fixture
async def opened(serve: Serve) -> AsyncIterator[Opened]:
    """`await opened(room=3, attempts=0)`: a plane, and the port of a door with so much room."""
    doors: list[Door] = []

    async def start(room: int, attempts: int = 0) -> tuple[Plane, int]:
        plane = await serve()
        listener = Scarce()
        listener.attempts = attempts
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        door = Door(listener, plane.plane, room)
        door.open()
        doors.append(door)
        return plane, listener.getsockname()[1]

    yield start
    for door in doors:
        await door.close()


async def ask(port: int) -> tuple[int, str | None]:
    """A client with one request; its status, and whether it was told to leave."""
    async with connected(port) as client:
        answer = await client.ask(request())
        return answer.status, answer.header("connection")


async def test_more_clients_than_there_is_room_for_are_all_served(opened: Opened) -> None:
    """Some a little later; the room is never exceeded."""
    plane, port = await opened(room=3)
    most = 0
    asking = asyncio.gather(*(ask(port) for _ in range(40)))
    while not asking.done():
        most = max(most, plane.number("proxy_connections"))
        await asyncio.sleep(0)
    assert {status for status, _ in await asking} == {200}
    assert most <= 3


async def test_clients_that_stay_are_told_to_leave_while_others_wait(opened: Opened) -> None:
    """Their next answer is the last on its connection; when nobody waits, connections are kept again."""
    plane, port = await opened(room=2)
    async with connected(port) as one, connected(port) as two:
        assert (await one.ask(request())).header("connection") is None
        assert (await two.ask(request())).header("connection") is None
        waiting = asyncio.create_task(ask(port))
        await until(lambda: plane.plane.crowded, what="a crowd")
        assert not waiting.done()
        assert (await one.ask(request())).header("connection") == "close"
        assert (await waiting)[0] == 200
        await until(lambda: not plane.plane.crowded, what="room")
        assert (await two.ask(request())).header("connection") is None


async def test_a_process_out_of_descriptors_neither_spins_nor_dies(opened: Opened) -> None:
    """It looks again after a while, and takes who has waited."""
    plane, port = await opened(room=10, attempts=3)
    assert (await ask(port))[0] == 200
    assert not plane.plane.crowded


def test_there_is_room_for_clients_in_any_process() -> None:
    """With the descriptors that this one may have."""
    assert clients_that_fit() >= 1
