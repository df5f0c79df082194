"""Moving traffic: what is to be in force is written down, done, and remembered, in this order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from active.file import Entry, Mode
from configuration import Configuration, Model
from rollback.actions.action import ActionError
from rollback.actions.active_file import ActiveFile, ActiveFileError
from rollback.actions.steps import Steps
from rollback.audit import Audit
from rollback.journal import NO_ALERT, Begun, Journal, Key, Latch
from rollback.standing import Standing, of_configuration, settle, standing_of

_log = logging.getLogger("shadowdrift.rollback")


class SwitchFailedError(Exception):
    """Traffic stays where it was; one line that says why."""


class Switch:
    """Who serves each model, and the only way to change it. The caller sees to one change of a model at a time."""

    def __init__(
        self,
        configuration: Configuration,
        journal: Journal,
        steps: Steps,
        active_file: ActiveFile,
        audit: Audit,
        clock: Callable[[], float],
    ) -> None:
        self.models = {model.name: model for model in configuration.models}
        self.steps = steps
        self._journal = journal
        self._active_file = active_file
        self._reads_file = "active-file" in configuration.rollback.actions
        self._audit = audit
        self._clock = clock

    def standing(self, name: str) -> Standing:
        """Who serves now, by what stands on the disk; what follows from it for the latch is kept."""
        model, memory = self.models[name], self._journal.of[name]
        raw: msgspec.Raw | Entry | None = memory.standing
        if self._reads_file:
            try:
                raw = (self._active_file.read() or {}).get(name)
            except ActiveFileError as error:
                return Standing(of_configuration(model, memory.generation), True, str(error), mendable=False)
        found = standing_of(model, raw, memory)
        changes = settle(memory, found, model)
        if changes:
            self._noted({"what": "settled", "model": name, "text": "; ".join(changes)})
        return found

    def recover(self) -> None:
        """Finish in the books what a former life began: its actions are done, or they are not."""
        for name, memory in self._journal.of.items():
            begun = memory.begun
            if begun is None:
                continue
            done = self.standing(name).entry == begun.after
            memory.begun = None
            if done:
                self._done(self.models[name], begun)
            self._noted({"what": "recovered", "model": name, "done": done, "generation": begun.after.generation})

    def entry(self, model: Model, weights: Mapping[str, float], mode: Mode, reason: str, by: str) -> Entry:
        """What is to be in force, as the next generation."""
        at = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        generation = self._journal.of[model.name].generation + 1
        return Entry(dict(weights), model.production, mode, reason, by, at, generation)

    async def to(
        self, after: Entry, model: Model, standing: Standing, *, latches: bool = False, key: Key = NO_ALERT
    ) -> str:
        """Put it in force, by an alert where `key` names one. Raises `SwitchFailedError`.

        Where no proxy could be asked whether it has taken it, why not; else nothing.
        """
        memory = self._journal.of[model.name]
        begun = Begun(after, latches, *key)
        try:
            memory.begun = begun
            self._journal.write()
            line = {"what": "begins", "model": model.name, "former": standing.entry, "entry": after}
            self._audit.write([{**line, "irreversible": self.steps.irreversible}])
        except OSError as error:
            memory.begun = None
            raise SwitchFailedError(f"nothing is begun that cannot be written down: {error.strerror}") from None
        for warning in self.steps.irreversible:
            _log.warning(warning, extra={"fields": {"model": model.name}})
        try:
            await self.steps.apply(model, standing.entry, after)
        except ActionError as error:
            memory.begun = None
            self._kept()
            raise SwitchFailedError(str(error)) from None
        self._done(model, begun)
        self._kept()
        fields: dict[str, Any] = {"model": model.name, "weights": after.weights, "mode": after.mode, "by": after.by}
        _log.info("who serves was changed", extra={"fields": {**fields, "reason": after.reason}})
        return self._active_file.unconfirmed.get(model.name, "")

    def _done(self, model: Model, begun: Begun) -> None:
        memory, after = self._journal.of[model.name], begun.after
        memory.begun = None
        memory.standing = after
        memory.generation = after.generation
        memory.switched_at = self._clock()
        if begun.latches:
            memory.latch = Latch(memory.switched_at, after.reason, model.production)
        if begun.fingerprint:
            memory.remember((begun.fingerprint, begun.starts_at), after.generation)

    def _kept(self) -> None:
        """Traffic has moved, or stays: that the disk does not take the journal changes neither."""
        try:
            self._journal.write()
        except OSError as error:
            _log.error("the journal cannot be written", extra={"fields": {"why": error.strerror}})

    def _noted(self, line: Mapping[str, Any]) -> None:
        self._kept()
        try:
            self._audit.write([line])
        except OSError as error:
            _log.error("the audit log cannot be written", extra={"fields": {"why": error.strerror}})
