"""What people order: rollback, restore, pause, promote, arm, disarm, and what they may know: status."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from active.file import Mode
from configuration import Model
from configuration.shown import cut
from rollback.journal import plain
from rollback.notices import Notice
from rollback.office import Office
from rollback.promotion import Asked, Obstacle, impossible, obstacles
from rollback.standing import Standing
from rollback.switch import SwitchFailedError

MAX_BYTES: Final = 64 * 1024

_log = logging.getLogger("shadowdrift.rollback")


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a command; the model may be left out where there is one."""

    model: str = ""
    reason: str = ""
    by: str = ""
    version: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a command."""

    word: str
    reason: str
    text: str
    obstacles: tuple[Obstacle, ...] = ()
    overridden: tuple[Obstacle, ...] = ()

    @property
    def status(self) -> int:
        """HTTP's: 200 done, 409 refused, 503 where trying again may help."""
        return {"taken": 200, "refused": 409}.get(self.word, 503)


_Ask = Callable[[Model, Order], Awaitable[Outcome]]


class Commands:
    """Each takes the model's lock (`Office.locks`)."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self.by_name: Mapping[str, _Ask] = {
            "rollback": self._rollback,
            "restore": self._restore,
            "pause": self._pause,
            "promote": self._promote,
            "arm": self._arm,
            "disarm": self._disarm,
        }

    async def run(self, name: str, order: Order) -> tuple[int, dict[str, Any]]:
        """The status and the body of the answer."""
        model = self._model(order)
        if model is None:
            known = ", ".join(self._office.switch.models)
            return self._answer(name, order, Outcome("refused", "unknown_model", f"model must be one of {known}"))
        async with self._office.locks[model.name]:
            try:
                outcome = await self.by_name[name](model, order)
            except SwitchFailedError as error:
                outcome = Outcome("failed", "action", str(error))
        return self._answer(name, msgspec.structs.replace(order, model=model.name), outcome)

    def status(self) -> dict[str, Any]:
        """Everything that a person asks before deciding."""
        settings = self._office.settings
        return {
            "dry_run": settings.dry_run,
            "on_feature_drift": settings.on_feature_drift,
            "actions": list(settings.actions),
            "irreversible": self._office.switch.steps.irreversible,
            "models": {name: self._status_of(model) for name, model in self._office.switch.models.items()},
        }

    def _status_of(self, model: Model) -> dict[str, Any]:
        standing, memory = self._office.switch.standing(model.name), self._office.journal.of[model.name]
        since = None if memory.switched_at is None else self._office.clock() - memory.switched_at
        return {
            "active": msgspec.to_builtins(standing.entry),
            "by_configuration": standing.by_configuration,
            "unreadable": standing.unreadable or None,
            "production": model.production,
            "shadow": model.shadow,
            "stable": model.stable,
            **plain(memory),
            "cool_down_seconds": 0.0 if since is None else max(0.0, float(self._office.settings.cool_down) - since),
        }

    def _model(self, order: Order) -> Model | None:
        models = self._office.switch.models
        if not order.model and len(models) == 1:
            return next(iter(models.values()))
        return models.get(order.model)

    def _answer(self, name: str, order: Order, outcome: Outcome) -> tuple[int, dict[str, Any]]:
        memory = self._office.journal.of.get(order.model)
        line = {
            "what": "command",
            "command": name,
            "model": order.model,
            "decision": outcome.word,
            "reason": outcome.reason,
            "text": outcome.text,
            "by": order.by or "somebody",
            "because": order.reason,
            "force": order.force,
            "generation": None if memory is None else memory.generation,
            "reasons": [one.told() for one in outcome.obstacles],
            "overridden": [one.told() for one in outcome.overridden],
        }
        self._office.metrics.decided(
            order.model, outcome.word, "command" if outcome.word == "taken" else outcome.reason
        )
        _logged(line)
        try:
            self._office.audit.write([line])
        except OSError as error:
            line["text"] = f"{outcome.text}; but the audit log cannot be written: {error.strerror}"
            return 503, {key: value for key, value in line.items() if key != "what"}
        if memory is not None:
            text = f"{name}: {outcome.text}" + (f" ({order.reason})" if order.reason else "")
            told = (order.model, outcome.word, outcome.reason, text, str(line["by"]), self._office.clock(), name)
            self._office.notices.tell(Notice(*told))
        return outcome.status, {key: value for key, value in line.items() if key != "what"}

    async def _move(
        self, model: Model, standing: Standing, order: Order, to: Mapping[str, float], mode: Mode, why: str
    ) -> str:
        reason = f"{why}: {order.reason}" if order.reason else why
        entry = self._office.switch.entry(model, to, mode, reason, order.by or "somebody")
        return await self._office.switch.to(entry, model, standing, latches=why == "rollback")

    def _latched(self, model: Model) -> str:
        latch = self._office.journal.of[model.name].latch
        return "" if latch is None else "; latched: alerts move nothing until `shadowdrift rollback arm`"

    async def _rollback(self, model: Model, order: Order) -> Outcome:
        standing, to = self._office.switch.standing(model.name), order.version or model.stable
        if not standing.mendable:
            return Outcome("refused", "active_file", standing.unreadable)
        if to is None:
            return Outcome("refused", "no_stable", "the configuration names no stable version; name a version")
        if to not in model.targets:
            return Outcome("refused", "unknown_version", f"{to} is none of the targets: {', '.join(model.targets)}")
        if standing.entry.asked == {to} and not standing.unreadable:
            return Outcome("refused", "serves_already", f"{to} serves already")
        away = await self._move(model, standing, order, {to: 1.0}, "serve", "rollback")
        return Outcome("taken", "rollback", f"{_serves(to, away)}{self._latched(model)}")

    async def _restore(self, model: Model, order: Order) -> Outcome:
        standing = self._office.switch.standing(model.name)
        if not standing.mendable:
            return Outcome("refused", "active_file", standing.unreadable)
        if standing.entry.asked == {model.production} and not standing.unreadable:
            return Outcome("refused", "serves_already", f"{model.production} serves already")
        away = await self._move(model, standing, order, {model.production: 1.0}, "serve", "restore")
        return Outcome("taken", "restore", f"{_serves(model.production, away)}{self._latched(model)}")

    async def _pause(self, model: Model, order: Order) -> Outcome:
        standing = self._office.switch.standing(model.name)
        if standing.unreadable:
            return Outcome("refused", "active_file", standing.unreadable)
        if standing.entry.mode == "paused":
            return Outcome("refused", "paused_already", f"{model.name} is paused already")
        away = await self._move(model, standing, order, standing.entry.weights, "paused", "pause")
        answers = "the fallback answers" if model.fallback is not None else "inferences get 503: there is no fallback"
        paused = "no version is asked"
        if away:
            paused = f"the active file pauses {model.name}; no proxy could be asked whether it has ({away})"
        return Outcome("taken", "pause", f"{paused}; {answers}")

    async def _promote(self, model: Model, order: Order) -> Outcome:
        version = order.version or model.shadow
        stands = impossible(model, version, self._office.switch.standing(model.name))
        if stands is not None or version is None:
            found = (stands,) if stands is not None else ()
            return Outcome("refused", stands.rule if stands else "no_shadow", stands.text if stands else "", found)
        if order.force and not order.reason.strip():
            stands = Obstacle("no_reason", "force needs a reason")
            return Outcome("refused", "no_reason", stands.text, (stands,))
        facts = await self._office.asking.facts(model.name, self._office.clock())
        standing = self._office.switch.standing(model.name)
        against = obstacles(Asked(model, version, standing, facts, self._office.settings, self._office.clock()))
        if against and not order.force:
            text = f"the evidence does not carry {version}: " + "; ".join(one.text for one in against)
            return Outcome("refused", "evidence", text, tuple(against))
        text = _serves(version, await self._move(model, standing, order, {version: 1.0}, "serve", "promote"))
        if against:
            text += f", by force, against {', '.join(one.rule for one in against)}"
        return Outcome("taken", "promote", text, overridden=tuple(against))

    async def _arm(self, model: Model, order: Order) -> Outcome:
        memory = self._office.journal.of[model.name]
        memory.armed, memory.latch = True, None
        self._keep()
        dry = "; dry_run is on, so nothing moves" if self._office.settings.dry_run else ""
        return Outcome("taken", "arm", f"alerts may act{dry}")

    async def _disarm(self, model: Model, order: Order) -> Outcome:
        self._office.journal.of[model.name].armed = False
        self._keep()
        return Outcome("taken", "disarm", "alerts move nothing until `shadowdrift rollback arm`")

    def _keep(self) -> None:
        try:
            self._office.journal.write()
        except OSError as error:
            raise SwitchFailedError(f"the journal cannot be written: {error.strerror}") from None


def _serves(version: str, away: str) -> str:
    """Who serves; where no proxy could be asked, no more than what is known."""
    if not away:
        return f"{version} serves"
    return f"the active file names {version}; no proxy could be asked whether it serves ({away})"


def _logged(line: Mapping[str, Any]) -> None:
    """What came of a command; whatever the caller wrote is cut, the audit log has it whole."""
    fields = {key: cut(line[key]) for key in ("command", "model", "by", "because")}
    fields |= {"reason": line["reason"], "text": line["text"][:1000]}
    level = logging.ERROR if line["decision"] == "failed" else logging.INFO
    told = {"failed": "a command failed"}.get(line["decision"], f"a command was {line['decision']}")
    _log.log(level, told, extra={"fields": fields})
