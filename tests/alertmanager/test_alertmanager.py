"""Alertmanager's configuration by its own checker, and its messages as they arrive at a stand-in Slack."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support import alertmanager
from tests.support.alertmanager import CONFIGURATION, Alertmanager, adapted
from tests.support.required import require
from tests.support.slack import Slack, stand_in_slack
from tests.support.waiting import until

HOSTILE = {
    "a call to the channel": "<!channel>",
    "a call to a person": "<@U123>",
    "a bare call": "@channel and @here",
    "a link": "<https://evil.example|click here>",
    "an escape": "&lt;!channel&gt; & &amp;",
    "emphasis": "`code` *bold* _italic_ ~struck~",
    "a block of code": "```x```",
    "html": "<script>alert(1)</script>",
    "a template": "{{ .ExternalURL }}{{ template",
    "json": '"}],"text":"<!channel>',
    "an expression": 'x"} or vector(1)',
}


@pytest.fixture(autouse=True)
def real() -> None:
    """The real parts."""
    require("Alertmanager", alertmanager.missing())


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    """A stand-in Slack."""
    async with stand_in_slack() as slack:
        yield slack


def test_the_configuration_passes_alertmanagers_own_checker() -> None:
    """The templates as well."""
    done = subprocess.run(["amtool", "check-config", str(CONFIGURATION)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 templates" in done.stdout


def test_the_webhook_comes_from_a_file_and_stands_in_no_configuration() -> None:
    """Whoever has its address can write into the channel."""
    text = CONFIGURATION.read_text()
    assert "api_url_file" in text
    assert "hooks.slack" not in text


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_name_is_shown_as_it_is_and_calls_nobody(name: str, slack: Slack, tmp_path: Path) -> None:
    """As feature, model and tenant."""
    with Alertmanager(adapted(tmp_path, slack.webhook)) as running:
        running.post([_drift(name, model=name, tenant=name)])
        message = await _arrived(slack)
    assert message["mentions"] == []
    attachment = message["payload"]["attachments"][0]
    title, text = message["texts"][0], message["texts"][1]
    assert title == f"FeatureDrift · {name} · {name}"
    assert f"• {name} has drifted from the reference" in text
    assert f"tenant {name} ·" in text
    # Slack may be laxer with brackets than the stand-in: none goes out.
    assert not set(attachment["title"] + attachment["fallback"] + attachment["text"]) & set("<>")
    # Nothing that is shown is marked as markup, and no address can be broken out of.
    assert attachment["mrkdwn_in"] == ["pretext"]
    assert not message["payload"].get("link_names")
    for url in (attachment["title_link"], *(action["url"] for action in attachment["actions"])):
        assert not set(url) & set(' <>"`|\n')


@pytest.mark.parametrize(
    ("name", "as_shown"),
    [
        ("two\nlines\r\nand three", "two\\nlines\\nand three"),
        ("turned\u202eround\u0007", "turned□round□"),
        ("x" * 5000, "x" * 200 + "…"),
        ("&" * 5000, "&" * 200 + "…"),
    ],
    ids=["line breaks", "control characters", "length", "length before escaping"],
)
async def test_a_name_cannot_deform_the_message(name: str, as_shown: str, slack: Slack, tmp_path: Path) -> None:
    """It stays on its line."""
    with Alertmanager(adapted(tmp_path, slack.webhook)) as running:
        running.post([_drift(name)])
        message = await _arrived(slack)
    first, second = message["texts"][1].splitlines()
    assert first in {f"• {as_shown} has drifted from the reference", f"• {as_shown}"}
    assert second.startswith("   PSI 0.834, threshold 0.2")


async def test_a_message_says_what_how_much_and_what_to_do(slack: Slack, tmp_path: Path) -> None:
    """All that one needs at night."""
    with Alertmanager(adapted(tmp_path, slack.webhook)) as running:
        running.post([_drift("temp")])
        message = await _arrived(slack)
    attachment = message["payload"]["attachments"][0]
    assert attachment["title"] == attachment["fallback"] == "FeatureDrift · flights · temp"
    assert "PSI 0.834, threshold 0.2 · window of 1000 instances · since" in attachment["text"]
    assert "tenant" not in attachment["text"]
    assert attachment["color"] == "warning"
    assert {field["title"]: field["value"] for field in attachment["fields"]} == {
        "What to do": "Look first whether the inputs are broken.",
        "Runbook": "docs/runbooks/feature-drift.md",
    }
    links = {action["text"]: action["url"] for action in attachment["actions"]}
    assert links["Dashboard"].endswith("/d/prod-vs-shadow?var-model=flights")
    assert links["Query"] == "http://prometheus.test/graph"
    assert links["Silence"].startswith("http://alertmanager.test:9093/#/silences/new?filter=%7Balertname%3D%22Feature")


async def test_features_of_one_model_are_one_message_and_two_models_are_two(slack: Slack, tmp_path: Path) -> None:
    """However many drift at once; more than ten are counted."""
    with Alertmanager(adapted(tmp_path, slack.webhook)) as running:
        running.post([*(_drift(f"f{number:02}") for number in range(25)), _drift("amount", model="fraud")])
        messages = await until(lambda: _when(slack, 2), 20, "two messages")
    titles = {message["texts"][0]: message["texts"][1] for message in messages}
    assert set(titles) == {"FeatureDrift · flights · 25 alerts", "FeatureDrift · fraud · amount"}
    text = titles["FeatureDrift · flights · 25 alerts"]
    assert "f09" in text
    assert "f10" not in text
    assert "the first 10 of 25" in text


async def test_a_page_says_so_and_what_is_over_says_that(slack: Slack, tmp_path: Path) -> None:
    """By colour and by word."""
    alert = {
        "labels": {"alertname": "ExporterDown", "severity": "page", "job": "exporter"},
        "annotations": {"summary": "No exporter answers", "action": "Start it", "runbook": "docs/x.md"},
    }
    with Alertmanager(adapted(tmp_path, slack.webhook)) as running:
        running.post([alert])
        page = await _arrived(slack)
        running.post([{**alert, "startsAt": "2026-01-01T10:00:00Z", "endsAt": "2026-01-01T11:00:00Z"}])
        over = (await until(lambda: _when(slack, 2), 20, "the end's message"))[1]
    assert page["texts"][0] == "PAGE: ExporterDown"
    assert page["payload"]["attachments"][0]["color"] == "danger"
    assert over["texts"][0] == "Resolved: ExporterDown"
    assert "✓ over since 11:00:00 UTC: No exporter answers" in over["texts"][1]
    assert over["payload"]["attachments"][0]["color"] == "good"


def _drift(feature: str, model: str = "flights", tenant: str = "_all") -> dict[str, Any]:
    """An alert as Prometheus makes it of the rule."""
    return {
        "labels": {
            "alertname": "FeatureDrift",
            "severity": "warning",
            "job": "exporter",
            "model": model,
            "tenant": tenant,
            "feature": feature,
            "against": "reference",
        },
        "annotations": {
            "summary": f"{feature} has drifted from the reference",
            "value": "0.834",
            "threshold": "0.2",
            "window": "1000",
            "action": "Look first whether the inputs are broken.",
            "runbook": "docs/runbooks/feature-drift.md",
        },
        "generatorURL": "http://prometheus.test/graph",
    }


async def _when(slack: Slack, count: int) -> list[dict[str, Any]] | None:
    messages = await slack.messages()
    return messages if len(messages) >= count else None


async def _arrived(slack: Slack) -> dict[str, Any]:
    return (await until(lambda: _when(slack, 1), 20, "a message", (aiohttp.ClientError,)))[0]
