"""The connections to one version: kept while they are good, and made anew where one is needed."""

from __future__ import annotations

import asyncio
import logging
import ssl
from time import monotonic
from typing import Final

from configuration import Target, TargetTls
from configuration.certificates import client_context
from proxy.http.addresses import Address, Addresses
from proxy.http.names import Names
from proxy.http.upstream import Caller, UpstreamConnection

IDLE_SECONDS: Final = 4.0
"""How long a connection may wait for its next request: uvicorn closes its idle ones after 5 s."""

NEXT_ADDRESS_SECONDS: Final = 1.0
"""How long one address may take to connect while there is another one to try."""

TELL_SECONDS: Final = 60.0
"""How often a version's failing handshakes are told."""

_log = logging.getLogger("shadowdrift.proxy")


class Pool:
    """The connections to one target, of one use: production and shadow never share one."""

    def __init__(self, target: Target, loop: asyncio.AbstractEventLoop, connect_seconds: float | None = None) -> None:
        self.loop = loop
        self._addresses = Addresses(target.urls)
        self._names = Names(loop)
        self._tls = client_context(target.tls or TargetTls(), "tls") if target.encrypted else None
        self._server_name = target.tls.server_name if target.tls is not None else None
        self._told_at = -TELL_SECONDS
        self._connect_seconds = float(target.timeout) if connect_seconds is None else connect_seconds
        self._idle: dict[Address, list[UpstreamConnection]] = {address: [] for address in self._addresses.all}
        self._open: set[UpstreamConnection] = set()
        self._connecting: dict[Caller, asyncio.Task[None]] = {}

    @property
    def addresses(self) -> list[Address]:
        """Where the version is reached, and how each address fares."""
        return self._addresses.all

    def acquire(self, caller: Caller, *, fresh: bool = False) -> None:
        """Give the caller a connection: a kept one now, or a new one as soon as it is there."""
        now = monotonic()
        address = self._addresses.only or self._addresses.choose(now)
        assert address is not None
        address.in_flight += 1
        idle = self._idle[address]
        while idle and not fresh:
            connection = idle.pop()
            if connection.idle_since >= now - IDLE_SECONDS and not connection.transport.is_closing():
                connection.reused = True
                caller.connected(connection)
                return
            self._close(connection)
        self._connecting[caller] = self.loop.create_task(self._connect(caller, address))

    def withdraw(self, caller: Caller) -> None:
        """The caller waits for a connection no more, and will hear of none."""
        task = self._connecting.pop(caller, None)
        if task is not None:
            task.cancel()

    async def _connect(self, caller: Caller, first: Address) -> None:
        """A connection to the first address, or to the next that takes one: nothing has been sent yet."""
        connection = await self._reach(caller, first)
        self._connecting.pop(caller, None)
        if connection is None:
            if not caller.abandoned:
                caller.answer_failed("connect")
        elif caller.abandoned:
            self.keep(connection)
        else:
            caller.connected(connection)

    async def _reach(self, caller: Caller, first: Address) -> UpstreamConnection | None:
        deadline = monotonic() + self._connect_seconds
        tried: list[Address] = []
        address: Address | None = first
        while address is not None:
            tried.append(address)
            within = deadline - monotonic()
            if len(tried) < len(self._addresses.all):
                within = min(within, NEXT_ADDRESS_SECONDS)
            connection = await self._attempt(address, within)
            if connection is not None:
                return connection
            now = monotonic()
            address = None if caller.abandoned or now >= deadline else self._addresses.choose(now, tried)
            if address is not None:
                address.in_flight += 1
        return None

    async def _attempt(self, address: Address, within: float) -> UpstreamConnection | None:
        """A connection to this address, which is in flight already; None where it cannot be made."""
        try:
            async with asyncio.timeout(within):
                connection = await self._open_one(address)
            if connection.transport.is_closing():
                raise ConnectionResetError
        except BaseException as error:
            address.in_flight -= 1
            if not isinstance(error, (OSError, ValueError)):  # ValueError: a host name that cannot be one
                raise
            self._tell(error, address)
            self._addresses.failed(address, monotonic())
            return None
        self._addresses.reached(address)
        self._open.add(connection)
        return connection

    async def _open_one(self, address: Address) -> UpstreamConnection:
        """A connection to the first of the host's addresses that takes one."""
        for host in (hosts := await self._names.addresses(address.host)):
            try:
                _, connection = await self.loop.create_connection(
                    lambda: UpstreamConnection(self, address),
                    host,
                    address.port,
                    ssl=self._tls,
                    server_hostname=(self._server_name or address.host) if self._tls is not None else None,
                )
            except OSError:
                self._names.forget(address.host)
                if host == hosts[-1]:
                    raise
            else:
                return connection
        raise AssertionError("a host has an address")

    def _tell(self, error: BaseException, address: Address) -> None:
        """Log what is wrong with a handshake, now and then: a person has to mend it."""
        now = monotonic()
        if isinstance(error, ssl.SSLError) and now >= self._told_at + TELL_SECONDS:
            self._told_at = now
            why = getattr(error, "verify_message", "") or error.reason or str(error)
            fields = {"address": address.authority.decode(), "why": why}
            _log.warning("the TLS handshake with a version fails", extra={"fields": fields})

    def keep(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose answer is whole."""
        connection.address.in_flight -= 1
        connection.idle_since = monotonic()
        self._idle[connection.address].append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection has closed."""
        if connection not in self._open:  # it closed before anybody had it
            return
        self._open.discard(connection)
        idle = self._idle[connection.address]
        if connection in idle:
            idle.remove(connection)
        else:
            connection.address.in_flight -= 1

    def close_idle(self, now: float) -> None:
        """Close what has been idle for too long; the stack's bottom is the oldest."""
        for idle in self._idle.values():
            while idle and idle[0].idle_since < now - IDLE_SECONDS:
                self._close(idle.pop(0))

    def _close(self, connection: UpstreamConnection) -> None:
        """Close a kept connection; it is under way until it has closed."""
        connection.address.in_flight += 1
        connection.transport.close()

    def close(self) -> None:
        """Close everything."""
        for task in self._connecting.values():
            task.cancel()
        for connection in list(self._open):
            connection.transport.abort()
