"""Whoever else Alertmanager calls, for a test: what came to each path, with its headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Call = tuple[dict[str, Any], dict[str, str]]
"""A call's document and its headers."""


class Hooks:
    """Where they listen, and what has come, by the path's name."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Call]] = {}
        self.address = ""

    def url(self, name: str) -> str:
        """The address of one of them."""
        return f"http://{self.address}/{name}"

    async def all_of(self, *names: str) -> dict[str, Call] | None:
        """The first call to each; None while one is missing."""
        return {name: self.calls[name][0] for name in names} if set(names) <= self.calls.keys() else None

    async def take(self, request: web.Request) -> web.Response:
        """Remember a call."""
        self.calls.setdefault(request.match_info["name"], []).append((await request.json(), dict(request.headers)))
        return web.Response(text="ok")


@asynccontextmanager
async def listening() -> AsyncIterator[Hooks]:
    """They answer as long as the context lasts."""
    hooks = Hooks()
    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_post("/{name}", hooks.take)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        hooks.address = f"{host}:{port}"
        yield hooks
    finally:
        await runner.cleanup()
