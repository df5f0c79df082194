"""The sockets at which clients connect: the supervisor keeps them, so that they outlive every worker."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import socket
import struct
import sys
from time import monotonic
from typing import Final

from configuration.units import Address, cannot_listen, parse_address
from lifecycle.refusal import Refusal

BACKLOG: Final = 4096
"""Connections that the kernel keeps for a worker that is busy, or not there at the moment."""

HANDSHAKE_SECONDS: Final = 0.2
"""How long a handshake may take that had begun before its socket became quiet: a few round trips."""

_PATIENCE_SECONDS: Final = 2.0
"""How long the workers of a proxy that was killed may hold the port, which they let go as soon as they notice."""

_ATTEMPTS_SECONDS: Final = 0.05
_SO_ATTACH_FILTER: Final = 26

# Classic BPF on the TCP header: a segment with SYN and without ACK is dropped, any other passes.
_NO_NEW_HANDSHAKE: Final = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of flags
        (0x54, 0, 0, 0x12),  # SYN and ACK alone
        (0x15, 0, 1, 0x02),  # SYN without ACK?
        (0x06, 0, 0, 0),  # then nothing of it
        (0x06, 0, 0, 0xFFFFFFFF),
    )
)


class Listeners:
    """One SO_REUSEPORT socket for each worker; the kernel spreads new connections over them."""

    def __init__(self, address: Address, sockets: list[socket.socket]) -> None:
        self.address = address
        """With the port in use, where the setting says 0."""
        self.sockets = sockets

    @classmethod
    async def open(cls, setting: str, listen: str, count: int) -> Listeners:
        """Listen. Raises `Refusal`; a port in use is given a moment, for a proxy that was killed may be leaving it."""
        patience = monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return cls._open(parse_address(listen), count)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or monotonic() >= patience:
                    raise Refusal(cannot_listen(setting, listen, error)) from None
            await asyncio.sleep(_ATTEMPTS_SECONDS)

    @classmethod
    def _open(cls, address: Address, count: int) -> Listeners:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        # SO_REUSEPORT alone would let a second proxy of the same user take half of the connections in silence.
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
        port, sockets = address.port, []
        try:
            for _ in range(count):
                listener = socket.socket(family)
                sockets.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listener.bind((address.host, port))
                port = listener.getsockname()[1]
                listener.listen(BACKLOG)
        except OSError:
            for listener in sockets:
                listener.close()
            raise
        return cls(Address(address.host, port), sockets)

    async def quiet(self) -> None:
        """Let no further handshake begin, and those that have begun end: the queues will not grow again."""
        deaf = {quieted(listener) for listener in self.sockets}
        if True in deaf:
            await asyncio.sleep(HANDSHAKE_SECONDS)

    def close(self) -> None:
        """Give them up; a worker that still has its own copy takes what the kernel has accepted."""
        for listener in self.sockets:
            listener.close()


def quieted(listener: socket.socket) -> bool:
    """Drop the segments that would begin a handshake with this socket; whether this system can.

    A socket that is closed resets the connections in its queue, and between the last look at the queue and the closing
    one more may have come. A client whose first segment is dropped sends it again after a second, and is refused then,
    or served by the next proxy: it was never connected, so nothing of it is cut.
    """
    if sys.platform != "linux":
        return False
    program = ctypes.create_string_buffer(_NO_NEW_HANDSHAKE, len(_NO_NEW_HANDSHAKE))
    with contextlib.suppress(OSError):
        described = struct.pack("HP", len(_NO_NEW_HANDSHAKE) // 8, ctypes.addressof(program))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
        return True
    return False
