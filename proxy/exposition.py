"""The proxy's `/metrics`: the slots' sums in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from configuration import Configuration
from proxy.counters import SharedCounters, buckets
from proxy.layout import FAMILIES, LATENCY_EDGES, Family, Layout


class ProxyMetrics(Collector):
    """Everything the proxy tells, read in one instant: the emitter's slot first, then the workers'.

    In that order the socket between them is measured by its two ends without ever showing less than nothing in it:
    what a worker has handed over later than the emitter was read counts as still being on the way.
    """

    def __init__(self, configuration: Configuration, layout: Layout, shared: SharedCounters, emitter_slot: int) -> None:
        self._configuration = configuration
        self._layout = layout
        self._shared = shared
        self._emitter_slot = emitter_slot
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        numbers = self.numbers()
        for family in FAMILIES.values():
            if family.kind != "internal":
                yield self._metric(family, numbers)
        yield from self._active()
        build = GaugeMetricFamily("shadowdrift_build_info", "The version that runs.", labels=["part", "version"])
        build.add_metric(["proxy", version("shadowdrift")], 1)
        yield build

    def numbers(self) -> list[int]:
        """The sum over all processes; `events_waiting` includes what is in the socket between them.

        What the emitter found in the spool was captured by an earlier run, and counts in this one from then on.
        """
        emitter = self._shared.read(self._emitter_slot)
        workers = [self._shared.read(index) for index in range(self._emitter_slot)]
        total = [sum(cells) for cells in zip(emitter, *workers, strict=True)]
        for labels, place in self._layout.series("events_handed"):
            total[self._layout.place("events_waiting", *labels)] += total[place]
        for (_worker, model, role), place in self._layout.series("events_received"):
            total[self._layout.place("events_waiting", model, role)] -= total[place]
        for labels, place in self._layout.series("events_recovered"):
            total[self._layout.place("events_captured_total", *labels)] += total[place]
        return total

    def _metric(self, family: Family, numbers: list[int]) -> Metric:
        if family.kind == "histogram":
            histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
            for labels, place in self._layout.series(family.name):
                counts, total = buckets(numbers, place)
                edges = [*(str(edge) for edge in LATENCY_EDGES), "+Inf"]
                histogram.add_metric(labels, list(zip(edges, counts, strict=True)), total)
            return histogram
        kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
        metric = kind(family.name, family.help, labels=family.labels)
        for labels, place in self._layout.series(family.name):
            metric.add_metric(labels, numbers[place])
        return metric

    def _active(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "inference_active_info", "The version that serves, and why.", labels=["model", "version", "reason"]
        )
        ratio = GaugeMetricFamily(
            "inference_traffic_ratio", "The share of requests that a version is given.", labels=["model", "version"]
        )
        for model in self._configuration.models:
            info.add_metric([model.name, model.production, "configuration"], 1)
            for name in model.targets:
                ratio.add_metric([model.name, name], 1.0 if name == model.production else 0.0)
        yield info
        yield ratio
