"""The three kinds of drift, each begun once all is steady, and followed to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from bench.accounting import busy_share
from bench.chain.observed import Seen, decided, evidence_of, first_above_zero, first_sent, message_about, seen
from bench.chain.results import STAGES, Decision, Kind, Message, Run
from bench.chain.scene import Scene, steady_seconds, wait
from evidence.document import Level
from lifecycle.refusal import Refusal
from tests.support.real_run import MODEL

WINDOW: Final = 1000
FEATURE: Final = "amount"
DEVIATION: Final = 10.0
_LISTEN_SECONDS: Final = 3.0
_LATE_SECONDS: Final = 120.0
"""Beyond what a stage takes at the most."""

_WATCHED_SECONDS: Final = 75.0
"""How long nothing may move after a refusal: the alert is sent again after a minute."""

_ROLLBACK: Final = 'action="rollback"'


@dataclass(frozen=True)
class Drift:
    """One kind of it, and what is to come of it."""

    kind: Kind
    deviations: float
    level: Level
    alert: str
    holds: float
    """The alert's `for`, in seconds."""
    on_feature_drift: str = "alone"
    looks_at: str = FEATURE

    @property
    def route(self) -> str:
        """Along which Alertmanager tells Slack."""
        return 'severity="critical"' if self.level == "severe" else 'severity="warning"'


DRIFTS: Final[dict[Kind, Drift]] = {
    "severe": Drift("severe", 1.5, "severe", "SevereFeatureDrift", 60),
    # The models look at what has not moved: nothing says that they suffer.
    "unwitnessed": Drift("unwitnessed", 1.5, "severe", "SevereFeatureDrift", 60, "corroborated", "country"),
    # PSI 0.32 on average, four of its own deviations above *large*, and never a minute at *severe* (0.35).
    "ordinary": Drift("ordinary", 0.55, "large", "FeatureDrift", 300),
}


def measure(drift: Drift, rate: float, folder: Path, window: int = WINDOW) -> Run:
    """One run."""
    others = busy_share(_LISTEN_SECONDS)
    with Scene(
        folder,
        rate=rate,
        window=window,
        on_feature_drift=drift.on_feature_drift,
        looks_at=drift.looks_at,
    ) as scene:
        followed = Followed(scene, drift)
        followed.to_the_end()
        return Run(
            kind=drift.kind,
            rate=rate,
            window=window,
            deviations=drift.deviations,
            requests=followed.requests,
            seconds=followed.seconds(),
            in_all=followed.in_all(),
            slack=followed.slack,
            decision=followed.decision,
            stable_asked=scene.run.asked("v1")["count"],
            traffic=scene.ended(),
            others=round(others, 3),
        )


class Followed:
    """Drift that is followed through every stage; times in seconds since 1970."""

    def __init__(self, scene: Scene, drift: Drift) -> None:
        self._scene = scene
        self._drift = drift
        self._begun, self._sent_before = scene.run.move(drift.deviations * DEVIATION)
        self._ends: dict[str, float] = {}
        """Of each stage."""
        self.requests = 0
        self.slack: Message | None = None
        self.decision: Decision | None = None

    def seconds(self) -> dict[str, float]:
        """Of each stage that there was."""
        ends = [("", self._begun), *((stage, self._ends[stage]) for stage in STAGES if stage in self._ends)]
        return {stage: round(at - former, 3) for (_, former), (stage, at) in pairwise(ends)}

    def in_all(self) -> float | None:
        """Until the stable version alone answers."""
        return round(self._ends["switch"] - self._begun, 2) if "switch" in self._ends else None

    def to_the_end(self) -> None:
        """Until there is nothing more to see."""
        self._evidence()
        self._message()
        if self._drift.level == "severe":
            self._decision()
        self._stages_of_others()
        if self.decision is not None and self.decision.decision == "taken":
            self._switch()
        elif self._drift.level == "severe":
            time.sleep(_WATCHED_SECONDS)
        else:
            self._nothing_asked()

    def _evidence(self) -> None:
        scene, drift = self._scene, self._drift

        def told() -> Seen | None:
            evidence = evidence_of(scene.run.exporter, MODEL)
            return None if evidence is None else seen(evidence, FEATURE, drift.level)

        found = wait(told, scene.window / scene.rate + _LATE_SECONDS, f"{drift.level} drift in the evidence")
        self.requests = scene.run.counts()["sent"] - self._sent_before
        self._ends |= {"window": min(found.newest, found.at), "pipeline": found.at}

    def _message(self) -> None:
        alert = self._drift.alert
        found = wait(
            lambda: message_about(self._scene.messages(), alert), self._drift.holds + _LATE_SECONDS, "a message"
        )
        self.slack = Message(round(time.time() - self._begun, 2), *found)

    def _decision(self) -> None:
        found = wait(lambda: decided(self._scene.audit(), self._drift.alert), _LATE_SECONDS, "a decision")
        after = round(found["at"] - self._begun, 2)
        self.decision = Decision(after, found["decision"], found["reason"], found["text"])
        self._ends["webhook"] = found["at"]

    def _stages_of_others(self) -> None:
        """What Prometheus and Alertmanager remember."""
        drift, since, log = self._drift, self._begun, self._scene.alerts.log
        column = f'tenant="_all", against="reference", feature="{FEATURE}", level="{drift.level}"'
        ends = {
            "scrape": self._first(f"drift_feature_drifted{{{column}}}"),
            "evaluation": self._first(f'ALERTS{{alertname="{drift.alert}", alertstate="pending"}}'),
            "for": self._first(f'ALERTS{{alertname="{drift.alert}", alertstate="firing"}}'),
            "group": first_sent(
                log.read_text(), drift.alert, _ROLLBACK if drift.level == "severe" else drift.route, since
            ),
        }
        for stage, at in ends.items():
            if at is None:
                raise Refusal(f"nobody remembers when the {stage} of {drift.alert} was over")
            self._ends[stage] = at
        # A scrape may have been sooner than the last look at the evidence.
        self._ends["pipeline"] = min(self._ends["pipeline"], self._ends["scrape"])
        self._ends["window"] = min(self._ends["window"], self._ends["pipeline"])

    def _first(self, selector: str) -> float | None:
        over = int(time.time() - self._begun) + 10
        return first_above_zero(self._scene.server.query(f"{selector}[{over}s]"), self._begun)

    def _switch(self) -> None:
        """Until nobody asks the former version any more."""
        run, pause = self._scene.run, max(2.0, 3 / self._scene.rate)
        count = -1
        while (asked := run.asked("v2"))["count"] != count:
            count = asked["count"]
            time.sleep(pause)
        self._ends["switch"] = max(asked["last"], self._ends["webhook"])

    def _nothing_asked(self) -> None:
        if decided(self._scene.audit(), "SevereFeatureDrift") is not None:
            raise Refusal("ordinary drift asked for a rollback")


def about(drift: Drift, rate: float) -> float:
    """How many seconds a run takes, roughly."""
    starts, watched = 60, _WATCHED_SECONDS if drift.kind == "unwitnessed" else 0
    return starts + steady_seconds(rate) + WINDOW / rate / 2 + 15 + drift.holds + watched
