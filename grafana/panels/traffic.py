"""Production and shadow: requests, latency, and how the traffic is split."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as schema

from grafana.panels.building import MODEL, Placed, Target, asking, dashed, series_panel


def traffic() -> list[Placed]:
    """Both, side by side."""
    requests = series_panel(
        "Requests by outcome",
        "Inferences a second, production and its clones. Other outcomes than ok for the shadow alone mean a broken "
        "shadow; for both, look at what they share.",
        "reqps",
    ).min(0)
    latency = (
        series_panel(
            "Latency, production and shadow",
            "From the request's head to the answer's last byte. Before the shadow is promoted its p95 should lie no "
            "higher than production's; clients never wait for the shadow.",
            "s",
        )
        .min(0)
        .override_by_regexp(
            "^shadow", [schema.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 6]})]
        )
    )
    split = series_panel(
        "Traffic split",
        "The share of production's requests that each version has answered, and the share that it is given (dashed). "
        "Where they part, a switch is under way or a version does not answer.",
        "percentunit",
    ).min(0).max(1).override_by_regexp("given$", dashed())  # fmt: skip
    quantiles: list[Target] = []
    for name, quantile in (("p50", 0.5), ("p95", 0.95)):
        buckets = f"sum by (le, role) (rate(inference_latency_seconds_bucket{{{MODEL}}}[$__rate_interval]))"
        quantiles.append((f"histogram_quantile({quantile}, {buckets})", f"{{{{role}}}} {name}"))
    rate = 'rate(inference_requests_total{model="$model", role="production"}[$__rate_interval])'
    return [
        (
            asking(
                requests,
                (
                    f"sum by (role, outcome) (rate(inference_requests_total{{{MODEL}}}[$__rate_interval])) > 0",
                    "{{role}} {{outcome}}",
                ),
            ),
            8,
            8,
        ),
        (asking(latency, *quantiles), 8, 8),
        (
            asking(
                split,
                (f"sum by (version) ({rate}) / on () group_left sum({rate})", "{{version}}"),
                (f"max by (version) (inference_traffic_ratio{{{MODEL}}})", "{{version}} given"),
            ),
            8,
            8,
        ),
    ]
