"""A new configuration while the exporter runs: other versions are taken, what it measures by stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from configuration import Configuration
from configuration.reading import convert
from exporter.reading.intake import Intake
from exporter.references import References
from exporter.windows.models import ModelState
from lifecycle.refusal import Refusal


def configured(**changes: Any) -> Configuration:
    """One model of three versions."""
    targets = {version: {"url": f"http://127.0.0.1:{port}"} for version, port in (("v1", 1), ("v2", 2), ("v3", 3))}
    model = {"name": "fraud", "targets": targets, "production": "v2", "shadow": "v1", **changes}
    return convert({"kafka": {"bootstrap_servers": "127.0.0.1:1"}, "models": [model]}, Path("/nowhere"), "test")


def test_another_shadow_is_named_and_the_windows_go_on() -> None:
    """Also in the state of a model that is owned."""
    references = References(configured())
    intake = Intake(references.measured(), lambda _: True)
    intake.own(ModelState(intake.models["fraud"]))
    state = intake.owned["fraud"]
    windows = dict(state.roles["production"].windows)
    references.rename(configured(shadow="v3", production="v1", mirror={"fraction": 0.5}), intake)
    assert (state.measured.model.production, state.measured.model.shadow) == ("v1", "v3")
    assert intake.models["fraud"].model.shadow == "v3"
    assert intake.owned["fraud"] is state
    assert all(state.roles["production"].windows[tenant] is window for tenant, window in windows.items())


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"window": {"size": 200}}, r"models\[0\].window"),
        ({"drift": {"severe": 0.9}}, r"models\[0\].drift"),
        ({"labels": {"keep": 2000}}, r"models\[0\].labels"),
        ({"tenant": {"header": "X-Tenant", "allow": ["acme"]}}, r"models\[0\].tenant"),
        ({"name": "other"}, "models"),
    ],
)
def test_what_decides_how_it_is_measured_stays(changes: dict[str, Any], setting: str) -> None:
    """Refused in one line, and nothing changes."""
    references = References(configured())
    intake = Intake(references.measured(), lambda _: True)
    with pytest.raises(Refusal, match=setting):
        references.rename(configured(**{"shadow": "v3", **changes}), intake)
    assert intake.models["fraud"].model.shadow == "v1"
