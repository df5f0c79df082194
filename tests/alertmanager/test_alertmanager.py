"""Alertmanager's configuration by its own checker, and its messages as they arrive at a stand-in Slack."""

import re
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.support import alertmanager
from tests.support.alertmanager import CONFIGURATION, Alertmanager, adapted
from tests.support.hooks import listening
from tests.support.prometheus import RULES
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


ROUTES: dict[str, tuple[dict[str, str], list[str]]] = {
    "critical": ({"alertname": "ExporterDown", "severity": "critical"}, ["slack"]),
    "critical, and asks for a rollback": (
        {"alertname": "SevereFeatureDrift", "severity": "critical", "model": "fraud", "action": "rollback"},
        ["rollback", "slack"],
    ),
    "warning": ({"alertname": "FeatureDrift", "severity": "warning", "model": "fraud"}, ["slack"]),
    "warning of a part": ({"alertname": "EventsLost", "severity": "warning", "model": "fraud"}, ["slack"]),
    "a trend": ({"alertname": "DriftTrend", "severity": "info", "model": "fraud", "action": "retrain"}, ["retraining"]),
    "the watchdog": ({"alertname": "Watchdog", "severity": "none"}, ["dead-mans-switch"]),
    "somebody else's": ({"alertname": "DiskFull"}, ["slack"]),
}


@pytest.mark.parametrize(("labels", "receivers"), ROUTES.values(), ids=ROUTES.keys())
def test_an_alert_goes_where_it_should(labels: dict[str, str], receivers: list[str]) -> None:
    """By Alertmanager's own routing."""
    pairs = [f"{name}={value}" for name, value in labels.items()]
    command = ["amtool", "config", "routes", "test", f"--config.file={CONFIGURATION}", *pairs]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip().split(",") == receivers


def test_every_alert_that_is_ours_goes_somewhere_on_purpose() -> None:
    """By its own labels, none falls to the route that takes everything."""
    alerts = [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    for alert in alerts:
        if "alert" in alert:
            labels = alert["labels"]
            known = labels.get("action") in {"rollback", "retrain"} or labels["severity"] in {"critical", "warning"}
            assert known or alert["alert"] == "Watchdog"


def test_what_is_critical_leaves_at_once_and_a_warning_three_seconds_later() -> None:
    """As the figures ask for."""
    routes = yaml.safe_load(CONFIGURATION.read_text())["route"]["routes"]
    by_matcher = {route["matchers"][0]: route for route in routes if len(route["matchers"]) == 1}
    for matcher in ('severity = "critical"', 'action = "rollback"'):
        assert by_matcher[matcher]["group_wait"] == "0s"
        assert by_matcher[matcher]["group_interval"] == "10s"
    assert by_matcher['severity = "warning"']["group_wait"] == "3s"


def test_every_alert_that_is_named_in_an_inhibition_exists() -> None:
    """A renamed one leaves no old name behind."""
    rules = [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    text = CONFIGURATION.read_text()
    for names in re.findall(r"alertname =~? \"([A-Za-z|]+)\"", text):
        assert set(names.split("|")) <= alerts


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_name_is_shown_as_it_is_and_calls_nobody(name: str, slack: Slack, tmp_path: Path) -> None:
    """As feature and model."""
    with Alertmanager(adapted(tmp_path, slack.webhook)) as running:
        running.post([_drift(name, model=name)])
        message = await _arrived(slack)
    assert message["mentions"] == []
    attachment = message["payload"]["attachments"][0]
    title, text = message["texts"][0], message["texts"][1]
    assert title == f"FeatureDrift · {name}"
    assert f"• {name}: 1 of its features has drifted from the reference" in text
    assert f"   {name}: PSI 0.834, critical value 0.054" in text
    # Slack may be laxer with brackets than the stand-in: none goes out.
    assert not set(attachment["title"] + attachment["fallback"] + attachment["text"]) & set("<>")
    # Nothing that is shown is marked as markup, and no address can be broken out of.
    assert attachment["mrkdwn_in"] == ["pretext"]
    assert not message["payload"].get("link_names")
    for url in (attachment["title_link"], *(action["url"] for action in attachment["actions"])):
        assert url.startswith("http")
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
    """It stays on its line. (In a description the rules keep line breaks out of names: prometheus/rules.)"""
    alert = _drift("amount")
    alert["annotations"]["summary"] = f"{name} has drifted"
    with Alertmanager(adapted(tmp_path, slack.webhook)) as running:
        running.post([alert])
        message = await _arrived(slack)
    first, second, *_ = message["texts"][1].splitlines()
    assert first in {f"• {as_shown} has drifted", f"• {as_shown}"}
    assert second == "   amount: PSI 0.834, critical value 0.054"


async def test_a_message_says_what_how_far_since_when_and_what_to_do(slack: Slack, tmp_path: Path) -> None:
    """All that one needs at night, word for word."""
    with Alertmanager(adapted(tmp_path, slack.webhook)) as running:
        running.post([{**_drift("temp"), "startsAt": (datetime.now(UTC) - timedelta(minutes=7)).isoformat()}])
        message = await _arrived(slack)
    attachment = message["payload"]["attachments"][0]
    assert attachment["title"] == "FeatureDrift · flights"
    summary = "flights: 1 of its features has drifted from the reference"
    assert attachment["fallback"] == f"{attachment['title']} — {summary}", "on a locked telephone nothing else is seen"
    since = re.search(r"since (\w{3} \d\d:\d\d:\d\d) UTC", attachment["text"])
    assert since is not None
    assert attachment["text"].rstrip("\n") == (
        "• flights: 1 of its features has drifted from the reference\n"
        "   temp: PSI 0.834, critical value 0.054\n"
        "   tenant _all, window of 1000 instances, large from 0.2, severe from 0.35\n"
        f"   since {since[1]} UTC"
    )
    assert attachment["color"] == "warning"
    assert attachment["footer"] == "warning"
    assert {field["title"]: field["value"] for field in attachment["fields"]} == {
        "What to do": "Look first whether the inputs are broken.",
    }
    links = {action["text"]: action["url"] for action in attachment["actions"]}
    silence = "http://alertmanager.test:9093/#/silences/new?filter="
    assert links == {
        "Runbook": "http://localhost:3000/public/runbooks/feature-drift.md",
        "Dashboard": "http://localhost:3000/d/prod-vs-shadow?var-model=flights",
        "Query": "http://prometheus.test/graph?g0.expr=drift_psi%7B%7D&g0.tab=1",
        "Silence": f"{silence}%7Balertname%3D%22FeatureDrift%22%2Cmodel%3D%22flights%22%7D",
    }


async def test_ten_thousand_alerts_at_once_are_a_message_for_each_kind_of_trouble(slack: Slack, tmp_path: Path) -> None:
    """Of each model; the first ten are shown, all are counted."""
    many = [_drift(f"f{number:05}", feature=f"f{number:05}") for number in range(9_900)]
    lost = [
        {
            "labels": {"alertname": "EventsLost", "severity": "warning", "model": f"m{number}", "reason": "crash"},
            "annotations": {"summary": f"events of m{number} are lost"},
        }
        for number in range(100)
    ]
    with Alertmanager(adapted(tmp_path, slack.webhook, wait="6s")) as running:  # taking in so many takes a while
        running.post([*many, *lost])
        messages = await until(lambda: _when(slack, 2), 60, "two messages")
    titles = {message["texts"][0]: message["texts"][1] for message in messages}
    assert set(titles) == {"FeatureDrift · flights · 9900 alerts", "EventsLost · 100 alerts"}
    text = titles["FeatureDrift · flights · 9900 alerts"]
    assert "f00009" in text
    assert "f00010" not in text
    assert "the first 10 of 9900" in text


async def test_what_is_critical_says_so_and_what_is_over_says_that(slack: Slack, tmp_path: Path) -> None:
    """By colour and by word."""
    alert = {
        "labels": {"alertname": "ErrorRate", "severity": "critical", "model": "fraud", "action": "rollback"},
        "annotations": {"summary": "Half of it fails", "remedy": "Start it"},
    }
    with Alertmanager(adapted(tmp_path, slack.webhook)) as running:
        running.post([alert])
        page = await _arrived(slack)
        running.post([{**alert, "startsAt": "2026-01-01T10:00:00Z", "endsAt": "2026-01-01T11:00:00Z"}])
        over = (await until(lambda: _when(slack, 2), 20, "the end's message"))[1]
    attachment = page["payload"]["attachments"][0]
    assert page["texts"][0] == "CRITICAL: ErrorRate · fraud"
    assert attachment["color"] == "danger"
    assert attachment["footer"] == "critical · asks for: rollback"
    # One that has no runbook or dashboard still has buttons that lead somewhere: Slack refuses empty ones.
    assert {action["url"] for action in attachment["actions"]} >= {"http://alertmanager.test:9093"}
    assert over["texts"][0] == "Resolved: ErrorRate · fraud"
    assert "✓ over since 11:00:00 UTC (it began Thu 10:00:00): Half of it fails" in over["texts"][1]
    assert over["payload"]["attachments"][0]["color"] == "good"


_CRITICAL = {"severity": "critical"}
_WARNING = {"severity": "warning"}
INHIBITED: dict[str, tuple[list[dict[str, str]], set[str]]] = {
    "models and the exporter": (
        [
            {"alertname": "SevereFeatureDrift", "model": "a", **_CRITICAL},
            {"alertname": "FeatureDrift", "model": "a", **_WARNING},  # it is critical already
            {"alertname": "ExporterDown", "job": "exporter", **_CRITICAL},
            {"alertname": "ExporterLagging", "topic": "inference.shadow", **_WARNING},  # of course
            {"alertname": "ShadowFailing", "model": "b", **_WARNING},
            {"alertname": "MirrorDropping", "model": "b", **_WARNING},  # its breaker, its slowness
            {"alertname": "MirrorDropping", "model": "c", **_WARNING},
            # Neither is about a model: one does not make the other wait.
            {"alertname": "ConfigurationRefused", "part": "proxy", **_WARNING},
        ],
        {
            "CRITICAL: ExporterDown",
            "ShadowFailing · b",
            "MirrorDropping · c",
            "ConfigurationRefused",
        },
    ),
    "the proxy": (
        [
            {"alertname": "ProxyBypassed", "job": "nginx", **_CRITICAL},
            {"alertname": "ProxyDown", "job": "proxy", **_CRITICAL},
            {"alertname": "ShadowFailing", "model": "b", **_WARNING},
            {"alertname": "EventsNotDelivered", "model": "b", "role": "shadow", **_WARNING},
            {"alertname": "SevereFeatureDrift", "model": "a", **_CRITICAL},
            {"alertname": "FeatureDrift", "model": "a", **_WARNING},
        ],
        {"CRITICAL: ProxyBypassed", "CRITICAL: SevereFeatureDrift · a"},
    ),
}


@pytest.mark.parametrize(("alerts", "told"), INHIBITED.values(), ids=INHIBITED.keys())
async def test_what_a_cause_explains_is_not_told_beside_it(
    alerts: list[dict[str, str]], told: set[str], slack: Slack, tmp_path: Path
) -> None:
    """Critical over warning, down over all that it causes; the same effects without the cause are told."""
    with Alertmanager(adapted(tmp_path, slack.webhook)) as running:
        running.post([{"labels": labels, "annotations": {"summary": "x"}} for labels in alerts])
        await until(lambda: _when(slack, len(told)), 30, "the causes' messages")
        # What comes later has had as much time: a route's message leaves after those before it were due.
        running.post([{"labels": {"alertname": "Later", "severity": "warning"}, "annotations": {"summary": "x"}}])
        messages = await until(lambda: _when(slack, len(told) + 1), 30, "one message more")
    assert {message["texts"][0] for message in messages} == told | {"Later"}


async def test_the_rollback_is_asked_with_its_token_though_slack_is_away(tmp_path: Path) -> None:
    """Both ends are told; the retraining and the dead man's switch get theirs."""
    async with listening() as hooks:
        urls = {name: hooks.url(name) for name in ("rollback", "retraining", "dead-mans-switch")}
        with Alertmanager(adapted(tmp_path, "http://127.0.0.1:1/services/none", urls)) as running:
            asked = {"alertname": "LatencySpike", "severity": "critical", "model": "fraud", "action": "rollback"}
            trend = {"alertname": "DriftTrend", "severity": "info", "model": "fraud", "action": "retrain"}
            running.post(
                [{"labels": labels} for labels in (asked, trend, {"alertname": "Watchdog", "severity": "none"})]
            )
            called = await until(lambda: hooks.all_of(*urls), 30, "every hook called")
    document, headers = called["rollback"]
    assert headers["Authorization"] == f"Bearer {alertmanager.TOKEN}"
    assert document["version"] == "4"
    assert [alert["labels"]["alertname"] for alert in document["alerts"]] == ["LatencySpike"]
    assert {alert["labels"]["alertname"] for alert in called["retraining"][0]["alerts"]} == {"DriftTrend"}
    assert {alert["labels"]["alertname"] for alert in called["dead-mans-switch"][0]["alerts"]} == {"Watchdog"}


def _drift(name: str, model: str = "flights", **labels: str) -> dict[str, Any]:
    """An alert as Prometheus makes it of the rule."""
    return {
        "labels": {"alertname": "FeatureDrift", "severity": "warning", "model": model, **labels},
        "annotations": {
            "summary": f"{model}: 1 of its features has drifted from the reference",
            "description": f"{name}: PSI 0.834, critical value 0.054\n"
            "tenant _all, window of 1000 instances, large from 0.2, severe from 0.35",
            "remedy": "Look first whether the inputs are broken.",
            "runbook_url": "http://localhost:3000/public/runbooks/feature-drift.md",
            "dashboard_url": f"http://localhost:3000/d/prod-vs-shadow?var-model={model}",
        },
        "generatorURL": "http://prometheus.test/graph?g0.expr=drift_psi%7B%7D&g0.tab=1",
    }


async def _when(slack: Slack, count: int) -> list[dict[str, Any]] | None:
    messages = await slack.messages()
    return messages if len(messages) >= count else None


async def _arrived(slack: Slack) -> dict[str, Any]:
    return (await until(lambda: _when(slack, 1), 20, "a message", (aiohttp.ClientError,)))[0]
