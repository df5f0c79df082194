"""What stands in for somebody else listens at `--listen`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from configuration.units import Address, cannot_listen, parse_address
from lifecycle.refusal import Refusal


@contextlib.asynccontextmanager
async def listening(application: web.Application, listen: str) -> AsyncIterator[str]:
    """Its URL, for as long as the context lasts. Raises `Refusal` for an address that cannot be had."""
    try:
        address = parse_address(listen)
    except ValueError as error:
        raise Refusal(f"--listen: {error}") from None
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            raise Refusal(cannot_listen("--listen", listen, error)) from None
        yield f"http://{Address(address.host, runner.addresses[0][1])}"
    finally:
        await runner.cleanup()
