"""The process tree of `shadowdrift up`: the development broker if it is asked for, exporter, proxy, rollback."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from configuration import Configuration, Kafka, resolved_document
from lifecycle.refusal import Refusal
from lifecycle.tether import Child

STOP_SECONDS: Final = 5.0
"""What a part may take to end, beyond the proxy's own drain."""
RELOAD_SECONDS: Final = 60.0
"""What a part may take to take another configuration: the proxy starts its workers first."""


def decides(configuration: Configuration) -> bool:
    """Whether there is something for a rollback to do: a stable version to go to, or a section of its own."""
    settings = configuration.rollback
    return settings != type(settings)() or any(model.stable is not None for model in configuration.models)


class Tree:
    """Started in the order in which the parts need one another, stopped in the order of the data's way."""

    def __init__(self, configuration: Configuration, output: BinaryIO | None = None) -> None:
        """`output` takes the parts' log lines, standard output without it."""
        self._configuration = configuration
        self._output = output
        self._directory = Path(tempfile.mkdtemp(prefix="shadowdrift-"))
        self._children: dict[str, Child] = {}
        self._changed = asyncio.Event()
        self._answers: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        """What proxy and exporter have said of a configuration that they were to take."""
        self.addresses: dict[str, str] = {}
        """Where each part listens: `proxy`, `admin`, `exporter`, `kafka`, and `rollback` where there is one."""

    async def start(self) -> None:
        """Start every part and wait until it listens. Raises `Refusal`; `stop` is due then too."""
        kafka = self._configuration.kafka
        if kafka == "embedded":
            broker = await self._child("development broker", "up.development_broker")
            self.addresses["kafka"] = str((await broker.ready())["bootstrap_servers"])
        else:
            self.addresses["kafka"] = kafka.bootstrap_servers
        # The exporter first: it has begun to join its group when the first event is written.
        for part in ("exporter", "proxy"):
            await self._part(part, self._configuration)
            queue = self._answers[part] = asyncio.Queue()
            self._children[part].listen(queue.put_nowait)
        if decides(self._configuration):
            await self._part("rollback", self._configuration)

    async def reload(self, configuration: Configuration) -> None:
        """Let the parts take another configuration, all of them or none. Raises `Refusal` where one does not.

        Proxy and exporter go on meanwhile; the rollback, whose memory is on the disk, is started anew. The proxy comes
        last: whom it asks is known to the others by then.
        """
        former = self._configuration
        if former.kafka != configuration.kafka:
            raise Refusal("kafka must stay as it is while the parts run; start them anew to change it")
        begun: list[str] = []
        try:
            for part in ("exporter", "rollback", "proxy"):
                begun.append(part)
                await self._take(part, configuration)
        except Refusal as error:
            why = str(error)
            for part in reversed(begun):
                try:
                    await self._take(part, former)
                except Refusal as another:
                    if str(another) != why:
                        why = f"{why}; nor can the {part} go back: {another}"
            raise Refusal(why) from None
        self._configuration = configuration

    async def _take(self, part: str, configuration: Configuration) -> None:
        if part == "rollback":
            if decides(configuration):
                self._write(part, configuration)  # before the former one is gone
            if part in self._children:
                await self._children.pop(part).stop(STOP_SECONDS)
            if decides(configuration):
                await self._part(part, configuration)
            return
        self._write(part, configuration)
        while not self._answers[part].empty():  # of one that was given up on
            self._answers[part].get_nowait()
        with contextlib.suppress(ProcessLookupError):  # it has ended, and soon all parts do
            self._children[part].process.send_signal(signal.SIGHUP)
        try:
            async with asyncio.timeout(RELOAD_SECONDS):
                answer = await self._answers[part].get()
        except TimeoutError:
            raise Refusal(f"the {part} has not taken the configuration in {RELOAD_SECONDS:g} s") from None
        if not answer["reloaded"]:
            raise Refusal(f"the {part} does not take the configuration: {answer['why']}")

    async def _part(self, part: str, configuration: Configuration) -> None:
        child = await self._child(part, "cli.main", part, "--config", str(self._write(part, configuration)))
        announced: dict[str, Any] = await child.ready()
        self.addresses |= announced

    def _write(self, part: str, configuration: Configuration) -> Path:
        """The file that a part reads. Raises `Refusal` where it cannot be written; what was there stays then."""
        if configuration.kafka == "embedded":
            kafka = Kafka(bootstrap_servers=self.addresses["kafka"])
            configuration = msgspec.structs.replace(configuration, kafka=kafka)
        if part == "rollback":
            configuration = self._with_neighbours(configuration)
        file = self._directory / f"{part}.yaml"
        fresh = file.with_name(f"{part}.yaml.new")
        try:
            fresh.touch(mode=0o600)
            fresh.write_text(resolved_document(configuration))
            fresh.replace(file)
        except OSError as error:
            raise Refusal(f"{file} cannot be written: {error.strerror}") from None
        return file

    def _with_neighbours(self, configuration: Configuration) -> Configuration:
        """The rollback asks the parts of this tree, wherever they listen, unless it is told whom to ask."""
        settings = configuration.rollback
        if not settings.exporters:
            settings = msgspec.structs.replace(settings, exporters=(self.addresses["exporter"],))
        if not settings.proxies:
            settings = msgspec.structs.replace(settings, proxies=(self.addresses["admin"],))
        return msgspec.structs.replace(configuration, rollback=settings)

    async def _child(self, name: str, module: str, *arguments: str) -> Child:
        child = await Child.start(name, module, arguments, output=self._output)
        self._children[name] = child
        self._changed.set()
        return child

    async def until_one_ends(self) -> Child:
        """The first part that ends, which none should."""
        while True:
            self._changed.clear()
            changed = asyncio.create_task(self._changed.wait())
            try:
                running = {child.ended for child in self._children.values()}
                await asyncio.wait({*running, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            for child in self._children.values():
                if child.ended.done():
                    return child

    async def stop(self) -> None:
        """Stop the parts, the proxy first: it delivers what it has captured."""
        within = 3 * float(self._configuration.proxy.drain_timeout) + STOP_SECONDS
        for child in reversed(self._children.values()):
            await child.stop(within)
        shutil.rmtree(self._directory, ignore_errors=True)
