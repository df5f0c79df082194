"""What alerts and people's commands are carried out with, which is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from configuration import Rollback
from rollback.audit import Audit
from rollback.counters import RollbackMetrics
from rollback.facts import Facts
from rollback.journal import Journal
from rollback.notices import Notices
from rollback.switch import Switch


class Asks(Protocol):
    """Who is asked for evidence."""

    async def facts(self, model: str, now: float) -> Facts:
        """What is known of a model."""
        ...


@dataclass(frozen=True)
class Office:
    """One of each; `clock` gives seconds since 1970."""

    settings: Rollback
    journal: Journal
    switch: Switch
    asking: Asks
    audit: Audit
    notices: Notices
    metrics: RollbackMetrics
    clock: Callable[[], float]
    locks: Mapping[str, asyncio.Lock] = field(init=False)
    """One for each model: what moves its traffic takes it, so that a command never crosses an alert."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "locks", {name: asyncio.Lock() for name in self.switch.models})
