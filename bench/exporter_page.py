"""What `bench.exporter` has found as a page; every figure on it is in `exporter.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def markdown(found: Mapping[str, Any]) -> str:
    """The page."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    machine, versions = found["machine"], found["versions"]
    yield "# What the exporter takes, and what it costs"
    yield ""
    yield (
        f"`make bench-exporter` on {machine['cores']} cores ({machine['cpu']}), Python {machine['python']}, "
        f"Apache Kafka {versions['kafka']}. [How it is measured](../README.md#the-exporter)."
    )
    yield ""
    yield from _backlog(found["backlog"])
    yield ""
    yield from _scrape(found["scrape"])
    yield ""
    yield from _evidently(found["evidently"])


def _backlog(found: Mapping[str, Any]) -> Iterator[str]:
    rates = [one["events_per_second"] for one in found["rounds"]]
    yield "## A backlog in Kafka"
    yield ""
    yield (
        f"One process, 20 features, JSON: {found['cpu_us_per_event']:.1f} µs of CPU an event, "
        f"{found['events_per_cpu_second']:,.0f} events a CPU second."
    )
    yield (
        f"On the clock {found['events_per_second']:,.0f} events/s ({min(rates):,.0f} to {max(rates):,.0f} over "
        f"{len(rates)} rounds), beside the broker and whatever else the machine did."
    )


def _scrape(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## A scrape"
    yield ""
    yield (
        f"200 features, 20 tenants, two comparisons: {found['lines']:,} lines ({found['bytes'] / 1e6:.1f} MB), "
        f"{found['drift_lines']:,} of them drift."
    )
    yield (
        f"With every window changed {found['fresh_cpu_ms']:.0f} ms of CPU, within a second of the last one "
        f"{found['cached_cpu_ms']:.1f} ms, sending them included."
    )
    yield f"Memory {found['resident_mib']:.0f} MiB, at most {found['peak_mib']:.0f}."


def _evidently(found: Mapping[str, Any]) -> Iterator[str]:
    rows = found["rows"]
    yield f"## Beside Evidently {found['version']}"
    yield ""
    yield (
        f"On the same {rows['window']:,} instances and {rows['reference']:,} rows of the reference a report with PSI "
        f"takes {found['psi_report_cpu_ms']:,.0f} ms of CPU,"
    )
    yield (
        f"one with Jensen-Shannon {found['jensenshannon_report_cpu_ms']:,.0f}. A fresh scrape, which has both, against "
        f"the reference and against the shadow,"
    )
    yield f"takes {found['ours_cpu_ms']:.1f}: {found['times_quicker']} times quicker than the first alone."
    yield ""
    yield "| column | shifted by | our PSI | critical | level | Evidently's PSI | our JS divergence | its JS distance |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, values in found["values"].items():
        shift = found["shifts"].get(name)
        cells = [f"`{name}`", "" if shift is None else f"{shift:g}"]
        cells += [f"{values['psi']:.3f}", f"{values['critical_psi']:.3f}", values["level"] or ""]
        cells += [f"{values['evidently_psi']:.3f}", f"{values['js_divergence']:.4f}"]
        yield f"| {' | '.join([*cells, format(values['evidently_js_distance'], '.3f')])} |"
    yield from _WHY


_WHY = """
Why they differ: Evidently cuts a numeric column from the least to the greatest value of both samples together. Its
bins follow the outliers, and stretch with the drift that they should show: the log-normal and the t₂ column. Ours
lie between the reference's 5 % and 95 % quantiles, and stay. An empty bin counts there as 0.0001, or as a millionth
of the smallest share; here every bin has ½ added (Jeffreys). Its Jensen-Shannon is the distance, the square root of
the divergence, with natural logarithms: were the bins the same, ours would be its square over ln 2. It has no
critical value, and its 0.1 asks for no sample size.""".splitlines()
