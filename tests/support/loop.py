"""The closed loop on real parts: nginx, our parts before a real Kafka, Prometheus, Alertmanager, a stand-in Slack.

Rules, routes and intervals are the shipped ones; in a hurry their waiting is shortened, and nothing else.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from tests.rollback.making import alert_document, delivery_document
from tests.support.alertmanager import TOKEN, Alertmanager
from tests.support.nginx import Nginx
from tests.support.prometheus import Prometheus
from tests.support.real_run import MODEL, WINDOW, RealRun
from tests.support.slack import Slack
from tests.support.waiting import until


@dataclass(frozen=True)
class Timings:
    """How long everybody waits."""

    window: int
    """Instances."""
    interval: str | None
    """Between two scrapes, and two evaluations; None as it is shipped."""
    wait: str | None
    """Of Alertmanager's routes before a group's first message; None as it is shipped, with the interval after it."""
    speed: float
    """By how many times less the alerts about drift and serving wait."""
    patience: float
    """By how many times less those about the parts do: a busy machine may miss a scrape."""
    rates: float
    """Over how many times less a rate is taken, in the rules and by the rollback."""
    within: float
    """Seconds that no stage takes, however busy the machine is."""


QUICK = Timings(window=WINDOW, interval="1s", wait="200ms", speed=100, patience=5, rates=6, within=150)
SHIPPED = Timings(window=1000, interval=None, wait=None, speed=1, patience=1, rates=1, within=600)

_A_BUSY_MACHINES = ("EventsLost", "MirrorDropping", "PairsIncomplete")
"""Alerts that are right on a machine so busy that the proxy has to shed."""


@dataclass
class Loop:
    """All of it, running, traffic through nginx."""

    folder: Path
    timings: Timings
    run: RealRun
    server: Prometheus
    alerts: Alertmanager
    front: Nginx
    slack: Slack
    session: aiohttp.ClientSession
    rollback: str
    """Its address."""
    receivers: str

    async def full(self) -> None:
        """Wait until drift may be judged: the window is full, and there was enough traffic."""
        full = f'drift_window_instances{{tenant="_all", role="production"}} >= {self.timings.window}'
        await until(lambda: self.server.query(full), self.timings.within, "a full window")
        await until(
            lambda: self.server.query("model:drift_window_instances:judged"), self.timings.within, "enough traffic"
        )

    def firing(self) -> set[str]:
        """The alerts that fire."""
        return {one["labels"]["alertname"] for one in self.server.alerts() if one["state"] == "firing"}

    async def messages(self, *words: str) -> list[dict[str, Any]]:
        """Slack's, with all these words in their titles."""
        return [
            message for message in await self.slack.messages() if all(word in message["texts"][0] for word in words)
        ]

    async def untoward(self) -> list[str]:
        """Titles of the messages that are not about the machine of this test."""
        titles = [message["texts"][0] for message in await self.slack.messages()]
        if not titles:
            return []
        shed = self.server.value('sum(events_lost_total) + sum(mirror_dropped_total{reason="overload"})') > 0
        return [title for title in titles if not (shed and any(name in title for name in _A_BUSY_MACHINES))]

    def decisions(self, *words: str) -> list[dict[str, Any]]:
        """The audit log's lines about alerts; with words, those of this decision and reason."""
        path = self.folder / "run" / "state" / "rollback" / "audit.jsonl"
        text = path.read_text() if path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [
            line
            for line in lines
            if line["what"] == "alert" and (line["decision"], line["reason"])[: len(words)] == words
        ]

    async def order(self, command: str) -> dict[str, Any]:
        """A person's command, which has to be done."""
        status, answer = await self.post(command, b"{}")
        assert status == 200, answer
        return answer

    async def post(self, path: str, body: bytes, token: str | None = TOKEN) -> tuple[int, dict[str, Any]]:
        """Status and answer of the rollback."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.session.post(f"{self.rollback}/{path}", data=body, headers=headers) as answer:
            found: dict[str, Any] = await answer.json()
            return answer.status, found

    async def told(self, **changes: Any) -> tuple[str, str]:
        """The rollback's answer to an alert about severe drift that has just begun; its decision and reason."""
        status, answer = await self.post("alertmanager", json.dumps(delivery(**changes)).encode())
        assert status == 200, answer
        return answer["decision"], answer["reason"]

    async def status(self) -> dict[str, Any]:
        """The rollback's, of the model."""
        async with self.session.get(f"{self.rollback}/status", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            found: dict[str, Any] = (await answer.json())["models"][MODEL]
        return found

    async def stand_ins(self) -> dict[str, Any]:
        """What came to the dead man's switch and to the retraining."""
        async with self.session.get(f"{self.receivers}/") as answer:
            found: dict[str, Any] = await answer.json()
        return found

    def asked(self, version: str) -> int:
        """How many requests this version was asked; clones are none."""
        return int(self.run.asked(version)["count"])

    def alone(self, version: str) -> bool:
        """Whether this version alone has answered for a second."""
        mine, other = (self.run.asked(one)["last"] for one in (version, "v1" if version == "v2" else "v2"))
        return mine is not None and (other is None or mine - other > 1.0)

    def named_by_nginx(self) -> list[str]:
        """The versions by which nginx says that it serves."""
        with urllib.request.urlopen(f"{self.front.url}/nginx/active/{MODEL}", timeout=10) as answer:  # noqa: S310
            found: list[str] = json.load(answer)["versions"]
        return found

    async def seen(self) -> str:
        """Where everything stands, for whoever reads a failure."""
        decided = [(line["alert"], line["decision"], line["reason"]) for line in self.decisions()]
        alerts = [(one["labels"]["alertname"], one["state"]) for one in self.server.alerts()]
        titles = [message["texts"][0] for message in await self.slack.messages()]
        asked = {version: self.run.asked(version) for version in ("v2", "v1")}
        drifted = [
            (one["metric"]["level"], one["value"][1])
            for one in self.server.query('drift_features_drifted{tenant="_all", against="reference"}')
        ]
        return f"asked {asked}; drifted {drifted}; alerts {alerts}; decisions {decided}; Slack {titles}"


def delivery(**changes: Any) -> dict[str, Any]:
    """A call of Alertmanager's about severe drift, in a group of its own; `changes` are the alert's."""
    made = {
        "startsAt": datetime.now(UTC).isoformat(),
        "fingerprint": uuid4().hex[:16],
        **changes,
        "labels": {"model": MODEL, **changes.get("labels", {})},
    }
    return delivery_document(alert_document("SevereFeatureDrift", **made))
