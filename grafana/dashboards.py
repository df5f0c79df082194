"""The dashboards, as code: `python -m grafana.dashboards` writes them, with `--check` it tells if they are current.

Each panel's description says what to do with it. Queries are compared with a real run by tests/grafana.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as schema

from grafana.panels.building import Placed, variable
from grafana.panels.drift import drift
from grafana.panels.glance import glance
from grafana.panels.inputs import inputs
from grafana.panels.losses import losses
from grafana.panels.pairs import pairs
from grafana.panels.rollback import rollback
from grafana.panels.spoken import spoken
from grafana.panels.traffic import traffic

FOLDER: Final = Path(__file__).resolve().parent / "dashboards"


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
        .with_variable(variable("model", "Model", "label_values(inference_active_info, model)"))
        .with_variable(
            variable("tenant", "Tenant (drift)", 'label_values(drift_window_instances{model="$model"}, tenant)', "_all")
        )
    )
    rows: list[tuple[str, list[Placed]]] = [
        ("At a glance", glance()),
        ("Drift", drift()),
        ("Inputs and tenants", inputs()),
        ("Pairs and labels", pairs()),
        ("Production and shadow", traffic()),
        ("Rollback", rollback()),
        ("Clones and events", losses()),
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
