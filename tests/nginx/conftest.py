"""nginx in front of two backends that tell what reached them: one in the proxy's place, one as the active version."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from aiohttp import ClientSession, web

from tests.support.nginx import Nginx, missing
from tests.support.real_parts import nothing_left_out

TENANT_KEYS = '"key-of-acme" acme;\n"key-of-initech" initech;\n'


@pytest.fixture(scope="session", autouse=True)
def _nginx_is_here() -> None:
    """Without nginx a skip that says why, or a failure where nothing may be left out."""
    reason = missing()
    if reason is not None and nothing_left_out():
        pytest.fail(f"left out: {reason}", pytrace=False)
    if reason is not None:
        pytest.skip(f"no real nginx: {reason}")


class Backend:
    """An HTTP server that keeps each request's headers and body, and answers with its own name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[tuple[web.BaseRequest, bytes]] = []
        self.port = 0
        self.connections: set[object] = set()
        self.answer: Callable[[web.BaseRequest], web.StreamResponse] | None = None
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Listen, on the same port as before if it ran before."""
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append((request, await request.read()))
        self.connections.add(request.transport)
        if self.answer is not None:
            return self.answer(request)
        return web.Response(text=self.name, headers={"X-Shadowdrift-Id": "0190-id"})

    @property
    def headers(self) -> dict[str, str]:
        """Those of the last request, by lower-case name."""
        return {name.lower(): value for name, value in self.seen[-1][0].headers.items()}


Door: TypeAlias = tuple[Nginx, Backend, Backend]


@contextlib.asynccontextmanager
async def door(folder: Path, main: str = "nginx.conf", changes: dict[str, str] | None = None) -> AsyncIterator[Door]:
    """A running nginx with its two backends: proxy and active version, or production and shadow at the edge."""
    async with contextlib.AsyncExitStack() as stack:
        first, second = Backend("proxy"), Backend("model")
        for backend in (first, second):
            await backend.start()
            stack.push_async_callback(backend.stop)
        primary, other = f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"
        at_the_edge = {"model-v2:8000": primary, "model-v1:8000": other}
        addresses = at_the_edge if main == "edge-only.conf" else {"proxy:8080": primary, "model-v2:8000": other}
        nginx = Nginx(folder, main, addresses, changes or {})
        (nginx.folder / "nginx" / "tenant-keys" / "test.map").write_text(TENANT_KEYS)
        stack.enter_context(nginx)
        yield nginx, first, second


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Door]:
    """The front door: nginx, the proxy's stand-in, the active version."""
    async with door(tmp_path) as made:
        yield made


@pytest.fixture
async def client(front: Door) -> AsyncIterator[ClientSession]:
    """A client of the front door."""
    async with ClientSession(front[0].url) as session:
        yield session
