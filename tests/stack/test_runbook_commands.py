"""What the runbooks do to containers, pasted as it stands, in the running stack. `make stack-test`.

First what looks, reloads and starts what runs already; then restarts; then new keys, and the active file written by
hand; in the end traffic is where the configuration wants it. tests/docs/test_runbook_commands.py runs all else.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.runbooks import PAGES, Command, items
from tests.support.waiting import until_sync

CHECKOUT = Path(__file__).resolve().parents[2]
SECRETS: Final = ("rollback_token", "shadowdrift_token")
[FIRST] = [item for page in PAGES if page.name == "README.md" for item in items(page) if isinstance(item, Command)]
"""What the first page has people paste before anything else: `shadowdrift` in its container."""

CALM: Final = (
    "docker compose ps",
    "docker compose logs",
    "docker compose exec",
    "docker compose kill",
    "docker compose up",
)
COMMANDS: Final = list(
    {
        item.text: item
        for page in PAGES
        for item in items(page)
        if isinstance(item, Command) and item.of_the_stack and item != FIRST
    }.values()
)


def paste(text: str, code: int = 0) -> str:
    """What a command says, in a shell into which the first page was pasted."""
    script = f"{FIRST.text}\n{text}"
    done = subprocess.run(["bash", "-eu", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{text}: {done.stdout}{done.stderr}"
    return done.stdout


def settled() -> bool:
    """Whether every container is healthy, or one that has done its work; two images hold nothing to look with."""
    states = set(paste("docker compose ps --all --format '{{.State}}/{{.Health}}/{{.ExitCode}}'").split())
    return states <= {"running/healthy/0", "running//0", "exited//0"}


def share(version: str) -> float:
    """A version's share of the requests, as Prometheus has it."""
    expression = urllib.parse.quote(f'max(inference_traffic_ratio{{model="flights",version="{version}"}})')
    port = os.environ.get("STACK_PROMETHEUS_PORT", "9090")
    url = f"http://127.0.0.1:{port}/api/v1/query?query={expression}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return float(json.load(answer)["data"]["result"][0]["value"][1])


@pytest.fixture(autouse=True)
def _all_is_well_before_and_after() -> Iterator[None]:
    """A command that breaks a part fails its own test, not the next."""
    until_sync(settled, 120, "healthy containers")
    yield
    until_sync(settled, 120, "healthy containers")


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.text.startswith(CALM)], ids=lambda one: one.where)
def test_what_looks_reloads_or_starts_what_runs_already_does_no_harm(command: Command) -> None:
    """And says something where it is there to tell."""
    output = paste(command.text)
    if command.text.startswith(("docker compose ps", "docker compose logs", "docker compose exec")):
        assert output.strip(), command.where
    if command.text == "docker compose kill -s HUP proxy":
        until_sync(lambda: "the configuration was taken" in paste("docker compose logs --tail 20 proxy"), 60, "its log")


@pytest.mark.parametrize("text", ["shadowdrift rollback status", "shadowdrift topics --check"])
def test_shadowdrift_is_its_container_once_the_first_page_is_pasted(text: str) -> None:
    """With the configuration and the tokens that lie there."""
    assert paste(text).startswith(("flights: v2 100%", "every topic is as it should be"))


@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if one.text.startswith("docker compose restart")], ids=lambda one: one.where
)
def test_what_is_restarted_is_healthy_again(command: Command) -> None:
    """The fixture waits for it."""
    paste(command.text)


def test_keys_are_rotated_as_the_page_says() -> None:
    """All of it but what is for a host's own nginx; the files that were there before are there afterwards."""
    folder = CHECKOUT / "stack" / "secrets"
    former = {name: (folder / name).read_bytes() for name in SECRETS if (folder / name).exists()}
    [page] = [page for page in PAGES if page.name == "rotate-keys.md"]
    before = paste("docker compose exec -T prometheus cat /run/secrets/shadowdrift_token")
    try:
        for item in items(page):
            if isinstance(item, Command) and not item.text.startswith("nginx "):
                until_sync(settled, 120, "healthy containers")
                paste(item.text)
        assert paste("docker compose exec -T prometheus cat /run/secrets/shadowdrift_token") != before
        until_sync(settled, 120, "healthy containers")
        assert paste("shadowdrift rollback status").startswith("flights: ")
    finally:
        for name in SECRETS:
            (folder / name).unlink(missing_ok=True)
        for name, content in former.items():
            (folder / name).write_bytes(content)


def test_the_active_file_is_written_by_hand_and_taken_back() -> None:
    """Without the rollback; then by it."""
    [by_hand] = [one for one in COMMANDS if "active.json" in one.text]
    paste(by_hand.text)
    try:
        until_sync(lambda: share("v1") == 1.0, 60, "v1 serves", (OSError, ValueError, LookupError))
    finally:
        paste('shadowdrift rollback restore --model flights --reason "the test is over"')
    until_sync(lambda: share("v2") == 1.0, 60, "v2 serves", (OSError, ValueError, LookupError))


def test_every_command_for_containers_is_run_here() -> None:
    """One that none of the above takes has nobody to run it."""
    runs = (*CALM, "docker compose restart", "docker compose run --rm --no-deps secrets")
    left = [one.where for one in COMMANDS if not one.text.startswith(runs) and "active.json" not in one.text]
    assert left == []
