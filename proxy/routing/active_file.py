"""Looking after the active file: what is new in it is decided, tried, and handed to the workers."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from proxy.routing.active import Active, Order
from proxy.routing.probe import Probes

LOOK_SECONDS: Final = 0.2
MAX_BYTES: Final = 1024 * 1024

_log = logging.getLogger("shadowdrift.proxy")

_Stamp: TypeAlias = tuple[int, ...] | str | None
"""What tells one content from the next: a file's identity and time, why it cannot be seen, None without a file."""


class ActiveFileWatch:
    """Looks every 0.2 s, in the supervisor, whether there is another file; a trial of a version holds nothing up."""

    def __init__(
        self, path: Path, active: Active, probes: Mapping[str, Probes], tell: Callable[[dict[str, Any]], None]
    ) -> None:
        """`tell` hands the workers what is in force, whenever that changes."""
        self._path = path
        self._active = active
        self._probes = probes
        self._tell = tell
        self._seen: _Stamp = None
        self.trials: dict[str, tuple[Order, asyncio.Task[None]]] = {}
        """By model, the wish whose versions are being asked now."""

    def begin(self) -> None:
        """Take what is in force at the start."""
        self._seen = self._stamp()
        content = self._read()
        if isinstance(content, str):
            self._active.unreadable(content)
        else:
            self._active.begin(content)

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    self.look()
                except Exception:
                    _log.exception("the active file could not be looked at")
        finally:
            self._end_trials(set(self.trials))

    def look(self) -> None:
        """Look once."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        before = dict(self._active.in_force)
        content = self._read()
        wishes: dict[str, Order] = {}
        if isinstance(content, str):
            self._active.unreadable(content)
        else:
            wishes = self._active.look(content)
        self._end_trials({name for name, (order, _) in self.trials.items() if wishes.get(name) != order})
        for name, order in wishes.items():
            if name not in self.trials:
                self._try(name, order)
        if self._active.in_force != before:
            self._tell(self._active.told())

    def _try(self, name: str, order: Order) -> None:
        """Put a wish in force as soon as every version that it moves traffic to has shown that it can serve."""
        untried = sorted(order.asked - self._active.in_force[name].asked)
        self.trials[name] = order, asyncio.create_task(self._trial(name, order, untried))

    async def _trial(self, name: str, order: Order, untried: list[str]) -> None:
        try:
            for version in untried:
                why = await self._probes[name].failure(version)
                if why is not None:
                    self._active.refuse(name, f"{version} {self._probes[name].fault(version)}: {why}")
                    return
            self._active.take(name, order)
            self._tell(self._active.told())
        except Exception as error:  # whatever it is, who serves must be known
            self._active.refuse(name, f"the probe failed: {error!r}")
        finally:
            if name in self.trials and self.trials[name][1] is asyncio.current_task():
                del self.trials[name]

    def _end_trials(self, names: set[str]) -> None:
        for name in names:
            self.trials.pop(name)[1].cancel()

    def _stamp(self) -> _Stamp:
        try:
            found = self._path.stat()
        except OSError as error:
            return None if error.errno in {errno.ENOENT, errno.ENOTDIR} else os.strerror(error.errno or 0)
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_mode

    def _read(self) -> bytes | str | None:
        """The content; None without a file; a text that says why it cannot be read."""
        if self._seen is None:
            return None
        try:
            # A pipe in its place must not hold the supervisor up.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return "it is not a file"
                content = os.read(descriptor, MAX_BYTES + 1)
            finally:
                os.close(descriptor)
        except OSError as error:
            return (error.strerror or str(error)).lower()
        return content if len(content) <= MAX_BYTES else f"it has more than {MAX_BYTES} bytes"
