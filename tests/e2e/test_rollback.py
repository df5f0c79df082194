"""The loop closed: drift or latency → gauge → alert → decision → the stable model answers; and silence without either.

Our parts as `shadowdrift up` runs them, a real Prometheus, a real Alertmanager; timings cut to a second or two.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import alertmanager, prometheus
from tests.support.alertmanager import Alertmanager
from tests.support.kafka import free_ports
from tests.support.prometheus import Prometheus
from tests.support.real_run import MODEL, WINDOW, RealRun
from tests.support.required import require
from tests.support.waiting import until_sync

RULES = {
    "groups": [
        {
            "name": "rollback",
            "rules": [
                {
                    "alert": "SevereFeatureDrift",
                    "expr": 'max by (model) (drift_features_drifted{against="reference", level="severe"}) > 0',
                    "for": "1s",
                    "labels": {"severity": "critical", "action": "rollback"},
                },
                {
                    "alert": "LatencySpike",
                    "expr": "histogram_quantile(0.95, sum by (model, le) "
                    '(rate(inference_latency_seconds_bucket{role="production"}[4s]))) > 0.5',
                    "for": "1s",
                    "labels": {"severity": "critical", "action": "rollback"},
                },
            ],
        }
    ]
}  # fmt: skip


@dataclass
class Loop:
    """All of it, running."""

    run: RealRun
    prometheus: Prometheus
    rollback: str
    folder: Path

    def order(self, command: str) -> dict[str, Any]:
        """A person's command, done or refused."""
        request = urllib.request.Request(f"{self.rollback}/{command}", data=b"{}", method="POST")  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                found = json.load(error) if error.code == 409 else {}
        assert found
        return found

    def against_promotion(self) -> dict[str, dict[str, Any]]:
        """What stands against the shadow, by rule."""
        return {one["rule"]: one for one in self.order("promote")["reasons"]}

    def audit(self) -> list[dict[str, Any]]:
        """What was decided about alerts."""
        path = self.folder / "run" / "state" / "rollback" / "audit.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if line["what"] == "alert"]

    def taken(self) -> dict[str, Any] | None:
        """The decision that moved traffic last."""
        return next((line for line in reversed(self.audit()) if line["decision"] == "taken"), None)

    def only(self, version: str, seconds: float) -> bool:
        """Whether this version alone has answered for so long."""
        other = "v1" if version == "v2" else "v2"
        asked, last = self.run.asked(version), self.run.asked(other)["last"]
        return asked["last"] is not None and (last is None or asked["last"] - last > seconds)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    """It is started in the order of a deployment; traffic flows."""
    require("Prometheus", prometheus.missing())
    require("Alertmanager", alertmanager.missing())
    ports = free_ports(2)
    (tmp_path / "run").mkdir()
    settings = {
        "listen": f"127.0.0.1:{ports[0]}", "dry_run": False, "cool_down": 0,
        "prometheus": f"http://127.0.0.1:{ports[1]}", "evidence": {"over": 4, "requests": 2},
        "promotion": {"pairs": 50},
    }  # fmt: skip
    with ExitStack() as stack:
        run = stack.enter_context(RealRun(tmp_path / "run", model={"stable": "v1"}, rollback=settings))
        webhook = {"url": f"http://127.0.0.1:{ports[0]}/alertmanager", "send_resolved": True}
        route = {"group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1s"}
        alerting = {"route": {"receiver": "rollback", **route}, "receivers": [{"name": "rollback"}]}
        alerting["receivers"][0]["webhook_configs"] = [webhook]  # type: ignore[index]
        (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(alerting))
        alerts = stack.enter_context(Alertmanager(tmp_path / "alertmanager.yml"))
        (tmp_path / "rules.yml").write_text(yaml.safe_dump(RULES))
        scraping = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(tmp_path / "rules.yml")],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alerts.address]}]}]},
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in run.targets.items()
            ],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(scraping))
        server = stack.enter_context(Prometheus(tmp_path / "prometheus.yml", ports[1]))
        yield Loop(run, server, f"http://127.0.0.1:{ports[0]}", tmp_path)


def test_drift_and_latency_move_traffic_to_the_stable_model_and_nothing_else_does(loop: Loop) -> None:
    """Drift with its second witness, which is the prediction; a refused promotion; a person's restore; a slow model."""
    run, server = loop.run, loop.prometheus
    full = f'drift_window_instances{{tenant="_all", role="production"}} >= {WINDOW}'
    until_sync(lambda: server.query(full), 90, "a full window")
    assert loop.audit() == []
    assert loop.only("v2", 1.0)
    # The shadow's answers are all a little off: once there are pairs enough, that is what stands against it.
    until_sync(lambda: "too_few_pairs" not in loop.against_promotion(), 60, "pairs enough")
    disagreement = loop.against_promotion()["disagreement"]
    assert disagreement["value"] > 0.9 > disagreement["limit"]

    run.shift = 30.0
    until_sync(lambda: loop.only("v1", 1.0), 60, "the stable model alone answers")
    taken = loop.taken()
    assert taken is not None
    assert (taken["alert"], taken["reason"], taken["generation"]) == ("SevereFeatureDrift", "feature_drift", 1)
    assert "amount (PSI" in taken["text"]
    assert "prediction has PSI" in taken["text"]
    until_sync(
        lambda: server.query(f'inference_active_info{{version="v1", model="{MODEL}"}}'), 20, "what Prometheus shows"
    )

    run.shift = 0.0
    calm = 'sum(drift_features_drifted{against="reference", level="severe"}) == 0'
    until_sync(lambda: server.query(calm) and not server.alerts(), 60, "the drift is over")
    assert loop.only("v1", 1.0), "what has resolved promotes nothing"
    assert {line["decision"] for line in loop.audit()[1:]} <= {"replayed", "latched", "refused"}

    assert loop.order("restore")["decision"] == "taken"
    assert loop.order("arm")["decision"] == "taken"
    until_sync(lambda: loop.only("v2", 1.0), 20, "production answers again")
    run.slow("v2", 0.53)
    until_sync(lambda: loop.only("v1", 1.0), 60, "the stable model alone answers")
    taken = loop.taken()
    assert taken is not None
    assert (taken["alert"], taken["reason"]) == ("LatencySpike", "latency")
    assert run.failed == 0
