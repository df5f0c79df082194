"""Clones and events: what was sent, what was dropped or lost, and why."""

from __future__ import annotations

from grafana.panels.building import MODEL, Placed, asking, series_panel


def losses() -> list[Placed]:
    """What became of clones and events, and what waits."""
    clones = series_panel(
        "Clones",
        "Clones sent and answered a second, and those dropped or failed, in all and by the reasons that occur. Drops "
        "for max_in_flight: the shadow is too slow. Failures for connect or timeout: the shadow is away.",
        "reqps",
    ).min(0)
    events = series_panel(
        "Events",
        "Answers captured, and what became of them, a second. Delivered below captured for long: Kafka is behind or "
        "away, and what waits will be lost.",
        "cps",
    ).min(0)
    waiting = series_panel(
        "Waiting",
        "Events on their way to Kafka (a queue in memory that is bounded), and messages that the exporter has yet to "
        "read. Both should fall back to about 0; a line that climbs needs docs/runbooks/events-not-delivered.md or "
        "docs/runbooks/exporter-lagging.md.",
        "short",
    ).min(0)

    def rate(name: str, by: str = "") -> str:
        grouped = f" by ({by}) " if by else ""
        return f"sum{grouped}(rate({name}{{{MODEL}}}[$__rate_interval]))"

    def by_reason(name: str) -> str:
        """The sum as reason `all`, which is there always, and each reason that occurs."""
        return f'{rate(name, "reason")} > 0 or label_replace({rate(name)}, "reason", "all", "", "")'

    return [
        (
            asking(
                clones,
                (rate("mirror_sent_total"), "sent"),
                (rate("mirror_completed_total"), "answered"),
                (by_reason("mirror_dropped_total"), "dropped: {{reason}}"),
                (by_reason("mirror_failed_total"), "failed: {{reason}}"),
            ),
            8,
            9,
        ),
        (
            asking(
                events,
                (rate("events_captured_total", "role"), "{{role}} captured"),
                (rate("events_delivered_total", "role"), "{{role}} delivered"),
                (by_reason("events_lost_total"), "lost: {{reason}}"),
            ),
            8,
            9,
        ),
        (
            asking(
                waiting,
                (f"sum by (role) (events_waiting{{{MODEL}}})", "{{role}}, for Kafka"),
                ("sum by (topic) (drift_consumer_lag_events)", "{{topic}}, for the exporter"),
            ),
            8,
            9,
        ),
    ]
