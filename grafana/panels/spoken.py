"""What the parts say, from Loki."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard, logs, loki
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as schema

from grafana.panels.building import variable

LOKI: Final = schema.DataSourceRef(type_val="loki", uid="loki")

_SPOKEN: Final = '{job="shadowdrift", part=~"$part"} |~ "$search"'


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
            variable("part", "Part", "label_values(part)", source=LOKI).multi(True).include_all(True).all_value(".+")
        )
        .with_variable(dashboard.TextBoxVariable("search").label("Search").default_value(""))
        .with_panel(lines.id(1).grid_pos(schema.GridPos(h=24, w=24, x=0, y=0)))
    )
