"""The running stack: drift from the traffic to the stand-in Slack, and restarts under load. `make stack-test`.

It needs nginx, proxy, models, Kafka, exporter, Prometheus, Alertmanager, the stand-in Slack and the traffic, at
the usual ports; Grafana may be absent. The traffic goes back to normal at the end, and what was restarted runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until_sync

CHECKOUT = Path(__file__).resolve().parents[2]
TOLERATED = (OSError, ValueError, IndexError, KeyError)


def compose(*arguments: str) -> str:
    """What `docker compose` says. Raises when it fails."""
    done = subprocess.run(
        ["docker", "compose", "--ansi", "never", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return done.stdout


def at(part: str, default: int, path: str) -> str:
    """A part's address on this machine."""
    return f"http://127.0.0.1:{os.environ.get(f'STACK_{part}_PORT', default)}{path}"


def ask(url: str, method: str = "GET") -> Any:
    """The JSON that a URL answers with."""
    request = urllib.request.Request(url, method=method)  # noqa: S310 - our own addresses
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
        return json.load(answer)


def query(expression: str) -> list[Any]:
    """Prometheus' answer to an instant query."""
    found: list[Any] = ask(at("PROMETHEUS", 9090, f"/api/v1/query?query={urllib.parse.quote(expression)}"))["data"][
        "result"
    ]
    return found


def counts() -> Any:
    """What became of the traffic's requests."""
    return ask(at("TRAFFIC", 8026, "/"))


def healthy(service: str) -> bool:
    """Whether the engine calls a service's container healthy."""
    return compose("ps", service, "--format", "{{.Health}}").strip() == "healthy"


@pytest.fixture(scope="module", autouse=True)
def _traffic_flows_normally() -> Iterator[None]:
    """Before and after."""
    ask(at("TRAFFIC", 8026, "/drift/none"), "POST")
    full = 'min(drift_window_instances{model="flights",role="production",tenant="_all"}) >= 1000'
    until_sync(lambda: query(full), 120, "a full window", TOLERATED)
    calm = 'max(drift_psi{against="reference",tenant="_all"}) < 0.15'
    until_sync(lambda: query(calm), 120, "no drift", TOLERATED)
    yield
    ask(at("TRAFFIC", 8026, "/drift/none"), "POST")


def test_every_target_is_up_and_the_topics_are_as_they_should_be() -> None:
    """Prometheus reaches the parts with the token, nginx the proxy; `topics --check` finds nothing."""
    up = {result["metric"]["job"]: result["value"][1] for result in query('up{job=~"proxy|exporter|nginx"}')}
    assert up == {"proxy": "1", "exporter": "1", "nginx": "1"}
    assert [result["value"][1] for result in query("nginx_proxy_answers")] == ["1"]
    said = compose("run", "--rm", "--no-deps", "-T", "topics", "topics", "--check")
    assert "every topic is as it should be" in said


def test_drift_reaches_gauge_alert_and_slack_with_the_features_name() -> None:
    """July's flights: the temperature is another, and the message says so."""
    before = ask(at("SLACK", 8065, "/messages"))
    ask(at("TRAFFIC", 8026, "/drift/season"), "POST")
    gauge = 'drift_psi{feature="temp",against="reference",tenant="_all"} > 0.3'
    until_sync(lambda: query(gauge), 90, "the gauge", TOLERATED)
    alert = 'ALERTS{alertname=~"FeatureDrift|SevereFeatureDrift",alertstate="firing",model="flights"}'
    until_sync(lambda: query(alert), 90, "the alert", TOLERATED)

    def messages() -> str:
        return json.dumps([message for message in ask(at("SLACK", 8065, "/messages")) if message not in before])

    until_sync(lambda: "temp" in messages() and "FeatureDrift" in messages(), 90, "the message", TOLERATED)


@pytest.mark.parametrize("service", ["exporter", "model-v1", "kafka", "prometheus", "alertmanager", "proxy"])
def test_a_part_restarts_under_load_and_no_request_fails(service: str) -> None:
    """In order (SIGTERM); the proxy's absence is nginx's backup's to bridge."""
    before = counts()
    assert before["answered"]["2xx"] > 0
    compose("restart", service)
    until_sync(lambda: healthy(service), 120, f"{service} healthy again")
    enough = counts()["sent"] + 100
    until_sync(lambda: counts()["sent"] > enough, 30, "more traffic")
    after = counts()
    for kind in ("3xx", "4xx", "5xx"):
        assert after["answered"].get(kind, 0) == before["answered"].get(kind, 0), kind
    assert after["failed"] == before["failed"]


def test_a_killed_proxy_costs_at_most_the_requests_that_were_open() -> None:
    """SIGKILL: the backup answers at once, the proxy again when it is back."""
    before = counts()
    compose("kill", "--signal", "KILL", "proxy")
    enough = counts()["sent"] + 100
    until_sync(lambda: counts()["sent"] > enough, 30, "traffic past the proxy")
    compose("up", "--detach", "--no-build", "--no-deps", "proxy")
    until_sync(lambda: healthy("proxy"), 60, "the proxy healthy again")
    after = counts()
    lost = sum(after["answered"].get(kind, 0) - before["answered"].get(kind, 0) for kind in ("4xx", "5xx"))
    assert lost + after["failed"] - before["failed"] <= 16  # the traffic's connections


def test_while_production_is_away_clients_get_502_or_504_and_nothing_else() -> None:
    """By the deadline, and 200 again when it is back."""
    before = counts()
    compose("stop", "model-v2")
    try:
        until_sync(lambda: counts()["answered"].get("5xx", 0) > before["answered"].get("5xx", 0) + 20, 60, "refusals")
    finally:
        compose("start", "model-v2")
    until_sync(lambda: healthy("model-v2"), 90, "production healthy again")
    at_return = counts()["answered"]["2xx"]
    until_sync(lambda: counts()["answered"]["2xx"] > at_return + 100, 30, "answers again")
    lines = [
        json.loads(line)
        for line in compose("logs", "--no-log-prefix", "--since", "3m", "nginx").splitlines()
        if line[:1] == "{"
    ]
    assert {line["status"] for line in lines} <= {200, 502, 504}
    assert counts()["failed"] == before["failed"]
