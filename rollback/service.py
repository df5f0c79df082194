"""The rollback as a process: Alertmanager's webhook and people's commands over HTTP, until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web

from admin.server import AdminServer
from configuration import Configuration
from lifecycle.tether import Tether
from rollback.actions.action import Action
from rollback.actions.active_file import ActiveFile
from rollback.actions.nginx import NginxUpstream
from rollback.actions.ssm import Parameter
from rollback.actions.steps import Steps
from rollback.actions.webhook import Call
from rollback.asking import Asking
from rollback.audit import Audit, Door
from rollback.commands import MAX_BYTES, Commands, Order
from rollback.counters import RollbackMetrics
from rollback.desk import Desk
from rollback.journal import Journal
from rollback.notices import Notices
from rollback.secret_file import token_of
from rollback.switch import Switch
from rollback.webhook import MAX_BYTES as MAX_WEBHOOK_BYTES
from rollback.webhook import MalformedError, decode

_log = logging.getLogger("shadowdrift.rollback")

_STOP_SECONDS: Final = 10.0
_NOTICE_SECONDS: Final = 2.0
_Answer = Callable[[web.Request], Coroutine[None, None, tuple[int, dict[str, Any]]]]


async def serve(configuration: Configuration, tether: Tether, stop: asyncio.Event) -> None:
    """Serve until `stop`. Raises `Refusal` for what the user has to mend: ports, tokens, files, another rollback."""
    settings, state_dir = configuration.rollback, Path(configuration.state_dir)
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        journal = Journal(state_dir, configuration.models)
        stack.callback(journal.close)
        audit = Audit(state_dir, time.time)
        stack.callback(audit.close)
        metrics = RollbackMetrics(journal.of, settings.actions, dry_run=settings.dry_run)
        active_file = proxies_file(configuration, session)
        steps = Steps([_action(name, configuration, session, active_file) for name in settings.actions], metrics.acted)
        switch = Switch(configuration, journal, steps, active_file, audit, time.time)
        notices = Notices(settings, session, metrics.noticed)
        asking = Asking(configuration, session)
        desk = Desk(settings, journal, switch, asking, audit, notices, metrics, time.time)
        commands = Commands(settings, journal, switch, asking, audit, notices, metrics, desk, time.time)
        counter = Counter(desk, commands, audit, metrics)
        switch.recover()
        server = AdminServer(
            metrics.text, lambda: None, token_file=settings.token_file, open_without_token=settings.open,
            routes=counter.routes(), max_body_bytes=MAX_WEBHOOK_BYTES, unauthorised=counter.unauthorised,
        )  # fmt: skip
        address = await server.start("rollback.listen", settings.listen)
        stack.push_async_callback(server.stop)
        tether.announce({"rollback": f"http://{address}"})
        fields = {"address": str(address), "dry_run": settings.dry_run, "actions": list(settings.actions)}
        _log.info("rollback listens", extra={"fields": fields})
        telling = asyncio.create_task(notices.run(), name="tell")
        looking = asyncio.create_task(_look(switch), name="look")
        await stop.wait()
        await counter.finish(_STOP_SECONDS)
        await notices.finish(_NOTICE_SECONDS)
        for task in (telling, looking):
            task.cancel()
        await asyncio.gather(telling, looking, return_exceptions=True)


def proxies_file(configuration: Configuration, session: aiohttp.ClientSession | None) -> ActiveFile:
    """The action `active-file`, which asks the proxies that the configuration names."""
    token = token_of("proxy.token_file", configuration.proxy.token_file) if configuration.rollback.proxies else None
    return ActiveFile(Path(configuration.state_dir), session, configuration.rollback.proxies, token)


def _action(name: str, configuration: Configuration, session: aiohttp.ClientSession, active_file: ActiveFile) -> Action:
    settings = configuration.rollback
    if name == "nginx":
        assert settings.nginx is not None
        return NginxUpstream(settings.nginx, configuration.models, session)
    if name == "ssm":
        assert settings.ssm is not None
        return Parameter(settings.ssm)
    if name == "webhook":
        assert settings.webhook is not None
        return Call(settings.webhook, session)
    return active_file


async def _look(switch: Switch) -> None:
    """What people put in force without us shows within a second: the latch, the generation."""
    while True:
        for name in switch.models:
            switch.standing(name)
        await asyncio.sleep(1.0)


class Counter:
    """The HTTP side: what comes in is read strictly, and what is refused is counted and written down."""

    def __init__(self, desk: Desk, commands: Commands, audit: Audit, metrics: RollbackMetrics) -> None:
        self._desk = desk
        self._commands = commands
        self._audit = audit
        self._metrics = metrics
        self._door = Door()
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
        """Wait for what is being decided: a switch is not left half done."""
        if self._working:
            await asyncio.wait(self._working, timeout=within)

    def _handled(self, answer: _Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            if "Origin" in request.headers:  # a page in somebody's browser, which may reach loopback
                return self._refused(request, 403, "browsers may not ask here")
            task = asyncio.create_task(answer(request))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
            try:
                status, body = await asyncio.shield(task)  # whoever hangs up does not stop a switch
            except MalformedError as error:
                return self._refused(request, 400, str(error))
            except web.HTTPRequestEntityTooLarge:
                return self._refused(request, 413, "the body is too large")
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
