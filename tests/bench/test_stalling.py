"""The shadow that can be told to hang."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.backend import expected_answer
from bench.payload import bodies
from bench.stalling import StallingShadow
from tests.support.waiting import until_sync

REQUEST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n" + bodies(1)[0]


@pytest.fixture
def shadow(tmp_path: Path) -> Iterator[StallingShadow]:
    """One that answers."""
    made = StallingShadow(tmp_path / "shadow", hangs=False)
    with made.server:
        yield made


def test_it_answers_until_it_is_told_to_hang_and_counts_what_it_was_sent(shadow: StallingShadow) -> None:
    """It still accepts and reads then, and tells its count."""
    with socket.create_connection(("127.0.0.1", shadow.port), 10) as client:
        for _ in range(2):
            client.sendall(REQUEST[:50])
            client.sendall(REQUEST[50:])
            assert _answer(client).partition(b"\r\n\r\n")[2] == expected_answer("")
        assert shadow.requests() == 2
        shadow.hang()
        until_sync(lambda: _is_silent(shadow.port), 10, "it hangs")
        before = shadow.requests()
        client.sendall(REQUEST)
        until_sync(lambda: shadow.requests() == before + 1, 10, "it has read the request")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)


def _answer(client: socket.socket) -> bytes:
    received = b""
    while len(received.partition(b"\r\n\r\n")[2]) < 300:
        received += client.recv(65536)
    return received


def _is_silent(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(REQUEST)
        client.settimeout(0.1)
        try:
            return client.recv(1) == b"impossible"
        except TimeoutError:
            return True
