"""`stack/start`, with a docker on the PATH that fails as engines do: one line says what to do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

GOOD = """
case "$*" in
  "compose version --short") echo 2.26.1 ;;
  *" ps "*) ;;
esac
"""
HEALTHY = 'case "$*" in *" ps --all"*|"compose ps --all"*) echo "proxy running healthy/0" ;; esac\n'


def start(folder: Path, docker: str | None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it with a `docker` that is this shell script, or with none."""
    tools = folder / "bin"
    tools.mkdir()
    if docker is not None:
        (tools / "docker").write_text(f"#!/bin/sh\n{docker}")
        (tools / "docker").chmod(0o755)
    else:  # nothing but what the script itself needs
        for name in ("mktemp", "rm", "sh", "dirname"):
            (tools / name).symlink_to(f"/bin/{name}")
    path = f"{tools}:{os.environ['PATH']}" if docker is not None else str(tools)
    return subprocess.run(
        ["/bin/sh", str(CHECKOUT / "stack" / "start")], cwd=CHECKOUT, capture_output=True, text=True, check=False,
        timeout=60, env={**environment, "PATH": path},
    )  # fmt: skip


UP_FAILS = GOOD + HEALTHY + 'case "$*" in *" up "*) echo "{error}" >&2; exit 1 ;; esac\n'


@pytest.mark.parametrize(
    ("docker", "line"),
    [
        (None, "docker is not on the PATH"),
        ('[ "$1" = compose ] && exit 1; exit 0', "`docker compose` (v2) is missing"),
        ("echo 2.6.0", "docker compose is 2.6.0; 2.20 or newer is needed"),
        ("echo v1.29.2", "docker compose is 1.29.2; 2.20 or newer is needed"),
        ("echo dev", "docker compose does not tell its version"),
        ('[ "$1" = info ] && exit 1; echo 2.26.1', "no Docker engine answers"),
        (
            GOOD + 'case "$*" in *config*) echo "yaml: line 3: no" >&2; exit 1 ;; esac',
            "docker-compose.yml is refused: yaml: line 3: no",
        ),
        (GOOD + 'case "$*" in *build*) echo "ERROR: no space left" >&2; exit 1 ;; esac', "the image cannot be built"),
        (
            UP_FAILS.format(error="Bind for 127.0.0.1:9090 failed: port is already allocated"),
            "port 9090 is taken; end what uses it, or choose another: STACK_PROMETHEUS_PORT=19090 make stack",
        ),
        (
            UP_FAILS.format(error="listen tcp4 127.0.0.1:8080: bind: address already in use"),
            "port 8080 is taken; end what uses it, or choose another: STACK_NGINX_PORT=18080 make stack",
        ),
        (
            UP_FAILS.format(error="invalid pool request: Pool overlaps with other one on this address space"),
            "another network has 172.30.82.0/24; choose another: STACK_NET=172.30.83 make stack",
        ),
        (
            UP_FAILS.format(
                error="cannot create network a (b): conflicts with network c (d): networks have overlapping IPv4"
            ),
            "another network has 172.30.82.0/24; choose another: STACK_NET=172.30.83 make stack",
        ),
        (UP_FAILS.format(error="something else"), "it does not start: something else"),
    ],
)
def test_what_stands_in_the_way_is_one_line(tmp_path: Path, docker: str | None, line: str) -> None:
    """On standard error, with exit code 1."""
    done = start(tmp_path, docker)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert line in done.stderr


def test_a_part_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    """The reason stands in its log."""
    docker = UP_FAILS.format(error="service secrets did not complete successfully: exit 1")
    docker = docker.replace("proxy running healthy/0", "secrets exited /1")
    docker += 'case "$*" in *logs*) echo "slack_webhook is empty; write the secret into it" ;; esac\n'
    done = start(tmp_path, docker)
    assert done.stderr == "stack: secrets ended: slack_webhook is empty; write the secret into it\n"


def test_what_is_never_healthy_is_named_at_the_deadline(tmp_path: Path) -> None:
    """With what it says."""
    docker = (
        GOOD + HEALTHY.replace("healthy/0", "unhealthy/0") + 'case "$*" in *logs*) echo "waits for Kafka" ;; esac\n'
    )
    done = start(tmp_path, docker, STACK_DEADLINE="1")
    assert "not healthy after 1 s: proxy; proxy says: waits for Kafka" in done.stderr


def test_it_tells_what_is_up_and_where(tmp_path: Path) -> None:
    """And exits with 0."""
    done = start(tmp_path, GOOD + HEALTHY + 'case "$*" in *" port nginx"*) echo 127.0.0.1:8080 ;; esac\n')
    assert (done.returncode, done.stderr) == (0, "")
    assert "proxy         up" in done.stdout
    assert "http://127.0.0.1:8080/predict" in done.stdout


@pytest.mark.parametrize("given", [None, "own-token"])
def test_secrets_are_made_once_or_taken_from_their_owner(tmp_path: Path, given: str | None) -> None:
    """A second start keeps what is there; an owner's new one takes its place; none is printed."""
    own, made = tmp_path / "own", tmp_path / "made"
    own.mkdir()
    for folder in ("token", "rollback", "slack", "tenants", "grafana"):
        (made / folder).mkdir(parents=True)

    def run() -> subprocess.CompletedProcess[str]:
        script = str(CHECKOUT / "stack" / "make-secrets")
        return subprocess.run(["sh", script, str(own), str(made)], capture_output=True, text=True, check=False)

    first = run()
    assert first.returncode == 0, first.stderr
    token = made / "token" / "shadowdrift_token"
    before = token.read_text()
    assert len(before.strip()) == 48
    if given:
        (own / "shadowdrift_token").write_text(given)
    second = run()
    assert token.read_text() == (given or before)
    assert before.strip() not in first.stdout + second.stdout
    (own / "slack_webhook").touch()
    refused = run()
    assert refused.returncode == 1
    assert "stack/secrets/slack_webhook is empty; write the secret into it" in refused.stdout
