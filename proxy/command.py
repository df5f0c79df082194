"""`shadowdrift proxy`."""

from __future__ import annotations

from configuration import Configuration
from configuration.option import load_for_part, parser
from lifecycle.process import run
from logs.lines import log_to_stdout
from proxy.supervision.supervisor import Supervisor


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM; SIGHUP reads the file again."""
    options = parser("proxy", "Serve, mirror and capture the traffic of the configured models.").parse_args(arguments)

    def read() -> Configuration:
        return load_for_part("proxy", options.config)

    configuration = read()
    log_to_stdout("proxy")
    return run(Supervisor(configuration, read).serve)
