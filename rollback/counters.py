"""What the rollback tells Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rollback.journal import Memory

_Key = TypeVar("_Key", bound=tuple[str, ...])

NO_MODEL: Final = ""
"""In place of a name that the configuration lacks: names from outside become no series."""


class RollbackMetrics(Collector):
    """Counts of this process, and gauges of what is remembered."""

    def __init__(self, memories: Mapping[str, Memory], actions: tuple[str, ...], *, dry_run: bool) -> None:
        self._memories = memories
        self._dry_run = dry_run
        self._decisions: Counter[tuple[str, str, str]] = Counter()
        self._actions: Counter[tuple[str, str, str]] = Counter(
            {(model, action, result): 0 for model in memories for action in actions for result in ("done", "failed")}
        )
        self._refused: Counter[str] = Counter({"400": 0, "401": 0, "413": 0})
        self._notices: Counter[tuple[str, str]] = Counter()
        for model in memories:  # so that an alert on an increase sees the first one
            for word, reasons in _FROM_THE_START.items():
                self._decisions.update({(model, word, reason): 0 for reason in reasons})
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def decided(self, model: str, word: str, reason: str) -> None:
        """One more decision; a model that the configuration lacks is told without its name."""
        self._decisions[model if model in self._memories else NO_MODEL, word, reason] += 1

    def acted(self, model: str, action: str, result: str) -> None:
        """One more action."""
        self._actions[model, action, result] += 1

    def refused(self, status: int) -> None:
        """One more call that was no webhook, or had no token."""
        self._refused[str(status)] += 1

    def noticed(self, receiver: str, result: str) -> None:
        """What became of a notice."""
        self._notices[receiver, result] += 1

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        yield _counter(
            "rollback_decisions_total", "What was made of alerts and commands.", ("model", "decision", "reason"),
            self._decisions,
        )  # fmt: skip
        yield _counter("rollback_actions_total", "Actions run.", ("model", "action", "result"), self._actions)
        yield _counter(
            "rollback_refused_requests_total", "Calls refused at the door.", ("status",),
            {(status,): count for status, count in self._refused.items()},
        )  # fmt: skip
        yield _counter("rollback_notices_total", "Notices to people.", ("to", "result"), self._notices)
        for name, text, value in (
            ("rollback_armed", "1 while the automatic part may act.", lambda one: float(one.armed)),
            ("rollback_latched", "1 since it has acted, until a person arms it.", lambda one: float(bool(one.latch))),
            ("rollback_generation", "Grows with each decision about who serves.", lambda one: float(one.generation)),
            ("rollback_last_switch_timestamp_seconds", "When traffic was moved last.", lambda one: one.switched_at),
        ):
            gauge = GaugeMetricFamily(name, text, labels=["model"])
            for model, memory in self._memories.items():
                if (number := value(memory)) is not None:
                    gauge.add_metric([model], number)
            yield gauge
        yield GaugeMetricFamily("rollback_dry_run", "1 while alerts move nothing.", value=float(self._dry_run))
        build = GaugeMetricFamily("shadowdrift_build_info", "The version that runs.", labels=["part", "version"])
        build.add_metric(["rollback", version("shadowdrift")], 1)
        yield build


def _counter(name: str, text: str, labels: tuple[str, ...], counts: Mapping[_Key, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in counts.items():
        family.add_metric(key, count)
    return family


_FROM_THE_START: Final = {
    "inconclusive": (
        "active_file", "exporter_away", "other_version", "prometheus_away", "stale_evidence", "too_few",
        "value_missing", "warming",
    ),
    "failed": ("action",),
    "taken": ("accuracy", "alert", "command", "disagreement", "errors", "feature_drift", "latency", "prediction_drift"),
}  # fmt: skip
