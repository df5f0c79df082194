"""The processes of one configuration: an emitter, and a worker on each of the proxy's sockets, all kept running."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec

from configuration import Configuration, resolved_document
from lifecycle.refusal import Refusal
from lifecycle.tether import Child
from privacy.keys import Keys
from proxy.counters import SharedCounters, shared_file
from proxy.instructions import Instructions
from proxy.layout import Layout, worker_slots
from proxy.listeners import Listeners
from proxy.routing.active import Active
from proxy.supervision.crossing import Crossing
from proxy.supervision.keeper import Keeper, Member
from proxy.supervision.totals import Part, Process, Totals

START_SECONDS: Final = 30.0
"""How long a process may take until it serves."""

SPARE_SECONDS: Final = 3.0
"""What a process may take beyond its own deadline before it is killed."""

SETTLE_SECONDS: Final = 2.0
"""How long an emitter may take, once every worker has ended, to read what they handed over."""

SLOT_SECONDS: Final = 5.0
"""How long a new worker waits for a slot before the emitter, which should read dead workers out, is taken for stuck."""

_MODULES: Final[dict[Part, str]] = {"worker": "proxy.traffic.worker", "emitter": "proxy.emitter.main"}
_QUICK_LOOK: Final = 0.02
_LOOK: Final = 0.2

_log = logging.getLogger("shadowdrift.proxy")


class Generation:
    """Starts them, restarts what ends, accounts for what is lost with it, and brings them to an end in order.

    The emitter's socket outlives the emitter, as the clients' sockets outlive the workers: what workers hand over while
    a new emitter starts waits in it.
    """

    def __init__(
        self,
        configuration: Configuration,
        keys: Keys,
        listeners: Listeners,
        totals: Totals,
        path: Path,
        active: Active,
    ) -> None:
        self._active = active
        self.configuration = configuration
        layout, slots = Layout(configuration), worker_slots(configuration)
        self._emitter_slot = slots
        self._file = shared_file(slots + 1, layout)
        self._shared = SharedCounters(self._file, slots + 1, layout)
        self._crossing = Crossing(self._shared, slots, totals)
        self._listeners = listeners
        self._totals = totals
        self._path = path
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._instructions = Instructions(
            configuration=resolved_document(configuration),
            keys=keys,
            index=0,
            listener=0,
            counters=self._file,
            emitter_path=str(path),
        )
        self._links = 0
        self._members: dict[Member, asyncio.Task[None]] = {}
        """Those that run, each with the task that accounts for its end."""
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Return when all serve. Raises `Refusal`, and leaves nothing behind then."""
        try:
            self._channel.bind(str(self._path))
            self._channel.listen(2 * self._emitter_slot)
            emitter = await self._start("emitter", 0)
            workers = [await self._spawn("worker", index) for index in range(self.configuration.proxy.workers)]
            for worker in workers:
                await self._until_it_serves(worker)
        except BaseException:
            await self.stop()
            raise
        keeper = Keeper(self._start, self._totals.restarts, self._stopping)
        self._tasks = [asyncio.create_task(keeper.keep(member)) for member in (emitter, *workers)]
        self._tasks.append(asyncio.create_task(self._tend()))

    def tell_active(self, active: dict[str, Any]) -> None:
        """Who serves has changed."""
        for member in self._members:
            if member.part == "worker":
                member.child.tell({"active": active})

    async def broken(self) -> None:
        """Wait for a fault of ours in keeping the processes; raise it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    def keep_no_more(self) -> None:
        """It will stop: what ends from now on has no successor."""
        self._stopping.set()

    async def stop(self) -> None:
        """Workers first, which serve what they accepted and hand over what they captured; then the emitter."""
        self.keep_no_more()
        await asyncio.gather(*self._tasks)
        drain = float(self.configuration.proxy.drain_timeout)
        workers = [member for member in self._members if member.part == "worker"]
        await asyncio.gather(*(self._stop(worker, drain + SPARE_SECONDS) for worker in workers))
        emitters = list(self._members)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS if emitters else 0):
                while self._crossing.look(monotonic()) or self._crossing.unsettled:  # noqa: ASYNC110 - memory of others
                    await asyncio.sleep(_QUICK_LOOK)
        await asyncio.gather(*(self._stop(emitter, 2 * (drain + SPARE_SECONDS)) for emitter in emitters))
        self._crossing.close()
        self._channel.close()
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    async def _stop(self, member: Member, within: float) -> None:
        ending = self._members.get(member)
        member.child.tell({"relieved": True})
        if not await member.child.stop(within):
            _log.warning(f"the {member.child.name} did not end in time and was killed")
        if ending is not None:
            await ending

    # Starting.

    async def _start(self, part: Part, index: int) -> Member:
        member = await self._spawn(part, index)
        await self._until_it_serves(member)
        return member

    async def _spawn(self, part: Part, index: int) -> Member:
        slot = await (self._emitters_slot() if part == "emitter" else self._free_slot())
        listener = self._channel if part == "emitter" else self._listeners.sockets[index]
        self._links += 1
        active = self._active.told()
        own = msgspec.structs.replace(
            self._instructions, index=slot, listener=listener.fileno(), emitter_link=self._links, active=active
        )
        self._shared.clear(slot)
        if part == "emitter":
            self._crossing.emitter_began()
        else:
            self._crossing.worker_began(slot)
        try:
            child = await Child.start(
                part if part == "emitter" else f"worker {index}",
                _MODULES[part],
                instructions=msgspec.msgpack.encode(own),
                descriptors=(listener.fileno(), self._file),
            )
        except OSError as error:
            self._give_back(part, slot)
            raise Refusal(f"no process can be made: {error.strerror or error}") from None
        member = Member(part, index, child, Process(part, self._shared, slot))
        self._totals.begin(member.process)
        self._members[member] = asyncio.create_task(self._account(member))
        if part == "worker" and self._active.told() != active:  # it has changed while the process was made
            child.tell({"active": self._active.told()})
        return member

    def _give_back(self, part: Part, slot: int) -> None:
        if part == "emitter":
            self._crossing.emitter_ended()
        else:
            self._crossing.worker_ended(slot, monotonic())

    async def _emitters_slot(self) -> int:
        """The emitters' one slot, once the last numbers of the former one are read."""
        for member, ending in list(self._members.items()):
            if member.part == "emitter":
                await ending
        return self._emitter_slot

    async def _free_slot(self) -> int:
        stuck = monotonic() + SLOT_SECONDS
        while (slot := self._crossing.free_slot()) is None:
            if self._stopping.is_set():  # nobody looks for free ones any more
                raise Refusal("the proxy stops")
            if monotonic() >= stuck:
                stuck += SLOT_SECONDS
                for emitter in (member for member in self._members if member.part == "emitter"):
                    _log.error("the emitter does not read what dead workers left; it is killed")
                    emitter.child.process.kill()
            await asyncio.sleep(_QUICK_LOOK)
        return slot

    async def _until_it_serves(self, member: Member) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                await member.child.ready()
        except TimeoutError:
            await member.child.stop(0)
            raise Refusal(f"the {member.child.name} does not serve after {START_SECONDS:g} s") from None
        member.child.listen(member.hear)
        if member.part == "emitter":
            self._crossing.emitter_ready(monotonic())
        else:
            self._crossing.worker_ready(member.process.slot)

    async def _account(self, member: Member) -> None:
        """When it has ended, keep what it counted."""
        await member.child.ended
        self._give_back(member.part, member.process.slot)
        self._totals.end(member.process)
        del self._members[member]
        self._changed.set()
        await member.child.stop(0)  # which closes its tether

    # Looking after the ways to the emitter.

    async def _tend(self) -> None:
        """Account for what was lost between two processes, and give each worker without an emitter the way to it."""
        while not self._stopping.is_set():
            homeless = self._crossing.look(monotonic())
            for member in self._members:
                if member.part == "worker" and member.process.slot in homeless:
                    self._links += 1
                    member.child.tell({"emitter": {"path": str(self._path), "generation": self._links}})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_QUICK_LOOK if homeless or self._crossing.unsettled else _LOOK):
                    await self._changed.wait()
            self._changed.clear()
