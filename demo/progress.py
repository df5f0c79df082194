"""One second of a run, out of the traffic's counts and the parts' own metrics."""

from __future__ import annotations

from demo.readings import ROLES, Reading
from demo.traffic import Traffic
from demo.view import Progress


def progress(
    phase: str, seconds: float, of: float, traffic: Traffic, proxy: Reading, exporter: Reading, window: int, last: int
) -> Progress:
    """What a view shows `seconds` after the beginning; `window`: its size, `last`: answers whose latency counts."""
    counts = traffic.counts
    p50, p99 = traffic.latency(0.5, 0.99, last=last)
    return Progress(
        seconds=seconds,
        of=of,
        phase=phase,
        rate=counts.sent / seconds,
        p50=p50,
        p99=p99,
        cloned=proxy.total("mirror_sent_total"),
        windows={role: exporter.total("drift_window_instances", tenant="_all", role=role) for role in ROLES},
        window_size=window,
        psi=exporter.psi(),
        js=exporter.by_column("drift_js_divergence"),
        failed=counts.failed,
        lost=proxy.total("events_lost_total"),
    )
