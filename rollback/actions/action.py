"""What every action is: it puts an entry in force or leaves all as it was, and it can say how it is undone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from active.file import Entry
from configuration import Model

Undo: TypeAlias = Callable[[], Awaitable[None]]
"""Puts back what was before. Raises `ActionError`."""


class ActionError(Exception):
    """It could not be done, and what was in force before is in force; one line that says why."""


class Action(Protocol):
    """One way to put a decision in force."""

    name: str
    irreversible: str | None
    """Why it cannot be undone, as it is told before it runs; None where it can."""

    async def apply(self, model: Model, before: Entry, after: Entry) -> Undo:
        """Put `after` in force in the place of `before`. Raises `ActionError`."""
        ...


def main_version(entry: Entry) -> str:
    """The version with the greatest share."""
    return max(entry.weights, key=lambda version: (entry.weights[version], version))
