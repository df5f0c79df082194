"""The supervisor: keeps the sockets and the totals, and decides which generation of processes serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from admin.server import AdminServer
from configuration import Configuration
from configuration.brokers import brokers_of
from configuration.files import check_files
from lifecycle.refusal import Refusal
from lifecycle.tether import Tether
from privacy.keys import Keys, keys_of
from proxy.listeners import Listeners
from proxy.routing.orders import Routing
from proxy.supervision.exposition import ProxyMetrics
from proxy.supervision.generation import Generation
from proxy.supervision.totals import Totals
from reference.profile import load_for

_TEMPORARY_BYTES: Final = 60
"""What TMPDIR may have, so that the sockets below it have names short enough."""

_log = logging.getLogger("shadowdrift.proxy")


class Supervisor:
    """One proxy: the generation that serves, those that drain, and the endpoints that tell of them."""

    def __init__(self, configuration: Configuration, read: Callable[[], Configuration]) -> None:
        """`read` reads the configuration again; it raises `Refusal`."""
        self._configuration = configuration
        self._read = read
        self._totals = Totals()
        self._metrics = ProxyMetrics(configuration, self._totals)
        self._waits_for: str | None = "its workers"
        self._keys: Keys
        self._listeners: Listeners
        self._directory: Path
        self._serving: Generation
        self._generations = 0
        self._routing: Routing
        self._following: list[asyncio.Task[None]] = []
        self._draining: set[asyncio.Task[None]] = set()

    async def serve(self, tether: Tether, stop: asyncio.Event) -> None:
        """Serve until asked to stop. Raises `Refusal` for what a user can mend."""
        settings = self._configuration.proxy
        hangup = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)
        _check(self._configuration)
        routing = Routing(self._configuration, self._tell)
        self._metrics.active = routing.active
        self._keys = keys_of(self._configuration)
        admin = AdminServer(self._metrics.text, lambda: self._waits_for, token_file=settings.token_file)
        self._listeners = await Listeners.open("proxy.listen", settings.listen, settings.workers)
        try:
            with _private_directory() as self._directory:
                admin_address = await admin.start("proxy.admin", settings.admin)
                self._waits_for = "production"
                self._serving = await self._start(self._configuration, routing, self._keys)
                self._follow(routing)
                address = self._listeners.address
                tether.announce({"proxy": f"http://{address}", "admin": f"http://{admin_address}"})
                _log.info("serves", extra={"fields": {"listen": str(address), "admin": str(admin_address)}})
                try:
                    await self._watch(tether, stop, hangup)
                finally:
                    self._follow(None)
                    await self._stop()
        finally:
            self._listeners.close()
            await admin.stop()

    async def _start(self, configuration: Configuration, routing: Routing, keys: Keys) -> Generation:
        self._generations += 1
        path = self._directory / f"emitter-{self._generations}.sock"
        generation = Generation(configuration, keys, self._listeners, self._totals, path, routing.active)
        await generation.start()
        return generation

    def _follow(self, routing: Routing | None) -> None:
        """Let this one say from now on which versions serve; None: nobody."""
        for task in self._following:
            task.cancel()
        self._following = []
        if routing is None:
            return
        self._routing = routing
        self._metrics.active = routing.active
        self._following.append(asyncio.create_task(routing.run()))
        if self._waits_for is not None:
            self._following.append(asyncio.create_task(routing.until_ready(self._wait_for)))

    def _wait_for(self, what: str | None) -> None:
        self._waits_for = what

    def _tell(self, active: dict[str, Any]) -> None:
        self._serving.tell_active(active)

    async def _watch(self, tether: Tether, stop: asyncio.Event, hangup: asyncio.Event) -> None:
        """Until the stop; a hangup meanwhile asks for the configuration to be read again."""
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            broken = asyncio.create_task(self._serving.broken())
            asked = asyncio.create_task(hangup.wait())
            done, pending = await asyncio.wait({stopping, broken, asked}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending - {stopping}:
                task.cancel()
            if broken in done:
                broken.result()
            if hangup.is_set() and not stop.is_set():
                hangup.clear()
                refused = await self._reload()
                tether.announce({"reloaded": not refused, "why": refused})

    async def _reload(self) -> str:
        """Let a generation of the configuration as it is now take over, or leave everything as it is and say why."""
        try:
            configuration = self._read()
            _check(configuration)
            _check_what_stays(self._configuration, configuration)
            routing = Routing(configuration, self._tell, self._routing)
            await routing.prove(self._routing.active)
            keys = keys_of(configuration)  # which may have been rotated
            successor = await self._start(configuration, routing, keys)
        except Refusal as error:
            self._metrics.reload_succeeded = False
            _log.error("the configuration was not taken; nothing changes", extra={"fields": {"why": str(error)}})
            return str(error)
        former, self._serving = self._serving, successor
        self._configuration = configuration
        self._follow(routing)
        self._metrics.reload_succeeded = True
        _log.info("the configuration was taken; what serves the former one drains")
        task = asyncio.create_task(former.stop())
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)
        return ""

    async def _stop(self) -> None:
        self._waits_for = "nothing: it stops"
        self._serving.keep_no_more()  # whoever asks this process to end may have asked the others too
        await self._listeners.quiet()
        self._listeners.close()  # the workers still have them, and take what the kernel has accepted
        await asyncio.gather(self._serving.stop(), *self._draining)
        names = ("events_captured_total", "events_delivered_total", "events_lost_total", "events_waiting")
        _log.info("has stopped", extra={"fields": {name: self._totals.sum(name) for name in names}})


def _check(configuration: Configuration) -> None:
    """What workers and emitter will read is refused here, before anything is started. Raises `Refusal`."""
    brokers_of(configuration)
    check_files(configuration)
    for index, model in enumerate(configuration.models):
        load_for(model, index)


def _check_what_stays(now: Configuration, wanted: Configuration) -> None:
    """Sockets, workers' number and state are the supervisor's own. Raises `Refusal` where they are to change."""
    pairs = {"state_dir": (now.state_dir, wanted.state_dir)}
    for field in ("listen", "admin", "workers", "token_file"):
        pairs[f"proxy.{field}"] = (getattr(now.proxy, field), getattr(wanted.proxy, field))
    for setting, (value, other) in pairs.items():
        if value != other:
            raise Refusal(f"{setting} must stay {value} while the proxy runs, got {other}; start it anew to change it")


@contextlib.contextmanager
def _private_directory() -> Iterator[Path]:
    """A directory that this user alone can enter, for the emitters' sockets: their paths must be short.

    A Unix socket's path has at most 103 bytes; where TMPDIR lies too deep for that, /tmp serves.
    """
    deep = len(os.fsencode(tempfile.gettempdir())) > _TEMPORARY_BYTES
    path = Path(tempfile.mkdtemp(prefix="shadowdrift-", dir="/tmp" if deep else None))  # noqa: S108 - made for us alone
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
