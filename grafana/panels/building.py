"""What panels are built of: sources, colours, kinds of panels, and how a panel gets its queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as schema
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = schema.DataSourceRef(type_val="prometheus", uid="${datasource}")

GREEN: Final = "green"
YELLOW: Final = "yellow"
RED: Final = "red"

MODEL: Final = 'model="$model"'
TENANT: Final = 'model="$model", tenant="$tenant"'
REFERENCE: Final = f'{TENANT}, against="reference"'

Target = tuple[str, str]
"""A query and the name that its series get."""

Placed = tuple[Any, int, int]
"""A panel, its width of the 24 columns, and its height."""


def threshold(level: str) -> str:
    """The query for the PSI from which on a level begins."""
    return f'max(drift_psi_threshold{{{TENANT}, level="{level}"}})'


def variable(
    name: str, label: str, query: str, value: str | None = None, source: schema.DataSourceRef = SOURCE
) -> dashboard.QueryVariable:
    """A list to choose from, by the values of a label."""
    made = (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(source)
        .refresh(schema.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(schema.VariableSort.ALPHABETICAL_ASC)
    )
    return made.current(schema.VariableOption(text=value, value=value)) if value else made


def stat_panel(
    title: str,
    description: str,
    unit: str,
    *,
    decimals: int | None = None,
    steps: Sequence[tuple[float | None, str]] = ((None, "blue"),),
) -> stat.Panel:
    """Single values, by default in one colour; `steps` are (from, colour), the first from None on."""
    made = (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .reduce_options(last())
        .thresholds(steps_of(*steps))
        .color_mode(kinds.BigValueColorMode.VALUE)
        .graph_mode(kinds.BigValueGraphMode.NONE)
    )
    return made if decimals is None else made.decimals(decimals)


def series_panel(title: str, description: str, unit: str) -> timeseries.Panel:
    """Lines over time, with a table of their last and greatest values."""
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


def asking(panel: Any, *targets: Target, now: bool = False) -> Any:
    """The panel with its queries, over the time shown, or of this instant alone.

    Of a range, a panel that shows last values would also show those of series that have ended since.
    """
    panel.datasource(SOURCE)
    for letter, (expression, legend) in zip("ABCDEFGH", targets, strict=False):
        query = prometheus.Dataquery().ref_id(letter).datasource(SOURCE).expr(expression).legend_format(legend)
        query.format(PromQueryFormat.TIME_SERIES)
        panel.with_target(query.instant() if now else query.range())
    return panel


def last() -> common.ReduceDataOptions:
    """Of a series its last value."""
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def steps_of(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Colours by value: (from, colour), the first from None on."""
    made = [schema.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(schema.ThresholdsMode.ABSOLUTE).steps(made)


def dashed(color: str | None = None, dash: tuple[int, int] = (10, 10)) -> list[schema.DynamicConfigValue]:
    """A line that is dashed, and not filled: a limit."""
    made = [
        schema.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": list(dash)}),
        schema.DynamicConfigValue("custom.fillOpacity", 0),
    ]
    if color:
        made.append(schema.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color}))
    return made
