"""The real Apache Kafka that a measurement's emitter delivers to: the tests' own, with our topics."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Final

from bench.processes import children
from cli.topics import main as topics
from tests.support.kafka import Kafka

# A run writes some gigabytes; what nobody will read any more goes soon.
_SETTINGS: Final = {
    "log.segment.bytes": str(64 * 1024 * 1024),
    "log.retention.bytes": str(512 * 1024 * 1024),
    "log.retention.check.interval.ms": "10000",
}


class Broker:
    """A running broker."""

    def __init__(self, folder: Path) -> None:
        before = set(children(os.getpid()))
        self.kafka = Kafka(folder, _SETTINGS)
        self.kafka.start()
        started = set(children(os.getpid())) - before
        self.processes = [pid for pid in started if Path(f"/proc/{pid}/comm").read_text().strip() == "java"]

    def make_topics(self, configuration: Path) -> None:
        """Those that the configuration's parts need."""
        with contextlib.redirect_stdout(io.StringIO()):
            topics(["--create", "--config", str(configuration)])
