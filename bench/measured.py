"""The exporter as it runs: `shadowdrift exporter`, its evidence, and what it uses while it does something."""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.accounting import cpu_nanoseconds, resident_bytes
from bench.backlog import MODEL
from bench.processes import Server, answers
from evidence.document import Evidence, decode
from lifecycle.refusal import Refusal

AGED_SECONDS: Final = 1.1
"""After it a scrape is made anew."""
_WITHIN_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.05
_IDLE: Final = 0.2


class Exporter:
    """One process, on a configuration of `bench.backlog`; it has its partitions when this is made."""

    def __init__(self, file: Path) -> None:
        address = json.loads(file.read_text())["exporter"]["listen"]
        self._url = f"http://{address}"
        command = [sys.executable, "-m", "cli.main", "exporter", "--config", str(file)]
        self.server = Server("exporter", command, file.parent / "exporter")
        self.server.until(lambda: answers(f"{self._url}/-/ready"), 60)

    def pause(self) -> None:
        """Stop it where it stands."""
        self.server.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.server.signal(signal.SIGCONT)

    def get(self, path: str) -> bytes:
        """What it answers."""
        with urllib.request.urlopen(f"{self._url}{path}", timeout=60) as answer:  # noqa: S310 - our own http address
            body: bytes = answer.read()
            return body

    def evidence(self) -> Evidence:
        """Of the only model."""
        return decode(self.get(f"/evidence/{MODEL}"))

    def reached(self, last: float) -> float:
        """Wait until it has taken the event of that time of both roles, and all before; the clock when it had.

        It is asked only when it seems to have nothing to do, so that asking costs it little.
        """
        deadline = time.monotonic() + _WITHIN_SECONDS
        while time.monotonic() < deadline:
            at, used = time.perf_counter(), cpu_nanoseconds(self.server.pid)
            time.sleep(_LOOK_SECONDS)
            if cpu_nanoseconds(self.server.pid) - used < _IDLE * _LOOK_SECONDS * 1e9:
                try:
                    freshness = self.evidence().freshness
                except urllib.error.HTTPError:  # it was stopped for so long that it has to find its place again
                    continue
                if freshness.production == freshness.shadow == last and not freshness.lag_events:
                    return at
        raise Refusal(f"exporter: not all events in {_WITHIN_SECONDS:.0f} s; its log is {self.server.log}")

    def used(self, what: Callable[[], Any]) -> float:
        """Milliseconds of CPU that it uses, all threads, while something is done."""
        before = cpu_nanoseconds(self.server.pid)
        what()
        return (cpu_nanoseconds(self.server.pid) - before) / 1e6

    def cpu_seconds(self) -> float:
        """What it has used since it was started."""
        return cpu_nanoseconds(self.server.pid) / 1e9

    def resident_mib(self) -> float:
        """Its memory now."""
        return resident_bytes([self.server.pid]) / 2**20

    def peak_mib(self) -> float:
        """The most that it had."""
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
