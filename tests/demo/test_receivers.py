"""The stand-ins beside Slack: a dead man's switch that speaks when nothing comes, and a training that is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from demo.receivers import DeadMansSwitch
from lifecycle.tether import Child
from tests.support import alertmanager
from tests.support.alertmanager import Alertmanager, adapted
from tests.support.required import require
from tests.support.slack import Slack, stand_in_slack
from tests.support.waiting import until


def test_a_switch_that_hears_says_nothing() -> None:
    """As long as it comes in time."""
    switch = DeadMansSwitch(180.0, 0.0)
    for now in range(0, 3600, 60):
        switch.hear(float(now))
        assert switch.due(now + 59.0) is None


def test_a_silence_is_told_once_and_its_end_too() -> None:
    """Until it is said, it is due again."""
    switch = DeadMansSwitch(180.0, 0.0)
    switch.hear(60.0)
    assert switch.due(240.0) is None
    first = switch.due(241.0)
    assert first is not None
    assert "for 181 s" in first
    assert switch.due(300.0) == first  # Slack was away
    switch.said()
    assert switch.due(4000.0) is None
    switch.hear(4100.0)
    back = switch.due(4100.0)
    assert back is not None
    assert "back" in back
    assert "4040 s" in back
    switch.said()
    assert switch.due(4200.0) is None


@asynccontextmanager
async def receivers(folder: Path, slack: Slack, silence: float) -> AsyncIterator[str]:
    """The stand-ins as a process of their own; their address."""
    secret = folder / "slack"
    secret.write_text(f"{slack.webhook}\n")
    arguments = ["--listen", "127.0.0.1:0", "--slack-file", str(secret), "--silence", str(silence)]
    child = await Child.start("stand-in receivers", "demo.receivers", arguments)
    try:
        yield str((await child.ready())["receivers"])
    finally:
        await child.stop(5)


async def test_the_absence_of_alertmanager_reaches_slack_past_it(tmp_path: Path) -> None:
    """A real Alertmanager that tells of the watchdog again and again, and is stopped; a trend is written down."""
    require("Alertmanager", alertmanager.missing())
    async with stand_in_slack() as slack, receivers(tmp_path, slack, 5.0) as url, aiohttp.ClientSession() as session:

        async def told() -> dict[str, Any]:
            async with session.get(url) as answer:
                found: dict[str, Any] = await answer.json()
            return found

        hooks = {"dead-mans-switch": f"{url}/watchdog", "retraining": f"{url}/retraining"}
        trend = {"alertname": "DriftTrend", "severity": "info", "model": "fraud", "action": "retrain"}
        with Alertmanager(adapted(tmp_path, slack.webhook, hooks)) as running:
            before = (await told())["silent_seconds"]
            running.post([{"labels": {"alertname": "Watchdog", "severity": "none"}}, {"labels": trend}])

            async def heard() -> bool:
                found = await told()
                return found["silent_seconds"] < before and found["trainings"] == [{"models": ["fraud"]}]

            await until(heard, 20, "the watchdog and the trend")
        message = (await until(lambda: _said(slack), 30, "the switch's own message"))["payload"]["text"]
        assert "Nothing has come from Alertmanager for" in message
        assert "docs/runbooks/watchdog.md" in message


@pytest.mark.parametrize("body", [b"", b"[]", b'{"status": 1}', b'{"status": "firing"}', b"[" * 100_000])
async def test_what_is_no_webhook_is_refused(body: bytes, tmp_path: Path) -> None:
    """And nothing ends."""
    async with stand_in_slack() as slack, receivers(tmp_path, slack, 60.0) as url, aiohttp.ClientSession() as session:
        for path in ("watchdog", "retraining"):
            async with session.post(f"{url}/{path}", data=body) as answer:
                assert answer.status == 400
        async with session.get(f"{url}/-/healthy") as answer:
            assert answer.status == 200


async def _said(slack: Slack) -> dict[str, Any] | None:
    return next((message for message in await slack.messages() if "text" in message["payload"]), None)
