"""`shadowdrift rollback follow`: the other end of `ssm`, or of an active file, on the host of a proxy or an nginx."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from active import file as active_file
from active.file import Entry
from configuration import Configuration, Model
from configuration.rollback import Rollback
from configuration.shown import cut
from lifecycle.refusal import Refusal
from lifecycle.tether import Tether
from rollback.actions.action import Action, ActionError
from rollback.actions.active_file import ActiveFile, ActiveFileError
from rollback.actions.nginx import NginxUpstream
from rollback.actions.ssm import PAUSED, Parameter
from rollback.actions.steps import Steps
from rollback.service import proxies_file
from rollback.standing import of_configuration

BY: Final = "follow"
_log = logging.getLogger("shadowdrift.rollback")


class Source(Protocol):
    """What is followed."""

    async def entry(self, model: Model) -> Entry | None:
        """What is to be in force; None where it says nothing. Raises `ActionError`."""
        ...


class OfParameter:
    """AWS's parameter. What it says becomes an entry of the next generation of this host's own file."""

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter

    async def entry(self, model: Model) -> Entry | None:
        """`v1`, or `v1 paused`."""
        value = await self._parameter.read(model)
        if value is None:
            return None
        version, _, rest = value.strip().partition(" ")
        if version not in model.targets or rest not in ("", PAUSED):
            raise ActionError(f"ssm: the parameter names no version of {model.name}: {value[:60]!r}")
        return Entry({version: 1.0}, model.production, "paused" if rest else "serve", "ssm", BY)


class OfActiveFile:
    """This host's own active file, which a rollback elsewhere on it writes."""

    def __init__(self, file: ActiveFile) -> None:
        self._file = file
        self._is_there = True
        self._made_for: dict[str, str] = {}
        """For which production other than the configuration's a model's entry was made, where that has been told."""

    async def entry(self, model: Model) -> Entry | None:
        """Its entry, where it counts; else what the configuration says."""
        try:
            entries = self._file.read()
            raw = (entries or {}).get(model.name)
            found = None if raw is None else active_file.entry(raw)
        except (ActiveFileError, ValueError, RecursionError) as error:
            raise ActionError(f"active-file: {' '.join(str(error).split())}") from None
        self._say_whether_it_is_there(entries is not None)
        self._say_for_what_it_was_made(model, found)
        if found is None or found.config_production != model.production:
            return of_configuration(model, 0)
        lacking = sorted(set(found.weights) - set(model.targets))
        if lacking:
            raise ActionError(f"active-file: it names versions that the configuration lacks: {cut(', '.join(lacking))}")
        return found

    def _say_whether_it_is_there(self, is_there: bool) -> None:
        if self._is_there and not is_there:
            _log.warning(
                "there is no active file yet; the configuration's production is taken until there is one",
                extra={"fields": {"path": str(self._file.path)}},
            )
        self._is_there = is_there

    def _say_for_what_it_was_made(self, model: Model, found: Entry | None) -> None:
        """Either the file is of a former deployment, and rightly passed over, or this process is."""
        if found is None or found.config_production == model.production:
            self._made_for.pop(model.name, None)
        elif self._made_for.get(model.name) != found.config_production:
            self._made_for[model.name] = found.config_production
            made_for = {"config_production": cut(found.config_production), "production": model.production}
            _log.warning(
                "the active file was made for another production than the configuration that this process has read, "
                "which is taken; if the configuration has changed since, start it anew",
                extra={"fields": {"model": model.name, **made_for}},
            )


class Follower:
    """Looks, and applies what is new; a failure is told once, and tried again at every look."""

    def __init__(self, configuration: Configuration, source: Source, steps: Steps, file: ActiveFile | None) -> None:
        """`file` is the active file that the steps write; None where they write none."""
        self._models = configuration.models
        self._source = source
        self._steps = steps
        self._file = file
        self._names = [action.name for action in steps.actions]
        self._applied: dict[str, Entry] = {}
        self._troubles: dict[str, str] = {}

    async def look(self) -> None:
        """Look once at each model."""
        for model in self._models:
            try:
                await self._follow(model)
                if self._troubles.pop(model.name, None) is not None:
                    _log.info("followed again", extra={"fields": {"model": model.name}})
            except ActionError as error:
                if self._troubles.get(model.name) != str(error):
                    self._troubles[model.name] = str(error)
                    _log.error("cannot follow", extra={"fields": {"model": model.name, "why": str(error)}})

    async def _follow(self, model: Model) -> None:
        wanted = await self._source.entry(model)
        if wanted is None:
            return
        before = self._applied.get(model.name) or self._standing(model)
        unchanged = before is not None and (before.weights, before.mode) == (wanted.weights, wanted.mode)
        # What nginx serves by is not known at the start.
        if unchanged and (model.name in self._applied or self._names == ["active-file"]):
            return
        before = before or of_configuration(model, 0)
        if self._file is not None:
            at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            wanted = Entry(
                wanted.weights, wanted.config_production, wanted.mode, wanted.reason, BY, at, before.generation + 1
            )
        await self._steps.apply(model, before, wanted)
        self._applied[model.name] = wanted
        fields = {"model": model.name, "weights": wanted.weights, "mode": wanted.mode}
        _log.info("followed", extra={"fields": fields})

    def _standing(self, model: Model) -> Entry | None:
        """What this host's own active file says, when nothing was applied yet."""
        if self._file is None:
            return None
        try:
            raw = (self._file.read() or {}).get(model.name)
            entry = None if raw is None else active_file.entry(raw)
        except (ActiveFileError, ValueError, RecursionError):
            return None
        return entry if entry is not None and entry.config_production == model.production else None


async def follow(configuration: Configuration, tether: Tether, stop: asyncio.Event) -> None:
    """Follow until `stop`. Raises `Refusal`."""
    settings = configuration.rollback
    async with aiohttp.ClientSession() as session:
        writes = proxies_file(configuration, session) if "active-file" in settings.follow.actions else None
        file = writes or ActiveFile(Path(configuration.state_dir))  # which is only read: that takes no proxy's token
        steps = Steps([_action(name, configuration, session, file) for name in settings.follow.actions])
        follower = Follower(configuration, _source(settings, configuration, file), steps, writes)
        _log.info("follows", extra={"fields": {"source": settings.follow.source, "actions": settings.follow.actions}})
        tether.announce({"follow": settings.follow.source})
        while not stop.is_set():
            await follower.look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), float(settings.follow.every))


def _source(settings: Rollback, configuration: Configuration, file: ActiveFile) -> Source:
    if settings.follow.source == "ssm":
        if settings.ssm is None:
            raise Refusal("rollback.ssm must be set to follow its parameter, got null")
        return OfParameter(Parameter(settings.ssm))
    return OfActiveFile(file)


def _action(name: str, configuration: Configuration, session: aiohttp.ClientSession, file: ActiveFile) -> Action:
    if name == "active-file":
        return file
    nginx = configuration.rollback.nginx
    if nginx is None:
        raise Refusal("rollback.nginx must be set where rollback.follow.actions names it, got null")
    return NginxUpstream(nginx, configuration.models, session)
