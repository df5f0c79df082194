"""The proxy's `/metrics`: the totals in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from configuration import Configuration
from proxy.counters import buckets
from proxy.layout import FAMILIES, LATENCY_EDGES, Family, Key
from proxy.routing.active import Active
from proxy.supervision.totals import PARTS, Totals


class ProxyMetrics(Collector):
    """Everything the proxy tells, read in one instant."""

    def __init__(self, configuration: Configuration, totals: Totals) -> None:
        self.active = Active(configuration.models)
        """Who serves; another one once the configuration is read again."""
        self.reload_succeeded = True
        """Whether the configuration was taken when it was read last."""
        self._totals = totals
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        series: dict[str, list[tuple[Key, list[int]]]] = {family: [] for family in FAMILIES}
        for (name, *labels), cells in self._totals.numbers().items():
            series[name].append((tuple(labels), cells))
        for family in FAMILIES.values():
            if family.kind != "internal":
                yield self._metric(family, series[family.name])
        yield from self._active_file()
        yield from self._life()

    def _life(self) -> Iterator[Metric]:
        restarts = CounterMetricFamily(
            "shadowdrift_worker_restarts_total", "Processes started in place of one that ended.", labels=["part"]
        )
        for part in PARTS:
            restarts.add_metric([part], self._totals.restarts[part])
        yield restarts
        reload = GaugeMetricFamily(
            "shadowdrift_config_last_reload_success", "0: the file was not taken when last read.", labels=["part"]
        )
        reload.add_metric(["proxy"], int(self.reload_succeeded))
        yield reload
        build = GaugeMetricFamily("shadowdrift_build_info", "The version that runs.", labels=["part", "version"])
        build.add_metric(["proxy", version("shadowdrift")], 1)
        yield build

    @staticmethod
    def _metric(family: Family, series: list[tuple[Key, list[int]]]) -> Metric:
        if family.kind == "histogram":
            histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
            for labels, cells in series:
                counts, total = buckets(cells, 0)
                edges = [*(str(edge) for edge in LATENCY_EDGES), "+Inf"]
                histogram.add_metric(labels, list(zip(edges, counts, strict=True)), total)
            return histogram
        kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
        metric = kind(family.name, family.help, labels=family.labels)
        for labels, cells in series:
            metric.add_metric(labels, cells[0])
        return metric

    def _active_file(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "inference_active_info", "The versions that serve, and why.", labels=["model", "version", "reason"]
        )
        ratio = GaugeMetricFamily(
            "inference_traffic_ratio", "The share of requests that a version is given.", labels=["model", "version"]
        )
        paused = GaugeMetricFamily(
            "inference_paused", "1 while no version is asked and the fallback answers.", labels=["model"]
        )
        refused = GaugeMetricFamily(
            "inference_active_refused", "1 while what the active file says is not in force.", labels=["model"]
        )
        for name, order in self.active.in_force.items():
            for target in self.active.models[name].targets:
                weight = order.weights.get(target, 0.0)
                if weight:
                    info.add_metric([name, target, order.reason], 1)
                ratio.add_metric([name, target], weight if target in order.asked else 0.0)
            paused.add_metric([name], order.mode == "paused")
            refused.add_metric([name], name in self.active.refused)
        yield from (info, ratio, paused, refused)
