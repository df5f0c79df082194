"""Everything that takes part in one run: started, its window full, requests at a rate."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from bench.chain.results import Traffic
from bench.processes import Server, answers
from lifecycle.refusal import Refusal
from tests.support import alertmanager, prometheus
from tests.support.alertmanager import Alertmanager
from tests.support.kafka import Kafka, free_ports
from tests.support.prometheus import Prometheus
from tests.support.real_run import RealRun

FILLING_RATE: Final = 100.0
"""At the least: a window of 1,000 is full in ten seconds."""

_LOOK_SECONDS: Final = 0.05
_START_SECONDS: Final = 60.0
_T = TypeVar("_T")


class Scene:
    """It runs from the context's beginning to its end, without drift, `rate` requests a second, its window full."""

    def __init__(self, folder: Path, *, rate: float, window: int, on_feature_drift: str, looks_at: str) -> None:
        """Both models look at one feature, and agree."""
        self.folder = folder
        self.rate = rate
        self.window = window
        self._stack = ExitStack()
        self._rollback, self._prometheus, self._slack = free_ports(3)
        self._settings: dict[str, Any] = {
            "looks_at": looks_at,
            "bias": 0.0,
            "model": {"stable": "v1", "window": {"size": window}, "mirror": {"fraction": 0.05}},
            "rollback": {
                "listen": f"127.0.0.1:{self._rollback}",
                "prometheus": f"http://127.0.0.1:{self._prometheus}",
                "dry_run": False,
                "on_feature_drift": on_feature_drift,
            },
        }
        self.run: RealRun
        self.server: Prometheus
        self.alerts: Alertmanager
        self._began: dict[str, Any]

    def __enter__(self) -> Self:
        """Start the parts, fill the window, go over to the rate and stay there until the rules have seen it alone."""
        try:
            self._start()
            self._fill()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything, in the opposite order."""
        self._stack.close()

    def messages(self) -> list[dict[str, Any]]:
        """What Slack was told."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._slack}/messages", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def audit(self) -> str:
        """The rollback's audit log."""
        path = self.folder / "run" / "state" / "rollback" / "audit.jsonl"
        return path.read_text() if path.exists() else ""

    def ended(self) -> Traffic:
        """End the traffic; what became of it."""
        before = self.run.counts()
        counts = self.run.end_traffic()
        reached = (before["sent"] - self._began["sent"]) / (before["at"] - self._began["at"])
        return Traffic(round(reached, 2), counts["sent"], counts["failed"], counts["skipped"])

    def _start(self) -> None:
        kafka = Kafka(self.folder / "kafka")
        kafka.start()
        self._stack.callback(kafka.stop)
        folder = self.folder / "run"
        folder.mkdir()
        filling = max(self.rate, FILLING_RATE)
        self.run = self._stack.enter_context(
            RealRun(folder, rate=filling, kafka=kafka.bootstrap_servers, **self._settings)
        )
        slack = f"http://127.0.0.1:{self._slack}"
        stand_in = [sys.executable, "-m", "demo.slack", "--listen", f"127.0.0.1:{self._slack}"]
        server = self._stack.enter_context(Server("the stand-in Slack", stand_in, self.folder / "slack"))
        server.until(lambda: answers(f"{slack}/-/healthy"))
        rollback = {"rollback": f"http://127.0.0.1:{self._rollback}/alertmanager"}
        routes = alertmanager.adapted(self.folder, f"{slack}/services/T000/B000/secret", rollback, wait=None)
        self.alerts = self._stack.enter_context(Alertmanager(routes, level="debug"))
        targets = {**self.run.targets, "rollback": f"127.0.0.1:{self._rollback}"}
        scraping = prometheus.adapted(self.folder, targets, alertmanager=self.alerts.address, interval=None)
        self.server = self._stack.enter_context(Prometheus(scraping, self._prometheus))

    def _fill(self) -> None:
        wait(lambda: self.server.query("model:drift_window_instances:judged"), _START_SECONDS, "a full window")
        self.run.pace(self.rate)
        self._began = self.run.counts()
        time.sleep(steady_seconds(self.rate))
        raised = {alert["labels"]["alertname"] for alert in self.server.alerts()} - {"Watchdog"}
        if raised:
            raise Refusal(f"there is no drift yet, and {', '.join(sorted(raised))} is pending or fires")


def steady_seconds(rate: float) -> float:
    """How long the rate is held before drift begins; a slow one until the rules' five minutes hold nothing else."""
    return 315.0 if rate < 10 else 20.0


def wait(condition: Callable[[], _T | None], within: float, what: str) -> _T:
    """What it returns once that is true. `Refusal` where it is not in time."""
    ends = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > ends:
            raise Refusal(f"not within {within:.0f} s: {what}")
        time.sleep(_LOOK_SECONDS)
    return found
