"""An aiohttp server for operators: `/-/healthy`, `/-/ready`, `/metrics`, and what else a part adds."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path

from aiohttp import web

from configuration.units import Address, cannot_listen, parse_address
from lifecycle.refusal import Refusal

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

Readiness = Callable[[], str | None]
"""None when the part is ready, else in a few words what it waits for."""


class AdminServer:
    """Serves one part's endpoints. With a token, whatever is not open needs `Authorization: Bearer TOKEN`."""

    def __init__(
        self,
        metrics: Callable[[], bytes],
        waits_for: Readiness,
        *,
        token_file: str | None = None,
        open_without_token: Collection[str] = ("health",),
        routes: Iterable[web.RouteDef] = (),
        max_body_bytes: int = 1024 * 1024,
        unauthorised: Callable[[web.BaseRequest], None] = lambda _: None,
    ) -> None:
        """`routes` are the part's own, behind the token unless `open_without_token` names their first segment;
        `unauthorised` is told of each request that lacks it.
        """
        self._metrics = metrics
        self._waits_for = waits_for
        self._token = _read_token(token_file)
        self._open = {"/-/healthy", "/-/ready"} if "health" in open_without_token else set()
        self._open |= {"/metrics"} if "metrics" in open_without_token else set()
        self._unauthorised = unauthorised
        self._open_folders = tuple(f"/{name}/" for name in open_without_token if name not in {"health", "metrics"})
        self._app = web.Application(middlewares=[self._guard], client_max_size=max_body_bytes)
        self._app.router.add_get("/-/healthy", self._healthy)
        self._app.router.add_get("/-/ready", self._ready)
        self._app.router.add_get("/metrics", self._exposition)
        self._app.router.add_routes(routes)
        self._runner = web.AppRunner(self._app, access_log=None, handle_signals=False, shutdown_timeout=1)

    async def start(self, setting: str, listen: str) -> Address:
        """Listen at the address that `setting` gives; the address with the port in use. `Refusal` if it is taken."""
        address = parse_address(listen)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, address.host, address.port).start()
        except OSError as error:
            raise Refusal(cannot_listen(setting, listen, error)) from None
        return Address(address.host, self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every connection and the port."""
        await self._runner.cleanup()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self._token is not None and not (request.path in self._open or request.path.startswith(self._open_folders)):
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode("utf-8", "replace"), b"Bearer " + self._token):
                self._unauthorised(request)
                return web.json_response({"error": "a bearer token is needed"}, status=401)
        return await handler(request)

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        waiting = self._waits_for()
        return web.Response(text=f"waits for {waiting}\n", status=503) if waiting else web.Response(text="ready\n")

    async def _exposition(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": _PROMETHEUS})


def _read_token(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        token = Path(path).read_bytes().strip()
    except OSError as error:
        raise Refusal(f"token_file {path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if not token:
        raise Refusal(f"token_file {path} is empty; write a token into it")
    return token
