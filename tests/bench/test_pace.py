"""The client of the constant rate charges a server for everything it does wrong."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import bench.pace
from bench.pace import Client, expected, percentile

Answer = Callable[[int], bytes | None]
"""The whole answer to the request of that number; None: nothing, ever; empty: the connection is cut."""


def right(number: int) -> bytes:
    """What the backend would answer."""
    body = expected(number)
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    """A server that answers so, on its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        received = b""
        while data := _received(connection):
            received += data
            head, end, body = received.partition(b"\r\n\r\n")
            if not end or len(body) < 300:
                continue
            received = body[300:]
            said = answer(int(head.rpartition(b"X-Echo: ")[2]))
            if said == b"":
                connection.close()
                return
            if said is not None:
                # In two pieces: an answer need not come at once.
                connection.sendall(said[:100])
                connection.sendall(said[100:])

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            opened.append(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in opened:
            connection.close()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def sent(answer: Answer, total: int = 40, connections: int = 4) -> Client:
    """A client that has sent `total` requests to such a server."""
    with server(answer) as port:
        client = Client(port, 2000.0, total, connections)
        client.run()
        client.close()
    return client


def test_right_answers_are_neither_failed_nor_changed() -> None:
    """And each has a latency."""
    client = sent(right)
    assert (len(client.latencies), client.failures, client.changed) == (40, 0, 0)
    assert all(0 < latency < 2 for latency in client.latencies)


def test_one_changed_byte_is_noticed() -> None:
    """Also an answer that is another request's, which is whole and valid by itself."""
    client = sent(lambda number: right(number).replace(b"0.5", b"0.6") if number == 7 else right(number))
    assert (client.failures, client.changed) == (0, 1)
    client = sent(lambda number: right(number ^ 1))
    assert client.changed == 40


def test_another_status_and_a_cut_are_failures() -> None:
    """The connection is replaced, and the rest goes on."""
    wrong = {3: b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", 5: b""}
    client = sent(lambda number: wrong.get(number, right(number)))
    assert (len(client.latencies), client.failures, client.changed) == (40, 2, 0)


def test_what_is_never_answered_fails_and_counts_with_the_time_it_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that came while every connection was taken: nothing is left out because the server stalled."""
    monkeypatch.setattr(bench.pace, "DEADLINE_SECONDS", 0.2)
    client = sent(lambda number: None, total=20, connections=2)
    assert len(client.latencies) == client.failures == 20
    assert min(client.latencies) > 0.2


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)], ids=str
)
def test_a_percentile_is_a_value_that_was_seen(share: float, value: int) -> None:
    """The smallest that at least that share does not exceed."""
    assert percentile([*range(100, 50, -1), *range(1, 51)], share) == value


def test_the_percentile_of_one_value_is_that_value() -> None:
    """Whatever the share."""
    assert percentile([3.0], 0.5) == percentile([3.0], 0.99) == 3.0
