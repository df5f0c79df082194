"""From drifted requests to a message: our parts, a real Prometheus, a real Alertmanager and the stand-in Slack."""

from pathlib import Path
from typing import Any

import pytest

from tests.support import alertmanager, prometheus
from tests.support.alertmanager import Alertmanager
from tests.support.prometheus import Prometheus
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
    (tmp_path / "run").mkdir()
    async with stand_in_slack() as slack:
        with (
            RealRun(tmp_path / "run") as run,
            Alertmanager(alertmanager.adapted(tmp_path, slack.webhook)) as alerts,
            Prometheus(prometheus.adapted(tmp_path, run.targets, alertmanager=alerts.address, speed=100)) as server,
        ):
            full = f'drift_window_instances{{tenant="_all", role="production"}} >= {WINDOW}'
            await until(lambda: server.query(full), 90, "a full window")
            await until(lambda: server.query("model:drift_window_instances:judged"), 30, "enough traffic")
            assert server.query('ALERTS{alertname!="Watchdog"}') == []
            assert await slack.messages() == []

            run.shift = 30.0
            message = await until(lambda: _about(slack, "FeatureDrift"), 60, "a message")
            assert MODEL in message["texts"][0]
            text = message["texts"][1]
            assert "of its features have drifted severely from the reference" in text
            assert "amount: PSI" in text
            assert f"window of {WINDOW} instances, large from 0.2, severe from 0.35" in text
            assert "country: PSI 0.0" in text
            assert message["mentions"] == []

            run.shift = 0.0
            over = await until(lambda: _about(slack, "Resolved"), 120, "the end's message")
            assert "have drifted severely from the reference" in over["texts"][1]


async def _about(slack: Slack, words: str) -> dict[str, Any] | None:
    return next((message for message in await slack.messages() if words in message["texts"][0]), None)
