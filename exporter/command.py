"""`shadowdrift exporter`."""

from __future__ import annotations

from functools import partial
from typing import Final

from configuration import Configuration
from configuration.option import load_for_part, parser
from exporter.main import serve
from lifecycle.process import run
from logs.lines import log_to_stdout

_GONE_SECONDS: Final = 30.0
"""Twice what an orderly end takes at most. Kafka's client can lose a cancellation when it closes (`lifecycle.bounded`),
and then no deadline within the event loop ends it."""


def main(arguments: list[str]) -> int:
    """Measure until SIGTERM; SIGHUP reads the file again."""
    options = parser("exporter", "Measure drift in the events, for Prometheus.").parse_args(arguments)

    def read() -> Configuration:
        return load_for_part("exporter", options.config)

    configuration = read()
    log_to_stdout("exporter")
    return run(partial(serve, configuration, read=read), gone_within=_GONE_SECONDS)
