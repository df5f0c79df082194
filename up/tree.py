"""The process tree of `shadowdrift up`: the development broker if it is asked for, the exporter, the proxy."""

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


class Tree:
    """Started in the order in which the parts need one another, stopped in the order of the data's way."""

    def __init__(self, configuration: Configuration, output: BinaryIO | None = None) -> None:
        """`output` takes the parts' log lines, standard output without it."""
        self._configuration = configuration
        self._output = output
        self._directory = Path(tempfile.mkdtemp(prefix="shadowdrift-"))
        self._children: list[Child] = []
        self.addresses: dict[str, str] = {}
        """Where each part listens: `proxy`, `admin`, `exporter`, and `kafka`."""

    async def start(self) -> None:
        """Start every part and wait until it listens. Raises `Refusal`; `stop` is due then too."""
        configuration = self._configuration
        if configuration.kafka == "embedded":
            broker = await self._child("development broker", "up.development_broker")
            kafka = Kafka(bootstrap_servers=str((await broker.ready())["bootstrap_servers"]))
            configuration = msgspec.structs.replace(configuration, kafka=kafka)
        assert configuration.kafka != "embedded"
        self.addresses["kafka"] = configuration.kafka.bootstrap_servers
        file = self._directory / "resolved.yaml"
        file.touch(mode=0o600)
        file.write_text(resolved_document(configuration))
        # The exporter first: it has begun to join its group when the first event is written.
        for part in ("exporter", "proxy"):
            child = await self._child(part, "cli.main", part, "--config", str(file))
            announced: dict[str, Any] = await child.ready()
            self.addresses |= announced

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
