"""The door of a worker: takes connections while there are file descriptors for them and for what they ask for.

What it does not take waits in the kernel's queue, where a client only sees that it takes longer. Without this bound the
event loop would take what the process has no descriptor for, and cut it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import select
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from proxy.traffic.client import ClientConnection
from proxy.traffic.data_plane import DataPlane

AT_ONCE: Final = 64
"""How many are taken in one turn of the event loop, so that requests under way go on."""

AGAIN_SECONDS: Final = 0.02
"""How often a crowded worker looks whether there is room again."""

DESCRIPTORS_EACH: Final = 3
"""A client's own, one to production and one to the shadow."""

SPARE_DESCRIPTORS: Final = 16
"""For everything else: files that are read, a stream to the next emitter."""

_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logging.getLogger("shadowdrift.worker")


def clients_that_fit() -> int:
    """How many clients this process has descriptors for; it may have as many as the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a system whose hard limit is more than it gives
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        allowed = 2**20
    used = sum(1 for _ in Path("/dev/fd").iterdir())
    return max(1, (allowed - used - SPARE_DESCRIPTORS) // DESCRIPTORS_EACH)


class Door:
    """Accepts at one of the supervisor's sockets."""

    def __init__(self, listener: socket.socket, plane: DataPlane, room: int) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._plane = plane
        self._room = room
        self._on_the_step = 0
        """Connections that are taken and have no protocol yet."""
        self._entering: set[asyncio.Task[object]] = set()
        self._again: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Take whoever comes from now on."""
        self._plane.loop.add_reader(self._listener.fileno(), self._take)

    def _take(self) -> None:
        for _ in range(AT_ONCE):
            if len(self._plane.clients) + self._on_the_step >= self._room:
                if self._somebody_waits():
                    self._crowded(f"{self._room} clients are connected, which is what the file descriptors suffice for")
                else:
                    self._nobody_waits()
                return
            try:
                if not self._take_one():
                    self._nobody_waits()
                    return
            except OSError as error:
                self._crowded(error.strerror or str(error))
                return

    def _take_one(self) -> bool:
        """Whether there was one. Raises OSError where the system has no descriptor left."""
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS:
                raise
            return error.errno == errno.ECONNABORTED  # gone before it was taken; any other means that nobody is there
        connection.setblocking(False)
        self._on_the_step += 1
        entering = self._plane.loop.create_task(self._plane.loop.connect_accepted_socket(self._enter, connection))
        self._entering.add(entering)
        entering.add_done_callback(self._entered)
        return True

    def _enter(self) -> ClientConnection:
        self._on_the_step -= 1
        return self._plane.connection()

    def _entered(self, entering: asyncio.Task[object]) -> None:
        self._entering.discard(entering)
        if not entering.cancelled() and entering.exception() is not None:
            _log.warning("a connection could not be taken", exc_info=entering.exception())

    def _crowded(self, why: str) -> None:
        """Let them wait outside; those inside are told to leave with their next answer."""
        if not self._plane.crowded:
            self._plane.crowded = True
            _log.warning("new connections wait", extra={"fields": {"why": why}})
        self._plane.loop.remove_reader(self._listener.fileno())
        self._again = self._plane.loop.call_later(AGAIN_SECONDS, self._look_again)

    def _look_again(self) -> None:
        if len(self._plane.clients) >= self._room:
            self._again = self._plane.loop.call_later(AGAIN_SECONDS, self._look_again)
            return
        self._again = None
        self.open()
        self._take()

    def _somebody_waits(self) -> bool:
        look = select.poll()
        look.register(self._listener, select.POLLIN)
        return bool(look.poll(0))

    def _nobody_waits(self) -> None:
        if self._plane.crowded:
            self._plane.crowded = False
            _log.info("no connection waits any more")

    async def close(self) -> None:
        """Take every connection that the kernel has accepted already, since closing the socket would reset them."""
        if self._again is not None:
            self._again.cancel()
        self._plane.loop.remove_reader(self._listener.fileno())
        with suppress(OSError):
            while self._take_one():
                pass
        if self._entering:
            await asyncio.wait(self._entering)
        self._listener.close()
