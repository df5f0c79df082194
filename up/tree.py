"""The process tree of `shadowdrift up`: the development broker if it is asked for, exporter, proxy, rollback."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from configuration import Configuration, Kafka, resolved_document
from lifecycle.tether import Child

STOP_SECONDS: Final = 5.0
"""What a part may take to end, beyond the proxy's own drain."""


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
        self._children: list[Child] = []
        self.addresses: dict[str, str] = {}
        """Where each part listens: `proxy`, `admin`, `exporter`, `kafka`, and `rollback` where there is one."""

    async def start(self) -> None:
        """Start every part and wait until it listens. Raises `Refusal`; `stop` is due then too."""
        configuration = self._configuration
        if configuration.kafka == "embedded":
            broker = await self._child("development broker", "up.development_broker")
            kafka = Kafka(bootstrap_servers=str((await broker.ready())["bootstrap_servers"]))
            configuration = msgspec.structs.replace(configuration, kafka=kafka)
        assert configuration.kafka != "embedded"
        self.addresses["kafka"] = configuration.kafka.bootstrap_servers
        # The exporter first: it has begun to join its group when the first event is written.
        for part in ("exporter", "proxy"):
            await self._part(part, configuration)
        if decides(configuration):
            await self._part("rollback", self._with_neighbours(configuration))

    async def _part(self, part: str, configuration: Configuration) -> None:
        file = self._directory / f"{part}.yaml"
        file.touch(mode=0o600)
        file.write_text(resolved_document(configuration))
        child = await self._child(part, "cli.main", part, "--config", str(file))
        announced: dict[str, Any] = await child.ready()
        self.addresses |= announced

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
        self._children.append(child)
        return child

    async def until_one_ends(self) -> Child:
        """The first part that ends, which none should."""
        await asyncio.wait({child.ended for child in self._children}, return_when=asyncio.FIRST_COMPLETED)
        return next(child for child in self._children if child.ended.done())

    async def stop(self) -> None:
        """Stop the parts, the proxy first: it delivers what it has captured."""
        within = 3 * float(self._configuration.proxy.drain_timeout) + STOP_SECONDS
        for child in reversed(self._children):
            await child.stop(within)
        shutil.rmtree(self._directory, ignore_errors=True)
