"""The small form of `make bench-silence`: no alert without drift, and one switch while drift comes and goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.silence.calm import Scenario, run, scrape, steady
from bench.silence.decisions import decided
from bench.silence.deliveries import Call, timed
from bench.silence.engine import Question, answers, reached
from bench.silence.flights import Drawn, World
from bench.silence.played import Played
from bench.silence.series import INTERVAL, Kept
from bench.silence.wave import Hour, Wave, firings, played
from tests.support import alertmanager, prometheus
from tests.support.required import require

SEED = 1


@pytest.fixture(scope="module")
def world() -> World:
    """Two models, a profile, and what they answer."""
    require("Prometheus", prometheus.missing())
    return World(SEED, flights=10_000)


def test_half_an_hour_without_drift_brings_no_alert_nor_one_that_waits(world: World) -> None:
    """With the shipped rules and intervals: what began to wait there would fire in a day."""
    found = run(Scenario("by chance", Drawn, steady(10), (SEED,), by_chance=True), SEED, 1800, world)
    assert found["evaluations"] == 1800 // INTERVAL + 1
    assert found["requests"] > 17_000
    assert (found["fired"], found["pending_only"]) == ([], [])


@pytest.fixture(scope="module")
def hour(world: World) -> Hour:
    """The first minutes of a wave, three of drift and five without,; one feature is raised by 1.5 deviations."""
    return played(world, Wave(180, 300, 20), seconds=410)


def test_the_same_machinery_sees_drift(hour: Hour, tmp_path: Path) -> None:
    """Or silence would prove nothing."""
    (found,) = firings(hour, tmp_path)
    assert (found.labels["alertname"], found.labels["action"]) == ("SevereFeatureDrift", "rollback")
    # A part of a window, a scrape, and the alert's minute; kept for six minutes after the drift has ended.
    assert 60 < found.since - hour.wave.before <= 110
    assert found.until is None


async def test_drift_that_comes_again_moves_traffic_once(hour: Hour, tmp_path: Path) -> None:
    """The second alert finds the latch; the first, sent again, is known; its end moves nothing."""
    labels = {"alertname": "SevereFeatureDrift", "model": "flights", "action": "rollback", "severity": "critical"}
    first, second = hour.wave.before + 75.0, hour.wave.before + 120.0
    calls = [
        _call(first, "firing", first, labels),
        _call(first + 60, "firing", first, labels),
        _call(first + 65, "resolved", first, labels),
        _call(second, "firing", second, labels),
    ]
    found, notices = await decided(hour, calls, tmp_path, "alone")
    assert [(each.word, each.reason) for each in found] == [
        ("taken", "feature_drift"), ("replayed", "replayed"), ("refused", "resolved"), ("latched", "latched")
    ]  # fmt: skip
    assert notices == {"taken: feature_drift": 1, "latched: latched": 1}


async def test_without_a_witness_the_same_drift_moves_nothing(hour: Hour, tmp_path: Path) -> None:
    """As shipped: drift alone is a fact about traffic."""
    labels = {"alertname": "SevereFeatureDrift", "model": "flights", "action": "rollback", "severity": "critical"}
    at = hour.wave.before + 75.0
    found, _ = await decided(hour, [_call(at, "firing", at, labels)], tmp_path, "corroborated")
    assert [(each.word, each.reason) for each in found] == [("refused", "no_witness")]


def _call(at: float, status: str, starts: float, labels: dict[str, str]) -> Call:
    ends = None if status == "firing" else at
    alert = {"status": status, "labels": labels, "fingerprint": "a" * 16, "startsAt": starts, "endsAt": ends}
    body = {"version": "4", "status": status, "receiver": "rollback", "groupKey": "{}", "alerts": [alert]}
    return Call("rollback", at, body)


def test_what_is_kept_of_the_proxy_is_what_it_shows(world: World) -> None:
    """Changes alone are kept between the first scrape and the last, and leave nothing out."""
    parts, kept = Played(world), Kept()
    scrape(kept, parts)
    for number in range(1, 4):
        at = float((number - 1) * INTERVAL)
        parts.pass_on([(at + each / 20, world.normal, (each,)) for each in range(100)], at + INTERVAL)
        scrape(kept, parts)
    whole = Kept()
    whole.scrape("proxy", b"up 1\n" + parts.proxy.metrics())
    whole.next()

    def latest(of: Kept) -> dict[str, float]:
        told = (each for each in of.told() if 'job="proxy"' in each["series"])
        return {each["series"]: float(each["values"].split()[-1].partition("x")[0]) for each in told}

    assert latest(kept) == latest(whole)
    assert sum(value for name, value in latest(kept).items() if name.startswith("inference_requests_total")) > 300


def test_the_rules_are_asked_by_prometheus_itself(tmp_path: Path) -> None:
    """Series that come, change, end and come again are what its engine reads; the watchdog tells that it has."""
    require("Prometheus", prometheus.missing())
    kept = Kept()
    texts = [b"", b"up 1\n", b"up 1\n", b"up 0\n", b"", b"", b'up 1\nevents_waiting{model="x"} 5\n']
    for text in texts:
        kept.scrape("exporter", text)
        kept.next()
    asked = [Question('sum(up{job="exporter"})', number * INTERVAL) for number in range(len(texts))]
    found = [[value for _, value in samples] for samples in answers(kept, asked, tmp_path)]
    assert found == [[], [1], [1], [0], [], [], [1]]
    assert {(each.alert, each.firing) for each in reached(kept, tmp_path)} >= {("ExporterDown", 0)}


def test_alertmanagers_waits_are_the_shipped_ones_so_many_times_shorter(tmp_path: Path) -> None:
    """And nothing else of its routes is otherwise."""
    require("Alertmanager", alertmanager.missing())

    addresses = {name: f"http://127.0.0.1:1/{name}" for name in ("slack", "rollback", "retraining")}
    made = yaml.safe_load(timed(tmp_path, addresses, 10).read_text())["route"]
    shipped = yaml.safe_load(alertmanager.CONFIGURATION.read_text())["route"]
    assert (shipped["group_interval"], made["group_interval"]) == ("2m", "12000ms")
    assert [route["matchers"] for route in made["routes"]] == [route["matchers"] for route in shipped["routes"]]
    assert (shipped["routes"][1]["repeat_interval"], made["routes"][1]["repeat_interval"]) == ("1m", "6000ms")
