"""All configured actions, one after the other; what was done is undone when a later one fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from active.file import Entry
from configuration import Model
from rollback.actions.action import Action, ActionError, Undo

_log = logging.getLogger("shadowdrift.rollback")


class Steps:
    """In the order of `rollback.actions`."""

    def __init__(self, actions: Sequence[Action], count: Callable[[str, str, str], None] = lambda *_: None) -> None:
        """`count` is told the model, the action and `done`, `failed` or `undo_failed`."""
        self.actions = tuple(actions)
        self._count = count

    @property
    def irreversible(self) -> list[str]:
        """What cannot be undone, as it is told before anything runs."""
        return [action.irreversible for action in self.actions if action.irreversible is not None]

    async def apply(self, model: Model, before: Entry, after: Entry) -> None:
        """Put `after` in force. Raises `ActionError`, and then what was before is in force."""
        undos: list[tuple[Action, Undo]] = []
        for action in self.actions:
            try:
                undos.append((action, await action.apply(model, before, after)))
                self._count(model.name, action.name, "done")
            except Exception as error:
                if not isinstance(error, ActionError):  # a fault of ours must not leave half of a switch either
                    _log.exception("an action failed by a fault", extra={"fields": {"action": action.name}})
                    error = ActionError(f"{action.name}: {error!r}")
                self._count(model.name, action.name, "failed")
                left = await self._undo(model, undos)
                raise ActionError(f"{error}{left}; {model.name} stays as it was") from None

    async def _undo(self, model: Model, undos: list[tuple[Action, Undo]]) -> str:
        left = ""
        for action, undo in reversed(undos):
            try:
                await undo()
            except ActionError as error:
                self._count(model.name, action.name, "undo_failed")
                left += f"; and {action.name} could not be undone: {error}"
        return left
