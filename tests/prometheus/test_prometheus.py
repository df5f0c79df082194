"""Prometheus' configuration and rules, by its own checker."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import prometheus
from tests.support.prometheus import CHECKOUT, CONFIGURATION, RULES, adapted
from tests.support.required import require

RULE_TESTS = sorted((CHECKOUT / "prometheus" / "tests").glob("*.yml"))
BUSINESS = CHECKOUT / "prometheus" / "examples" / "business-metric.yml"
GRAFANA = "http://localhost:3000"
"""Whose dashboards and runbooks the alerts lead to, as in docker-compose.yml."""


def rules_of(file: Path) -> list[dict[str, Any]]:
    """The rules of a file, in all its groups."""
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


EVERY = [rule for file in RULES for rule in rules_of(file)]
ALERTS = [rule for rule in EVERY if "alert" in rule]


@pytest.fixture(autouse=True)
def promtool() -> None:
    """The real checker."""
    require("Prometheus", prometheus.missing())


def _promtool(*arguments: object) -> str:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_configuration_passes_prometheus_own_checker() -> None:
    """As it is, but for the secret, which only the container has."""
    _promtool("check", "config", "--syntax-only", CONFIGURATION)


def test_the_configuration_passes_whole_where_its_secret_exists(tmp_path: Path) -> None:
    """With the rules and with a token file in place."""
    targets = {"proxy": "127.0.0.1:1", "exporter": "127.0.0.1:2", "rollback": "127.0.0.1:3", "nginx": "127.0.0.1:4"}
    made = adapted(tmp_path, targets, alertmanager="127.0.0.1:5")
    found = re.findall(r"(\d+) rules found", _promtool("check", "config", made))
    assert sum(map(int, found)) == len(EVERY)


@pytest.mark.parametrize("file", [*RULES, BUSINESS], ids=lambda file: file.stem)
def test_the_rules_pass_with_no_duplicates(file: Path) -> None:
    """`check rules` warns of duplicates and still succeeds, so its words count."""
    assert "duplicate" not in _promtool("check", "rules", "--lint=all", "--lint-fatal", file)


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.stem)
def test_the_rules_do_what_their_cases_say(file: Path) -> None:
    """The cases are in prometheus/tests."""
    _promtool("test", "rules", file)


@pytest.mark.parametrize("alert", [*ALERTS, *rules_of(BUSINESS)], ids=lambda alert: alert["alert"])
def test_an_alert_says_what_how_far_and_what_to_do(alert: dict[str, Any]) -> None:
    """What wakes somebody must say why, and what now."""
    annotations = alert["annotations"]
    assert alert["labels"]["severity"] in {"critical", "warning", "info", "none"}
    assert set(annotations) == {"summary", "description", "remedy", "runbook_url", "dashboard_url"}
    assert all(annotations.values())
    assert annotations["dashboard_url"].startswith(f"{GRAFANA}/d/prod-vs-shadow")
    # The same for all alerts of a name, so that a message can show it once.
    assert "{{" not in annotations["remedy"]


def test_what_asks_for_a_rollback_is_critical_and_nothing_else_but_a_trend_asks_for_anything() -> None:
    """Warnings wait for people."""
    asking = {(alert["labels"].get("action"), alert["labels"]["severity"]) for alert in ALERTS}
    assert asking == {
        ("rollback", "critical"), ("retrain", "info"), (None, "critical"), (None, "warning"), (None, "none")
    }  # fmt: skip


def test_a_recording_rule_is_named_by_its_labels_its_metric_and_what_was_done() -> None:
    """level:metric:operations; the level are the labels that are left."""
    for rule in EVERY:
        if "record" in rule:
            level, metric, operation = rule["record"].split(":")
            assert set(level.split("_")) <= {
                "model",
                "version",
                "tenant",
                "feature",
                "against",
                "level",
                "decision",
                "reason",
            }
            assert re.fullmatch(r"[a-z_]+", metric)
            assert re.fullmatch(r"[a-z0-9_]+", operation)


def test_a_label_reaches_a_query_through_q_alone() -> None:
    """Or a name could become part of an expression."""
    for alert in ALERTS:
        for text in alert["annotations"].values():
            for form, rest in re.findall(r"printf `([^`]*)`([^|}]*)\| query", text):
                assert form.count("%") == form.count("%q") == len(re.findall(r"\.?\$?[.\w]+", rest))
            assert not re.search(r"query `[^`]*\$labels|printf \"[^\"]*%s", text)


def test_a_rule_joins_on_no_label_that_a_scrape_adds() -> None:
    """Or a window that moves to another process would start the waiting again."""
    for rule in EVERY:
        for labels in re.findall(r"\b(?:on|by|ignoring)\s*\(([^)]*)\)", str(rule["expr"])):
            assert not {"instance", "pod"} & {label.strip() for label in labels.split(",")}
