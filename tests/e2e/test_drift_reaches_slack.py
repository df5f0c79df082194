"""From drifted requests to a message: our parts, a real Prometheus, a real Alertmanager and the stand-in Slack."""

from pathlib import Path
from typing import Any

import pytest

from tests.support import alertmanager, prometheus
from tests.support.alertmanager import Alertmanager
from tests.support.prometheus import RULES, Prometheus
from tests.support.real_run import MODEL, WINDOW, RealRun
from tests.support.required import require
from tests.support.slack import Slack, stand_in_slack
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def real() -> None:
    """The real parts."""
    require("Prometheus", prometheus.missing())
    require("Alertmanager", alertmanager.missing())


async def test_a_drifted_feature_is_named_in_slack_and_its_end_is_told(tmp_path: Path) -> None:
    """With our own rules, whose five minutes are three seconds here."""
    rules = RULES.read_text()
    assert "for: 5m" in rules
    (tmp_path / "run").mkdir()
    async with stand_in_slack() as slack:
        with (
            RealRun(tmp_path / "run") as run,
            Alertmanager(alertmanager.adapted(tmp_path, slack.webhook)) as alerts,
            Prometheus(
                prometheus.adapted(
                    tmp_path, run.targets, alertmanager=alerts.address, rules=rules.replace("for: 5m", "for: 3s")
                )
            ) as server,
        ):
            full = f'drift_window_instances{{tenant="_all", role="production"}} >= {WINDOW}'
            await until(lambda: server.query(full), 90, "a full window")
            assert server.query("ALERTS") == []
            assert await slack.messages() == []

            run.shift = 30.0
            message = await until(lambda: _titled(slack, "FeatureDrift"), 60, "a message")
            assert message["texts"][0].startswith(f"FeatureDrift · {MODEL}")
            text = message["texts"][1]
            assert "• amount has drifted from the reference" in text
            assert "threshold 0.2" in text
            assert f"window of {WINDOW} instances" in text
            assert "country" not in text
            assert message["mentions"] == []

            run.shift = 0.0
            over = await until(lambda: _titled(slack, "Resolved"), 120, "the end's message")
            assert "amount has drifted from the reference" in over["texts"][1]


async def _titled(slack: Slack, start: str) -> dict[str, Any] | None:
    return next((message for message in await slack.messages() if message["texts"][0].startswith(start)), None)
