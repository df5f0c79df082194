"""The runbooks: each alert has its page, and each command and query in them exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cli.main import COMMANDS
from tests.support import prometheus
from tests.support.prometheus import CHECKOUT, RULES, Prometheus, adapted
from tests.support.required import require

PAGES = sorted((CHECKOUT / "docs" / "runbooks").glob("*.md"))
BUSINESS = CHECKOUT / "prometheus" / "examples" / "business-metric.yml"
BASE = "http://localhost:3000/public/runbooks/"
OUTSIDE = {"amtool", "cat", "curl", "dmesg", "mv", "nginx", "python3", "EOF"}
"""Programs of others that a page may call."""

ALERTS = {
    rule["alert"]: rule["annotations"]["runbook_url"]
    for file in RULES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_page(alert: str) -> None:
    """By its own name, with what it means, how to look and what to do."""
    page = CHECKOUT / "docs" / "runbooks" / ALERTS[alert].removeprefix(BASE)
    text = page.read_text()
    assert text.startswith(f"# {alert}\n")
    for part in ("**What it means.**", "**How to look.**", "**What to do.**"):
        assert part in text


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
    work = {"deploy-a-version", "manual-rollback", "restore", "pause", "rotate-keys", "kafka-down", "business-metric"}
    assert rest == {f"{name}.md" for name in work}


def commands() -> Iterator[tuple[str, str]]:
    """Each line of a shell block, and each `shadowdrift …` in the text, with its page."""
    for page in PAGES:
        text = page.read_text()
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            block = re.sub(r"<<'(\w+)'.*?^\1$", "", block, flags=re.MULTILINE | re.DOTALL)
            for line in block.splitlines():
                if line.strip():
                    yield page.name, line
        for words in re.findall(r"`((?:shadowdrift|make) [^`]*)`", re.sub(r"\s*\n", " ", text)):
            yield page.name, words


COMMAND_LINES = sorted(set(commands()))


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES, ids=[f"{page}: {line}" for page, line in COMMAND_LINES])
def test_a_command_in_a_runbook_exists(page: str, line: str) -> None:
    """Ours by name and by its arguments' names, make's by its targets."""
    program, *arguments = shlex.split(line.partition(" > ")[0])
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
        assert arguments[0] in targets, page
        return
    if program != "shadowdrift":
        assert program in OUTSIDE, page
        return
    name = arguments[0]
    assert name in COMMANDS, page
    depth = 2 if name == "rollback" and len(arguments) > 1 else 1
    told = usage(*arguments[:depth])
    for argument in arguments[depth:]:
        if argument.startswith("--"):
            assert argument in told, page


def usage(*command: str) -> str:
    """What the command says of itself."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *command, "--help"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def queries() -> Iterator[tuple[str, str]]:
    """Each line of a query block."""
    for page in PAGES:
        for block in re.findall(r"^```promql\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                if line.strip():
                    yield page.name, line.partition(" # ")[0].strip()


def test_every_query_in_a_runbook_is_one_of_metrics_that_are_documented(tmp_path: Path) -> None:
    """A real Prometheus parses each; each name stands in docs/metrics.md, or is recorded by a rule."""
    require("Prometheus", prometheus.missing())
    known = documented()
    with Prometheus(adapted(tmp_path, {})) as server:
        for page, query in queries():
            server.query(query)
            for name in re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b(?=[{\[) ]|$)|\b[a-z_]+:[a-z_]+:[a-z0-9_]+\b", query):
                assert name in known or name in FUNCTIONS, f"{page}: {name}"


FUNCTIONS = {"histogram_quantile", "label_replace", "last_over_time", "max_over_time", "group_left"}


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
