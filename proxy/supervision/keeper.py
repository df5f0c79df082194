"""Keeps processes running: a successor for whatever dies, or is asked to end by somebody else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from lifecycle.backoff import Backoff
from lifecycle.refusal import Refusal
from lifecycle.tether import Child
from proxy.supervision.totals import Part, Process

_log = logging.getLogger("shadowdrift.proxy")


@dataclass(eq=False)
class Member:
    """One process of a generation."""

    part: Part
    index: int
    """Which of the sockets a worker serves."""
    child: Child
    process: Process
    started: float = field(default_factory=monotonic)
    leaves: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it was asked to end by somebody else, and stays until its successor serves."""

    def hear(self, message: dict[str, Any]) -> None:
        """It announces something."""
        if message.get("leaves"):
            self.leaves.set()


class Keeper:
    """Starts successors until `stopping` is set; `restarts` counts them."""

    def __init__(
        self,
        start: Callable[[Part, int], Awaitable[Member]],
        restarts: Counter[Part],
        stopping: asyncio.Event,
    ) -> None:
        """`start` returns when the process serves; it raises `Refusal` when it does not."""
        self._start = start
        self._restarts = restarts
        self._stopping = stopping

    async def keep(self, member: Member) -> None:
        """Return when the processes are to stop; whoever is a member then goes on."""
        backoff = Backoff()
        while await self._ends_or_leaves(member):
            name, delay = member.child.name, 0.0
            if member.child.ended.done():
                delay = backoff.delay(monotonic() - member.started)
                fields = {"exit_code": member.child.ended.result(), "again_in_seconds": delay}
                _log.error(f"the {name} ended unexpectedly; it is started again", extra={"fields": fields})
            else:
                _log.info(f"the {name} was asked to end; its successor is started")
            successor = await self._successor(member, delay, backoff)
            member.child.tell({"relieved": True})
            if successor is None:
                return
            member = successor

    async def _ends_or_leaves(self, member: Member) -> bool:
        """False when the processes are to stop first."""
        leaving, stopping = asyncio.create_task(member.leaves.wait()), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({member.child.ended, leaving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            stopping.cancel()
        return not self._stopping.is_set()

    async def _successor(self, member: Member, delay: float, backoff: Backoff) -> Member | None:
        """The process that takes a member's place; None when the processes are to stop first."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return None
            self._restarts[member.part] += 1
            try:
                return await self._start(member.part, member.index)
            except Refusal as error:
                delay = backoff.delay(0.0)
                fields = {"why": str(error), "again_in_seconds": delay}
                _log.error(f"the {member.child.name} could not be started", extra={"fields": fields})
