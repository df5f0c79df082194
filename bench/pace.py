"""A client that sends at a constant rate, whatever the server does; a process of its own.

`python -m bench.pace PORT` prints one line of JSON. Requests are due at even distances; one that is due while no
connection is free waits for one, and that wait is part of its latency. So a server that stalls is charged for every
request that came meanwhile (a client that waits for an answer before it sends would have sent fewer). What is
not charged is the client's own oversleeping: time begins when it has noticed that the request is due. Every answer is
compared with what it must be, byte for byte.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import math
import select
import socket
import sys
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import Final

import msgspec

from bench.backend import expected_answer
from bench.payload import PATH, bodies

CONNECTIONS: Final = 16
DEADLINE_SECONDS: Final = 2.0
"""A request that has no answer by then has failed; it counts with the time that it waited."""
_WARM_UP_SECONDS: Final = 0.5
_BODIES: Final = 256
_READ_BYTES: Final = 65536
_PR_SET_TIMERSLACK: Final = 29


class Paced(msgspec.Struct, frozen=True):
    """What the client saw; milliseconds."""

    requests: int
    warm_up: int
    """Requests sent before these, which nothing else here counts."""
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    oversleep_p99_ms: float
    """How late the client itself was: where this is large, the machine was too busy to measure."""
    failures: int
    """Cut, unanswered, never sent for want of a connection, or answered with another status than 200."""
    changed: int
    """Answered with 200 and another body than the backend's."""

    @property
    def sent(self) -> int:
        """All that the server had to do with."""
        return self.warm_up + self.requests


class Connection:
    """One kept connection, and the request on it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.number: int | None = None
        self.noticed = 0.0
        self._received = b""
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port), DEADLINE_SECONDS)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        return made

    def fileno(self) -> int:
        """For select."""
        return self.socket.fileno()

    def send(self, number: int, noticed: float, request: bytes) -> None:
        """Send a request; a server that does not take 600 bytes at once has stalled, which shows as no answer."""
        self.number, self.noticed, self._received = number, noticed, b""
        with contextlib.suppress(OSError):  # a cut connection is readable, and there it is told
            self.socket.send(request)

    def receive(self) -> bytes | None:
        """The whole answer, or None while it is not whole; empty where the server has cut it."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        if not data:
            return b""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        at = head.lower().find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else len(body)
        return self._received if len(body) >= length else None

    def renew(self) -> None:
        """Another connection in its place: an answer may still come on this one, to nobody."""
        self.number = None
        self.socket.close()
        self.socket = self._connect()


class Client:
    """Sends `total` requests at `rate` a second."""

    def __init__(self, port: int, rate: float, total: int, connections: int) -> None:
        self._interval = 1.0 / rate
        self._total = total
        head = f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: 300\r\n"
        self._head = f"{head}X-Echo: ".encode()
        self._bodies = bodies(_BODIES)
        self._idle = [Connection(port) for _ in range(connections)]
        self._busy: dict[int, Connection] = {}
        self._waiting: deque[tuple[int, float]] = deque()
        self.latencies: list[float] = []
        self.oversleeps: list[float] = []
        self.failures = 0
        self.changed = 0

    def run(self) -> float:
        """Send them all and take the answers; the seconds it took."""
        began = perf_counter()
        sent = 0
        while sent < self._total or self._busy or self._waiting:
            now = perf_counter()
            while sent < self._total and (due := began + sent * self._interval) <= now:
                self.oversleeps.append(now - due)
                self._waiting.append((sent, now))
                sent += 1
            self._send_waiting()
            next_due = began + sent * self._interval if sent < self._total else now + 0.05
            readable, _, _ = select.select(self._busy.values(), (), (), max(0.0, next_due - perf_counter()))
            for connection in readable:
                self._take(connection)
            self._expire(perf_counter())
        return perf_counter() - began

    def close(self) -> None:
        """Close every connection."""
        for connection in (*self._idle, *self._busy.values()):
            connection.socket.close()

    def _send_waiting(self) -> None:
        while self._waiting and self._idle:
            number, noticed = self._waiting.popleft()
            connection = self._idle.pop()
            connection.send(number, noticed, b"%b%08d\r\n\r\n%b" % (self._head, number, self._bodies[number % _BODIES]))
            self._busy[connection.fileno()] = connection

    def _take(self, connection: Connection) -> None:
        answer = connection.receive()
        if answer is None:
            return
        self.latencies.append(perf_counter() - connection.noticed)
        del self._busy[connection.fileno()]
        if not answer.startswith(b"HTTP/1.1 200"):
            self.failures += 1
        elif answer.partition(b"\r\n\r\n")[2] != expected(connection.number or 0):
            self.changed += 1
        if not answer or b"\r\nconnection: close" in answer.partition(b"\r\n\r\n")[0].lower():
            connection.renew()
        self._idle.append(connection)

    def _expire(self, now: float) -> None:
        """Give up what has had no answer, and what had no connection, within the deadline."""
        while self._waiting and now - self._waiting[0][1] > DEADLINE_SECONDS:
            self.latencies.append(now - self._waiting.popleft()[1])
            self.failures += 1
        late = [connection for connection in self._busy.values() if now - connection.noticed > DEADLINE_SECONDS]
        for connection in late:
            self.latencies.append(now - connection.noticed)
            self.failures += 1
            del self._busy[connection.fileno()]
            connection.renew()
            self._idle.append(connection)


_BEFORE, _, _AFTER = expected_answer("\0").partition(b"\0")


def expected(number: int) -> bytes:
    """The body of the answer to that request."""
    return b"%b%08d%b" % (_BEFORE, number, _AFTER)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed; values in any order, at least one."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def pace(port: int, rate: float, seconds: float, connections: int = CONNECTIONS) -> Paced:
    """Warm the way up, then measure."""
    # The kernel otherwise wakes a sleeper up to 50 µs late, on purpose.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    warming = max(1, int(rate * _WARM_UP_SECONDS))
    warm_up = Client(port, rate, warming, connections)
    warm_up.run()
    warm_up.close()
    client = Client(port, rate, int(rate * seconds), connections)
    gc.collect()
    gc.disable()
    took = client.run()
    client.close()
    return Paced(
        requests=len(client.latencies),
        warm_up=warming,
        seconds=took,
        p50_ms=percentile(client.latencies, 0.5) * 1000,
        p99_ms=percentile(client.latencies, 0.99) * 1000,
        max_ms=max(client.latencies) * 1000,
        oversleep_p99_ms=percentile(client.oversleeps, 0.99) * 1000,
        failures=client.failures,
        changed=client.changed,
    )


def main(arguments: Sequence[str]) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.pace", description="Send at a constant rate.")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    options = parser.parse_args(arguments)
    found = pace(options.port, options.rate, options.seconds, options.connections)
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
