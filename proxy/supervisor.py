"""The supervisor: makes the sockets and the shared counters, starts the processes, tells how they are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from admin.server import AdminServer, cannot_listen
from configuration import Configuration, resolved_document
from configuration.brokers import brokers_of
from configuration.files import check_files
from configuration.units import Address, parse_address
from lifecycle.refusal import Refusal
from lifecycle.tether import Child, Tether
from proxy.counters import SharedCounters, shared_file
from proxy.exposition import ProxyMetrics
from proxy.keys import load_or_make
from proxy.layout import Layout
from proxy.worker import Instructions
from reference.profile import load_for

BACKLOG: Final = 4096
PROBE_SECONDS: Final = 0.5
_SPARE_SECONDS: Final = 3.0
"""What a process may take beyond its own deadline before it is killed."""

_log = logging.getLogger("shadowdrift.proxy")


class Supervisor:
    """One proxy: its workers, its emitter, and the endpoints that tell of them."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._layout = Layout(configuration)
        workers = configuration.proxy.workers
        self._counters = shared_file(workers + 1, self._layout)
        self._shared = SharedCounters(self._counters, workers + 1, self._layout)
        self._emitter_slot = workers
        self._metrics = ProxyMetrics(configuration, self._layout, self._shared, self._emitter_slot)
        self._workers: list[Child] = []
        self._emitter: Child | None = None
        self._waits_for: str | None = "its workers"
        self._sockets: list[socket.socket] = []

    async def serve(self, tether: Tether, stop: asyncio.Event) -> None:
        """Serve until asked to stop. Raises `Refusal` for what a user can mend."""
        settings = self._configuration.proxy
        # The emitter and the workers read these; here what is missing is refused before anything runs.
        brokers_of(self._configuration)
        check_files(self._configuration)
        for index, model in enumerate(self._configuration.models):
            load_for(model, index)
        keys = load_or_make(Path(self._configuration.state_dir))
        admin = AdminServer(self._metrics.text, lambda: self._waits_for, token_file=settings.token_file)
        address, self._sockets = _listeners("proxy.listen", settings.listen, settings.workers)
        try:
            with _private_directory() as directory:
                admin_address = await admin.start("proxy.admin", settings.admin)
                instructions = Instructions(
                    configuration=resolved_document(self._configuration),
                    keys=keys,
                    index=0,
                    listener=0,
                    counters=self._counters,
                    emitter_path=str(directory / "emitter.sock"),
                )
                await self._start(instructions)
                probing = asyncio.create_task(self._until_production_answers())
                tether.announce({"proxy": f"http://{address}", "admin": f"http://{admin_address}"})
                _log.info("serves", extra={"fields": {"listen": str(address), "admin": str(admin_address)}})
                try:
                    await self._watch(stop)
                finally:
                    probing.cancel()
                    await self._stop()
        finally:
            await admin.stop()

    async def _start(self, instructions: Instructions) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.bind(instructions.emitter_path)
            channel.listen(self._configuration.proxy.workers + 1)
            self._emitter = await _spawn("emitter", "proxy.emitter.main", instructions, self._emitter_slot, channel)
        await self._emitter.ready()
        for index, listener in enumerate(self._sockets):
            self._workers.append(await _spawn(f"worker {index}", "proxy.worker", instructions, index, listener))
        for worker in self._workers:
            await worker.ready()

    async def _until_production_answers(self) -> None:
        """Ready means that every production target has been reached once; requests are served meanwhile."""
        for model in self._configuration.models:
            url = urlsplit(model.targets[model.production].urls[0])
            self._waits_for = f"production of {model.name} at {url.netloc}"
            while not await _reachable(url.hostname or "", url.port or 80):  # noqa: ASYNC110 - another host's state
                await asyncio.sleep(PROBE_SECONDS)
        self._waits_for = None

    async def _watch(self, stop: asyncio.Event) -> None:
        """Until the stop, or until a process ends that should not."""
        assert self._emitter is not None
        ended = {child.ended: child for child in (*self._workers, self._emitter)}
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({stopping, *ended}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in done & ended.keys():
            child = ended[task]
            raise Refusal(f"the {child.name} ended unexpectedly (exit code {child.ended.result()}); start again")

    async def _stop(self) -> None:
        """Workers first, which hand over what they captured; then the emitter, which delivers it."""
        self._waits_for = "nothing: it stops"
        for listener in self._sockets:
            listener.close()  # the workers still hold them, and take what the kernel has accepted
        within = float(self._configuration.proxy.drain_timeout) + _SPARE_SECONDS
        await asyncio.gather(*(worker.stop(within) for worker in self._workers))
        if self._emitter is not None:
            await self._emitter.stop(2 * within)
        _log.info("has stopped", extra={"fields": self._totals()})

    def _totals(self) -> dict[str, int]:
        numbers = self._metrics.numbers()
        return {
            name: sum(numbers[place] for _, place in self._layout.series(name))
            for name in ("events_captured_total", "events_delivered_total", "events_lost_total", "events_waiting")
        }


async def _spawn(name: str, module: str, instructions: Instructions, index: int, listener: socket.socket) -> Child:
    own = msgspec.structs.replace(instructions, index=index, listener=listener.fileno())
    return await Child.start(
        name,
        module,
        instructions=msgspec.msgpack.encode(own),
        descriptors=(listener.fileno(), instructions.counters),
    )


def _listeners(setting: str, listen: str, count: int) -> tuple[Address, list[socket.socket]]:
    """One SO_REUSEPORT socket for each worker; the kernel spreads new connections over them."""
    address = parse_address(listen)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sockets: list[socket.socket] = []
    try:
        # SO_REUSEPORT alone would let a second proxy of the same user take half of the connections in silence.
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
        port = address.port
        for _ in range(count):
            listener = socket.socket(family)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((address.host, port))
            port = listener.getsockname()[1]
            listener.listen(BACKLOG)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise Refusal(cannot_listen(setting, listen, error)) from None
    return Address(address.host, port), sockets


async def _reachable(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS * 4):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError, UnicodeError):  # UnicodeError: a host name that cannot be one
        return False
    writer.close()
    return True


@contextlib.contextmanager
def _private_directory() -> Iterator[Path]:
    """A directory that this user alone can enter, for the emitter's socket: its path must be short."""
    path = Path(tempfile.mkdtemp(prefix="shadowdrift-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
