"""The runbooks: each alert has its page, and each command and query in them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from cli.main import COMMANDS
from rollback.command import COMMANDS as ROLLBACK_COMMANDS
from tests.support.prometheus import CHECKOUT, RULES
from tests.support.runbooks import PAGES, Query, items

BASE = "http://localhost:3000/public/runbooks/"
ALERTS = {
    rule["alert"]: rule["annotations"]["runbook_url"]
    for file in RULES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_page(alert: str) -> None:
    """By its own name: what do I see, is it real, what do I do, when am I done; in this order."""
    page = CHECKOUT / "docs" / "runbooks" / ALERTS[alert].removeprefix(BASE)
    text = page.read_text()
    assert text.startswith(f"# {alert}\n")
    parts = [text.find(part) for part in ("**What it means.**", "**How to look.**", "**What to do.**", "**Done when**")]
    assert -1 < parts[0] < parts[1] < parts[2] < parts[3]


def test_every_alert_stands_in_the_table_with_its_severity_and_what_it_asks_for() -> None:
    """docs/alerts.md, beside the page; and no alert that is none."""
    text = (CHECKOUT / "docs" / "alerts.md").read_text()
    table: dict[str, tuple[str, str]] = {}
    for name, severity, asks in re.findall(r"^\| \[(\w+)\]\([^)]+\) \| .* \| (\w+) \| (.*?) ?\|$", text, re.MULTILINE):
        table[name] = severity, asks.strip("* ")
    rules = {
        rule["alert"]: rule["labels"]
        for file in reversed(RULES)
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in reversed(group["rules"])
        if "alert" in rule
    }
    asked = {"rollback": "rollback", "retrain": "retraining", None: ""}
    told = {
        name: (labels["severity"], "dead man's switch" if name == "Watchdog" else asked[labels.get("action")])
        for name, labels in rules.items()
    }
    assert table == told


def test_no_page_is_left_over() -> None:
    """Of an alert that is no more; pages of work to do are named by it."""
    of_alerts = {url.removeprefix(BASE) for url in ALERTS.values()}
    rest = {page.name for page in PAGES} - of_alerts
    work = {
        "deploy-a-version",
        "manual-rollback",
        "restore",
        "pause",
        "rotate-keys",
        "kafka-down",
        "business-metric",
        "README",
    }
    assert rest == {f"{name}.md" for name in work}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_command_that_a_page_names_exists(page: Path) -> None:
    """`shadowdrift exchanges`, `make stack`; what is to be pasted is run: test_runbook_commands.py."""
    targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    for program, name, sub in re.findall(r"`(shadowdrift|make) ([a-z-]+)(?: ([a-z]+))?", page.read_text()):
        assert name in (COMMANDS if program == "shadowdrift" else targets), name
        assert not sub or name != "rollback" or sub in ROLLBACK_COMMANDS, sub


def test_every_query_in_a_runbook_is_one_of_metrics_that_are_documented() -> None:
    """Each name stands in docs/metrics.md, or is recorded by a rule: a misspelt one would look like calm."""
    known = documented()
    for query in (item for page in PAGES for item in items(page) if isinstance(item, Query)):
        for name in re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b(?=[{\[) ]|$)|\b[a-z_]+:[a-z_]+:[a-z0-9_]+\b", query.text):
            assert name in known or name in FUNCTIONS, query.where


FUNCTIONS = {"histogram_quantile", "max_over_time"}


def documented() -> set[str]:
    """The metrics of docs/metrics.md, those that rules record, and what a histogram's are called."""
    text = (CHECKOUT / "docs" / "metrics.md").read_text()
    names = set(re.findall(r"^\| `([a-z_]+)`", text, re.MULTILINE))
    names |= {f"{name}{end}" for name in names for end in ("_bucket", "_count", "_sum")}
    recorded = [
        rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]
    ]
    return names | {rule["record"] for rule in recorded if "record" in rule}


@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "docs" / "alerts.md"], ids=lambda page: page.stem)
def test_a_link_in_a_runbook_leads_somewhere(page: Path) -> None:
    """To another page."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
