"""The dashboards, as code: `python -m grafana.dashboards` writes them, with `--check` it tells if they are current.

Each panel's description says what to do with it. Queries are compared with a real run by tests/grafana.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

with warnings.catch_warnings():
    # It would rather have the second schema, which Grafana before 12 cannot read and files cannot provision everywhere.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import (
        common,
        dashboard,
        gauge,
        heatmap,
        logs,
        loki,
        prometheus,
        stat,
        timeseries,
    )
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as kinds
    from grafana_foundation_sdk.models import dashboard as schema
    from grafana_foundation_sdk.models import heatmap as heatmap_kinds
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FOLDER: Final = Path(__file__).resolve().parent / "dashboards"
SOURCE: Final = schema.DataSourceRef(type_val="prometheus", uid="${datasource}")
LOKI: Final = schema.DataSourceRef(type_val="loki", uid="loki")

GREEN: Final = "green"
YELLOW: Final = "yellow"
RED: Final = "red"

_REFERENCE: Final = 'model="$model", tenant="$tenant", against="reference"'
_PSI: Final = f"max by (feature) (drift_psi{{{_REFERENCE}}})"
_LIMIT: Final = 'max(drift_psi_threshold{model="$model", tenant="$tenant", level="large"})'
_SPOKEN: Final = '{job="shadowdrift", part=~"$part"} |~ "$search"'
_MODEL: Final = '{model="$model"}'

Target = tuple[str, str]
"""A query and the name that its series get."""


def prod_vs_shadow() -> dashboard.Dashboard:
    """Is production still like its training data, and how does the shadow compare?"""
    made = (
        dashboard.Dashboard("shadowdrift: prod vs shadow")
        .uid("prod-vs-shadow")
        .tags(["shadowdrift"])
        .description("Drift, latency, traffic and losses of one model, production beside its shadow.")
        .time("now-30m", "now")
        .refresh("10s")
        .timezone("browser")
        .tooltip(schema.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("model", "Model", "label_values(inference_active_info, model)"))
        .with_variable(
            _variable(
                "tenant", "Tenant (drift)", 'label_values(drift_window_instances{model="$model"}, tenant)', "_all"
            )
        )
    )
    rows: list[tuple[str, list[Any]]] = [
        ("At a glance", _glance()),
        ("Drift", _drift()),
        ("Production and shadow", _traffic()),
        ("Clones and events", _losses()),
    ]
    identity, y = 1, 0
    for title, panels in rows:
        made.with_row(dashboard.Row(title).id(identity).grid_pos(schema.GridPos(h=1, w=24, x=0, y=y)))
        identity, y = identity + 1, y + 1
        height, x = 0, 0
        for panel, width, tall in panels:
            if x + width > 24:
                x, y = 0, y + height
            made.with_panel(panel.id(identity).grid_pos(schema.GridPos(h=tall, w=width, x=x, y=y)))
            identity, x, height = identity + 1, x + width, tall
        y += height
    return made


def _glance() -> list[Any]:
    share = (
        gauge.Panel()
        .title("Largest PSI, of its threshold")
        .description(
            "The feature that moved most, in per cent of the threshold of a large drift (drift.large in the "
            "configuration). At 100 % and red: see which feature it is, and follow docs/runbooks/feature-drift.md."
        )
        .unit("percentunit")
        .decimals(0)
        .min(0)
        .max(2)
        .reduce_options(_last())
        .thresholds(_steps((None, GREEN), (0.5, YELLOW), (1.0, RED)))
        .show_threshold_markers(True)
    )
    active = _stat(
        "Active version",
        "The version that answers clients, and why. If it is not the one you expect, look what has switched it.",
        "none",
    ).text_mode(kinds.BigValueTextMode.NAME)
    worst = _stat(
        "Moved most",
        "The feature with the largest PSI against the reference. Start looking at this one.",
        "none",
        decimals=3,
    ).text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)
    window = _stat(
        "Window",
        "Instances in the windows. Drift counts from 101 on; below the configured size the window still fills, so "
        "wait before you judge.",
        "short",
        steps=((None, YELLOW), (101.0, GREEN)),
    ).text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)
    errors = _stat(
        "Not ok, now",
        "The share of inferences with another outcome than ok. A shadow that fails spoils the comparison; production "
        "that fails is an incident.",
        "percentunit",
        decimals=1,
        steps=((None, GREEN), (0.01, YELLOW), (0.05, RED)),
    ).text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)
    lost = _stat(
        "Events lost",
        "Captured answers that Kafka did not get in the time shown. Anything above 0: docs/runbooks/events-lost.md.",
        "short",
        steps=((None, GREEN), (1.0, RED)),
        decimals=0,
    )
    bad = 'sum by (role) (rate(inference_requests_total{model="$model", outcome!="ok"}[$__rate_interval]))'
    all_of = f"sum by (role) (rate(inference_requests_total{_MODEL}[$__rate_interval]))"
    queries: list[tuple[Any, int, Target]] = [
        (active, 4, (f"inference_active_info{_MODEL}", "{{version}} ({{reason}})")),
        (share, 5, (f"max({_PSI}) / {_LIMIT}", "of the threshold")),
        (worst, 4, (f"topk(1, {_PSI})", "{{feature}}")),
        (window, 4, ('max by (role) (drift_window_instances{model="$model", tenant="$tenant"})', "{{role}}")),
        (errors, 4, (f"{bad} / ({all_of} > 0) or 0 * {all_of}", "{{role}}")),
        (lost, 3, (f"sum(increase(events_lost_total{_MODEL}[$__range]))", "lost")),
    ]
    return [(_with(panel, query, now=True), width, 5) for panel, width, query in queries]


def _drift() -> list[Any]:
    psi = (
        _series(
            "PSI against the reference, by feature",
            "Population stability index of production's window. A line above the dashed one for five minutes raises "
            "FeatureDrift. One feature alone is often a broken input; many at once are other traffic.",
            "none",
        )
        .min(0)
        .axis_soft_max(0.3)
        .decimals(3)
        .override_by_name("threshold", _dashed(RED))
        .override_by_name("moderate", _dashed(YELLOW))
    )
    js = (
        heatmap.Panel()
        .title("Jensen-Shannon divergence, by feature")
        .description(
            "In bits, 0 (same distribution) to 1; dark is calm. Read along a row to see when a feature began to move, "
            "and down a column to see what moved together."
        )
        .datasource(SOURCE)
        .unit("none")
        .decimals(4)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_kinds.HeatmapColorMode.SCHEME)
            .scheme("Turbo")
            .fill("dark-orange")
            .exponent(0.5)
            .steps(64)
            .min(0)
            .max(0.1)
        )
        .cell_gap(1)
        .y_axis(heatmap.YAxisConfig().axis_placement(kinds.AxisPlacement.LEFT))
        .show_legend()
    )
    moderate = _LIMIT.replace("large", "moderate")
    return [
        (_with(psi, (_PSI, "{{feature}}"), (_LIMIT, "threshold"), (moderate, "moderate")), 12, 10),
        (_with(js, (f"max by (feature) (drift_js_divergence{{{_REFERENCE}}})", "{{feature}}")), 12, 10),
    ]


def _traffic() -> list[Any]:
    requests = _series(
        "Requests by outcome",
        "Inferences a second, production and its clones. Other outcomes than ok for the shadow alone mean a broken "
        "shadow; for both, look at what they share.",
        "reqps",
    ).min(0)
    latency = (
        _series(
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
    split = _series(
        "Traffic split",
        "The share of production's requests that each version has answered, and the share that it is given (dashed). "
        "Where they part, a switch is under way or a version does not answer.",
        "percentunit",
    ).min(0).max(1).override_by_regexp("given$", _dashed())  # fmt: skip
    quantiles: list[Target] = []
    for name, quantile in (("p50", 0.5), ("p95", 0.95)):
        buckets = f"sum by (le, role) (rate(inference_latency_seconds_bucket{_MODEL}[$__rate_interval]))"
        quantiles.append((f"histogram_quantile({quantile}, {buckets})", f"{{{{role}}}} {name}"))
    rate = 'rate(inference_requests_total{model="$model", role="production"}[$__rate_interval])'
    return [
        (
            _with(
                requests,
                (
                    f"sum by (role, outcome) (rate(inference_requests_total{_MODEL}[$__rate_interval])) > 0",
                    "{{role}} {{outcome}}",
                ),
            ),
            8,
            8,
        ),
        (_with(latency, *quantiles), 8, 8),
        (
            _with(
                split,
                (f"sum by (version) ({rate}) / on () group_left sum({rate})", "{{version}}"),
                (f"max by (version) (inference_traffic_ratio{_MODEL})", "{{version}} given"),
            ),
            8,
            8,
        ),
    ]


def _losses() -> list[Any]:
    clones = _series(
        "Clones",
        "Clones sent and answered a second, and those dropped or failed, in all and by the reasons that occur. Drops "
        "for max_in_flight: the shadow is too slow. Failures for connect or timeout: the shadow is away.",
        "reqps",
    ).min(0)
    events = _series(
        "Events",
        "Answers captured, and what became of them, a second. Delivered below captured for long: Kafka is behind or "
        "away, and what waits will be lost.",
        "cps",
    ).min(0)
    waiting = _series(
        "Waiting",
        "Events on their way to Kafka (a queue in memory that is bounded), and messages that the exporter has yet to "
        "read. Both should fall back to about 0; a line that climbs needs docs/runbooks/events-not-delivered.md or "
        "docs/runbooks/exporter-lagging.md.",
        "short",
    ).min(0)

    def rate(name: str, by: str = "") -> str:
        grouped = f" by ({by}) " if by else ""
        return f"sum{grouped}(rate({name}{_MODEL}[$__rate_interval]))"

    def by_reason(name: str) -> str:
        """The sum as reason `all`, which is there always, and each reason that occurs."""
        return f'{rate(name, "reason")} > 0 or label_replace({rate(name)}, "reason", "all", "", "")'

    return [
        (
            _with(
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
            _with(
                events,
                (rate("events_captured_total", "role"), "{{role}} captured"),
                (rate("events_delivered_total", "role"), "{{role}} delivered"),
                (by_reason("events_lost_total"), "lost: {{reason}}"),
            ),
            8,
            9,
        ),
        (
            _with(
                waiting,
                (f"sum by (role) (events_waiting{_MODEL})", "{{role}}, for Kafka"),
                ("sum by (topic) (drift_consumer_lag_events)", "{{topic}}, for the exporter"),
            ),
            8,
            9,
        ),
    ]


def _variable(
    name: str, label: str, query: str, value: str | None = None, source: schema.DataSourceRef = SOURCE
) -> dashboard.QueryVariable:
    made = (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(source)
        .refresh(schema.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(schema.VariableSort.ALPHABETICAL_ASC)
    )
    return made.current(schema.VariableOption(text=value, value=value)) if value else made


def _stat(
    title: str,
    description: str,
    unit: str,
    *,
    decimals: int | None = None,
    steps: Sequence[tuple[float | None, str]] = ((None, "blue"),),
) -> stat.Panel:
    made = (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .reduce_options(_last())
        .thresholds(_steps(*steps))
        .color_mode(kinds.BigValueColorMode.VALUE)
        .graph_mode(kinds.BigValueGraphMode.NONE)
    )
    return made if decimals is None else made.decimals(decimals)


def _series(title: str, description: str, unit: str) -> timeseries.Panel:
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .line_width(2)
        .fill_opacity(4)
        .show_points(kinds.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(
            common.VizLegendOptions()
            .display_mode(kinds.LegendDisplayMode.TABLE)
            .placement(kinds.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
            .sort_by("Last *")
            .sort_desc(True)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
    )


def _with(panel: Any, *targets: Target, now: bool = False) -> Any:
    """The panel with its queries, over the time shown, or of this instant alone.

    Of a range, a panel that shows last values would also show those of series that have ended since.
    """
    panel.datasource(SOURCE)
    for letter, (expression, legend) in zip("ABCDEFGH", targets, strict=False):
        query = prometheus.Dataquery().ref_id(letter).datasource(SOURCE).expr(expression).legend_format(legend)
        query.format(PromQueryFormat.TIME_SERIES)
        panel.with_target(query.instant() if now else query.range())
    return panel


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _steps(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    made = [schema.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(schema.ThresholdsMode.ABSOLUTE).steps(made)


def _dashed(color: str | None = None) -> list[schema.DynamicConfigValue]:
    made = [
        schema.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
        schema.DynamicConfigValue("custom.fillOpacity", 0),
    ]
    if color:
        made.append(schema.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color}))
    return made


def spoken() -> dashboard.Dashboard:
    """What the parts say, from Loki; it is filled where the stack runs with its profile `logs`."""
    lines = (
        logs.Panel()
        .title("What the parts say")
        .description(
            "One JSON object a line, newest first; open a line for its fields. Look here when a gauge says that "
            "something is away: each part tells a change once, and why."
        )
        .show_time(True)
        .wrap_log_message(True)
        .enable_log_details(True)
        .sort_order(kinds.LogsSortOrder.DESCENDING)
        .datasource(LOKI)
        .with_target(loki.Dataquery().ref_id("A").datasource(LOKI).expr(_SPOKEN).query_type("range"))
    )
    return (
        dashboard.Dashboard("shadowdrift: logs")
        .uid("logs")
        .tags(["shadowdrift"])
        .description("What proxy, exporter and the parts around them say.")
        .time("now-1h", "now")
        .refresh("10s")
        .timezone("browser")
        .readonly()
        .with_variable(
            _variable("part", "Part", "label_values(part)", source=LOKI).multi(True).include_all(True).all_value(".+")
        )
        .with_variable(dashboard.TextBoxVariable("search").label("Search").default_value(""))
        .with_panel(lines.id(1).grid_pos(schema.GridPos(h=24, w=24, x=0, y=0)))
    )


DASHBOARDS: Final = {"prod-vs-shadow.json": prod_vs_shadow, "logs.json": spoken}


def generated() -> dict[str, str]:
    """The text of each file."""
    return {
        name: JSONEncoder(sort_keys=True, indent=2).encode(make().build()) + "\n" for name, make in DASHBOARDS.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; with `--check` only compare, and 1 where one is stale."""
    parser = argparse.ArgumentParser(prog="python -m grafana.dashboards", description="Generate Grafana's dashboards.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not current")
    check = parser.parse_args(arguments).check
    FOLDER.mkdir(exist_ok=True)
    for name, text in generated().items():
        file = FOLDER / name
        if check:
            if not file.exists() or file.read_text() != text:
                sys.stderr.write(f"grafana/dashboards/{name} is not current: run python -m grafana.dashboards\n")
                return 1
        else:
            file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
