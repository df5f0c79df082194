"""Prometheus' configuration and rules, by its own checker."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support import prometheus
from tests.support.prometheus import CHECKOUT, CONFIGURATION, RULES, adapted
from tests.support.required import require

RULE_TESTS = sorted((CHECKOUT / "prometheus" / "tests").glob("*.yml"))
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule]


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
    made = adapted(tmp_path, {"proxy": "127.0.0.1:1", "exporter": "127.0.0.1:2"}, alertmanager="127.0.0.1:3")
    assert f"{len(ALERTS)} rules found" in _promtool("check", "config", made)


def test_the_rules_pass_with_no_duplicates() -> None:
    """`check rules` warns of duplicates and still succeeds, so its words count."""
    assert "duplicate" not in _promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.stem)
def test_the_rules_do_what_their_cases_say(file: Path) -> None:
    """The cases are in prometheus/tests."""
    _promtool("test", "rules", file)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_a_case_a_severity_something_to_do_and_a_runbook(alert: dict[str, object]) -> None:
    """What wakes somebody must say why, and what now."""
    name = alert["alert"]
    assert any(re.search(rf"alertname: {name}\b|\"{name}\"", file.read_text()) for file in RULE_TESTS)
    labels, annotations = alert["labels"], alert["annotations"]
    assert isinstance(labels, dict)
    assert isinstance(annotations, dict)
    assert labels["severity"] in {"page", "warning"}
    assert annotations["summary"]
    assert annotations["action"]
    runbook = (CHECKOUT / annotations["runbook"]).read_text()
    assert runbook.startswith(f"# {name}\n")
    # The same for all alerts of a name, so that a message can show it once.
    assert "{{" not in annotations["action"]


def test_a_rule_joins_on_no_label_that_a_scrape_adds() -> None:
    """Or a window that moves to another process would start the waiting again."""
    for alert in ALERTS:
        for labels in re.findall(r"\b(?:on|by|ignoring)\s*\(([^)]*)\)", str(alert["expr"])):
            assert not {"instance", "pod"} & {label.strip() for label in labels.split(",")}
