"""The rollback over HTTP: what comes in is read strictly, and what is refused is counted and written down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import msgspec
from aiohttp import web

from rollback.audit import Audit, Door
from rollback.commands import MAX_BYTES, Commands, Order
from rollback.counters import RollbackMetrics
from rollback.desk import Desk
from rollback.webhook import MalformedError, decode

_log = logging.getLogger("shadowdrift.rollback")

_Answer: TypeAlias = Callable[[web.Request], Coroutine[None, None, tuple[int, dict[str, Any]]]]


class Endpoints:
    """What Alertmanager and people ask."""

    def __init__(self, desk: Desk, commands: Commands, audit: Audit, metrics: RollbackMetrics) -> None:
        self._desk = desk
        self._commands = commands
        self._audit = audit
        self._metrics = metrics
        self._door = Door()
        self._closing = False
        self._working: set[asyncio.Task[tuple[int, dict[str, Any]]]] = set()

    def routes(self) -> list[web.RouteDef]:
        """`POST /alertmanager`, `GET /status`, and a POST for each command."""
        return [
            web.post("/alertmanager", self._handled(self._alertmanager)),
            web.get("/status", self._handled(self._status)),
            *(web.post(f"/{name}", self._handled(self._command)) for name in self._commands.by_name),
        ]

    def unauthorised(self, request: web.BaseRequest) -> None:
        """Count and write down a call without the token."""
        self._refused(request, 401, "a bearer token is needed")

    async def finish(self, within: float) -> None:
        """Begin nothing new, and wait for what is being decided: a switch is not left half done."""
        self._closing = True
        if self._working:
            await asyncio.wait(self._working, timeout=within)

    def _handled(self, answer: _Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            if "Origin" in request.headers:  # a page in somebody's browser, which may reach loopback
                return self._refused(request, 403, "browsers may not ask here")
            if self._closing:
                return self._refused(request, 503, "the rollback stops")
            task = asyncio.create_task(answer(request))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
            try:
                status, body = await asyncio.shield(task)  # whoever hangs up does not stop a switch
            except MalformedError as error:
                return self._refused(request, 400, str(error))
            except web.HTTPRequestEntityTooLarge:
                return self._refused(request, 413, "the body is too large")
            except Exception:
                _log.exception("a request failed by a fault", extra={"fields": {"path": request.path[:200]}})
                return self._refused(request, 500, "a fault of ours; the log says more")
            return _json(status, body)

        return handler

    async def _alertmanager(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        return await self._desk.deliver(decode(await request.read()))

    async def _status(self, _: web.Request) -> tuple[int, dict[str, Any]]:
        return 200, self._commands.status()

    async def _command(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        body = await request.read()
        if len(body) > MAX_BYTES:
            raise MalformedError(f"a command has at most {MAX_BYTES} bytes")
        try:
            order = msgspec.json.decode(body or b"{}", type=Order)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedError(f"not a command: {' '.join(str(error).split())[:200]}") from None
        return await self._commands.run(request.path.strip("/"), order)

    def _refused(self, request: web.BaseRequest, status: int, why: str) -> web.Response:
        self._metrics.refused(status)
        left_out = self._door.admits(time.monotonic())
        if left_out is not None:
            line = {"what": "refused_request", "status": status, "path": request.path[:200], "from": request.remote}
            with contextlib.suppress(OSError):  # nothing was done, so nothing is owed
                self._audit.write([{**line, "why": why, "left_out_before": left_out}])
        return _json(status, {"error": why})


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body, enc_hook=str), content_type="application/json")
