"""The running stack: from drift to Slack and the stable model, and restarts under load. `make stack-test`.

It needs nginx, proxy, models, Kafka, exporter, Prometheus, Alertmanager, rollback, `follow`, the stand-in Slack and the
traffic, at the usual ports, with STACK_DRY_RUN=false and STACK_ON_FEATURE_DRIFT=alone; Grafana may be absent. The tests
stand in the order of the story that they tell. The traffic goes back to normal at the end, what was restarted runs, and
alerts move nothing more.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.steady import CONNECTIONS
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
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def lost_since(before: Any) -> int:
    """Requests that have failed, or were answered with something else than 2xx, since these counts."""
    after = counts()
    lost = sum(after["answered"].get(kind, 0) - before["answered"].get(kind, 0) for kind in ("3xx", "4xx", "5xx"))
    return int(lost + after["failed"] - before["failed"])


def query(expression: str) -> list[Any]:
    """Prometheus' answer to an instant query."""
    found: list[Any] = ask(at("PROMETHEUS", 9090, f"/api/v1/query?query={urllib.parse.quote(expression)}"))["data"][
        "result"
    ]
    return found


def counts() -> Any:
    """What became of the traffic's requests."""
    return ask(at("TRAFFIC", 8026, "/"))


def rollback(*words: str) -> Any:
    """What a person's command is answered, in the rollback's own container."""
    return json.loads(compose("exec", "-T", "rollback", "shadowdrift", "rollback", *words, "--json"))


def standing() -> Any:
    """What the rollback tells of the model."""
    return rollback("status")["models"]["flights"]


def behind_the_proxy() -> list[str]:
    """The versions that are nginx's backup, as it tells them itself."""
    found: list[str] = ask(at("NGINX", 8080, "/nginx/active/flights"))["versions"]
    return found


def served(version: str) -> float:
    """Clients' requests that this version has answered through the proxy."""
    return sum(
        float(result["value"][1])
        for result in query(f'inference_requests_total{{role="production",version="{version}",outcome="ok"}}')
    )


def address_of(service: str) -> str:
    """Its address in the stack's own network, with a fixed last part."""
    container = compose("ps", "--quiet", service).strip()
    networks = json.loads(
        subprocess.run(
            ["docker", "inspect", "--format", "{{json .NetworkSettings.Networks}}", container],
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    (network,) = networks.values()
    return str(network["IPAddress"])


def front_lines(since: str) -> list[dict[str, Any]]:
    """nginx's access log since then, such as `3m` or a time."""
    said = compose("logs", "--no-log-prefix", "--no-color", "--since", since, "nginx")
    starts = (line[line.find("{") :] for line in said.splitlines() if "{" in line)
    return [found for line in starts if "status" in (found := json.loads(line))]


def healthy(service: str) -> bool:
    """Whether the engine calls a service's container healthy."""
    return compose("ps", service, "--format", "{{.Health}}").strip() == "healthy"


@pytest.fixture(scope="module", autouse=True)
def _traffic_flows_normally() -> Iterator[None]:
    """Before and after. Alerts move nothing until a test asks for it: a machine that has just started may be slow."""
    rollback("disarm", "--reason", "the test begins")
    if standing()["active"]["weights"] != {"v2": 1.0}:
        rollback("restore", "--reason", "the test begins")
    ask(at("TRAFFIC", 8026, "/drift/none"), "POST")
    full = 'min(drift_window_instances{model="flights",role="production",tenant="_all"}) >= 1000'
    until_sync(lambda: query(full), 120, "a full window", TOLERATED)
    calm = 'max(drift_psi{against="reference",tenant="_all"}) < 0.15'
    until_sync(lambda: query(calm), 120, "no drift", TOLERATED)
    yield
    ask(at("TRAFFIC", 8026, "/drift/none"), "POST")


def test_every_target_is_up_and_the_topics_are_as_they_should_be() -> None:
    """Prometheus reaches the parts with the token, nginx the proxy; `topics --check` finds nothing."""
    up = {result["metric"]["job"]: result["value"][1] for result in query('up{job=~"proxy|exporter|nginx|rollback"}')}
    assert up == {"proxy": "1", "exporter": "1", "nginx": "1", "rollback": "1"}
    assert [result["value"][1] for result in query("nginx_proxy_answers")] == ["1"]
    said = compose("run", "--rm", "--no-deps", "-T", "topics", "topics", "--check")
    assert "every topic is as it should be" in said


def test_nginx_goes_past_the_proxy_to_the_version_that_the_configuration_serves() -> None:
    """Until something moves it."""
    until_sync(lambda: behind_the_proxy() == ["v2"], 60, "nginx tells v2", TOLERATED)


def test_drift_reaches_gauge_alert_and_slack_with_the_features_name_and_moves_traffic_to_the_stable_version() -> None:
    """July's flights: the temperature is another, the message says so, and v1 answers, in nginx's backup too."""
    before, counted, began = ask(at("SLACK", 8065, "/messages")), counts(), time.monotonic()
    rollback("arm", "--reason", "the drift begins")
    assert (standing()["armed"], standing()["latch"], rollback("status")["dry_run"]) == (True, None, False)
    patience = 120 + standing()["cool_down_seconds"]  # none, unless traffic was moved just before
    ask(at("TRAFFIC", 8026, "/drift/season"), "POST")
    gauge = 'drift_psi{feature="temp",against="reference",tenant="_all"} > 0.3'
    until_sync(lambda: query(gauge), 90, "the gauge", TOLERATED)
    alert = 'ALERTS{alertname=~"FeatureDrift|SevereFeatureDrift",alertstate="firing",model="flights"}'
    until_sync(lambda: query(alert), 90, "the alert", TOLERATED)

    def messages() -> str:
        return json.dumps([message for message in ask(at("SLACK", 8065, "/messages")) if message not in before])

    until_sync(lambda: "temp" in messages() and "FeatureDrift" in messages(), 90, "the message", TOLERATED)
    until_sync(lambda: standing()["active"]["weights"] == {"v1": 1.0}, patience, "the rollback's switch")
    until_sync(lambda: behind_the_proxy() == ["v1"], 60, "nginx tells v1", TOLERATED)
    assert standing()["latch"]["reason"] == "rollback: SevereFeatureDrift"
    until_sync(lambda: query('inference_active_info{version="v1"}'), 60, "the proxy shows v1", TOLERATED)
    former, moved = served("v2"), served("v1")
    until_sync(lambda: served("v1") > moved + 100, 60, "v1 answers clients", TOLERATED)
    assert served("v2") - former <= 50  # of the scrape in which it was switched
    statuses = {line["status"] for line in front_lines(f"{time.monotonic() - began:.0f}s")}
    assert statuses <= {200, 503}  # which the proxy itself says where the machine has too much to do
    # nginx has reloaded, and one that is older than 1.27.4 may cut a request on each connection that is kept.
    spares = "since-1.27.4.conf" in compose("exec", "-T", "nginx", "ls", "/tmp/conf/enabled")
    assert counts()["failed"] - counted["failed"] <= (0 if spares else CONNECTIONS)


def test_past_a_killed_proxy_the_stable_version_answers_and_only_open_requests_fail() -> None:
    """SIGKILL: the backup answers at once, the proxy again when it is back."""
    before, v1 = counts(), address_of("model-v1")
    compose("kill", "--signal", "KILL", "proxy")
    enough = counts()["sent"] + 100
    until_sync(lambda: counts()["sent"] > enough, 60, "traffic past the proxy")
    past = [line["upstream_addr"] for line in front_lines("20s") if line["upstream_addr"].count(":") == 1]
    assert f"{v1}:8000" in past
    compose("up", "--detach", "--no-build", "--no-deps", "proxy")
    until_sync(lambda: healthy("proxy"), 180, "the proxy healthy again")
    assert lost_since(before) <= CONNECTIONS


def test_a_person_brings_production_back_and_alerts_may_act_again() -> None:
    """`restore` and `arm`, in the rollback's container; nothing comes of the drift that is over."""
    ask(at("TRAFFIC", 8026, "/drift/none"), "POST")
    calm = 'max(drift_psi{against="reference",tenant="_all"}) < 0.15'
    until_sync(lambda: query(calm), 120, "no drift", TOLERATED)
    over = 'absent(ALERTS{alertname="SevereFeatureDrift",alertstate="firing"})'
    until_sync(lambda: query(over), 120, "no alert", TOLERATED)
    rollback("restore", "--reason", "the drift is over")
    rollback("arm", "--reason", "the drift is over")
    assert (standing()["active"]["weights"], standing()["latch"], standing()["armed"]) == ({"v2": 1.0}, None, True)
    until_sync(lambda: behind_the_proxy() == ["v2"], 60, "nginx tells v2", TOLERATED)
    moved = served("v2")
    until_sync(lambda: served("v2") > moved + 100, 60, "v2 answers clients", TOLERATED)
    rollback("disarm", "--reason", "what follows makes alerts that would move traffic")


@pytest.mark.parametrize("service", ["exporter", "model-v1", "kafka", "prometheus", "alertmanager", "proxy"])
def test_a_part_restarts_under_load_and_no_request_fails(service: str) -> None:
    """In order (SIGTERM); the proxy's absence is nginx's backup's to bridge."""
    before = counts()
    assert before["answered"]["2xx"] > 0
    compose("restart", service)
    until_sync(lambda: healthy(service), 120, f"{service} healthy again")
    enough = counts()["sent"] + 100
    until_sync(lambda: counts()["sent"] > enough, 60, "more traffic")
    assert lost_since(before) == 0


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
    assert {line["status"] for line in front_lines("3m")} <= {200, 502, 504}
    assert counts()["failed"] == before["failed"]
