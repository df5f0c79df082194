"""The rollback as a process: Alertmanager's webhook and people's commands over HTTP, until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp

from admin.server import AdminServer
from configuration import Configuration
from lifecycle.tether import Tether
from rollback.actions.action import Action, ActionError
from rollback.actions.active_file import ActiveFile
from rollback.actions.nginx import NginxUpstream
from rollback.actions.ssm import Parameter
from rollback.actions.steps import Steps
from rollback.actions.webhook import Call
from rollback.asking import Asking, proxies_of
from rollback.audit import Audit
from rollback.commands import Commands
from rollback.counters import RollbackMetrics
from rollback.desk import Desk
from rollback.endpoints import Endpoints
from rollback.journal import Journal
from rollback.notices import Notices
from rollback.office import Office
from rollback.secret_file import token_of
from rollback.switch import Switch
from rollback.webhook import MAX_BYTES as MAX_WEBHOOK_BYTES

_log = logging.getLogger("shadowdrift.rollback")

_STOP_SECONDS: Final = 10.0
_NOTICE_SECONDS: Final = 2.0
_ANEW_SECONDS: Final = 1.0


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
        office = Office(settings, journal, switch, asking, audit, notices, metrics, time.time)
        endpoints = Endpoints(Desk(office), Commands(office), audit, metrics)
        switch.recover()
        server = AdminServer(
            metrics.text, lambda: None, token_file=settings.token_file, open_without_token=settings.open,
            routes=endpoints.routes(), max_body_bytes=MAX_WEBHOOK_BYTES, unauthorised=endpoints.unauthorised,
        )  # fmt: skip
        address = await server.start("rollback.listen", settings.listen)
        stack.push_async_callback(server.stop)
        tether.announce({"rollback": f"http://{address}"})
        fields = {"address": str(address), "dry_run": settings.dry_run, "actions": list(settings.actions)}
        _log.info("rollback listens", extra={"fields": fields})
        telling = asyncio.create_task(_lasting(notices.run), name="tell")
        looking = asyncio.create_task(_lasting(partial(_look, switch)), name="look")
        counting = asyncio.create_task(_lasting(asking.run), name="look at the proxies")
        aligning = asyncio.create_task(_align(office, stop), name="bring nginx to what is in force")
        await stop.wait()
        # Left in the middle, files would be there that nginx has not heard of.
        await asyncio.gather(endpoints.finish(_STOP_SECONDS), asyncio.wait([aligning], timeout=_STOP_SECONDS))
        await notices.finish(_NOTICE_SECONDS)
        for task in (telling, looking, counting, aligning):
            task.cancel()
        await asyncio.gather(telling, looking, counting, aligning, return_exceptions=True)


def proxies_file(configuration: Configuration, session: aiohttp.ClientSession | None) -> ActiveFile:
    """The action `active-file`, which asks the proxies that the configuration names, or the one that it configures."""
    token = token_of("proxy.token_file", configuration.proxy.token_file)
    return ActiveFile(Path(configuration.state_dir), session, proxies_of(configuration), token)


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


async def _lasting(work: Callable[[], Awaitable[None]]) -> None:
    """A fault of ours ends none of what goes on beside the deciding: it is told, and the work begins anew."""
    while True:
        try:
            await work()
            return
        except Exception:
            _log.exception("what goes on beside the deciding failed by a fault, and begins anew")
            await asyncio.sleep(_ANEW_SECONDS)


async def _align(office: Office, stop: asyncio.Event) -> None:
    """What nginx has behind the proxy may be of a former deployment, or of a switch that it did not see.

    Also in a dry run, for it moves no traffic: the proxy serves as it did. Where nginx serves alone it is left alone.
    """
    for action in office.switch.steps.actions:
        if not isinstance(action, NginxUpstream) or action.is_the_traffic:
            continue
        for name, model in office.switch.models.items():
            async with office.locks[name]:
                standing = office.switch.standing(name)
                if stop.is_set() or standing.unreadable:
                    continue
                fields: dict[str, Any] = {"model": name, "weights": standing.entry.weights}
                try:
                    if action.differs(model, standing.entry):
                        await action.apply(model, standing.entry, standing.entry)
                        _log.info("nginx's files were brought to what is in force", extra={"fields": fields})
                except ActionError as error:
                    why = "nginx's files differ from what is in force, and cannot be brought to it"
                    _log.warning(why, extra={"fields": {**fields, "why": str(error)}})


async def _look(switch: Switch) -> None:
    """What people put in force without us shows within a second: the latch, the generation."""
    while True:
        for name in switch.models:
            switch.standing(name)
        await asyncio.sleep(1.0)
