"""A loop whose production slows, and what is measured of it meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.support.acts import traffic_is_the_stable_models
from tests.support.loop import Loop
from tests.support.real_run import MODEL
from tests.support.waiting import until

_P95 = f'model:inference_latency_seconds:p95_1m{{model="{MODEL}"}}'
_ANSWERS = 300
"""So many last ones make a p95."""


@dataclass
class Slowed:
    """What was seen of a model that slowed: when (`time.time()`), and the p95 before, during and after, in seconds."""

    moments: dict[str, float] = field(default_factory=dict)
    clients: dict[str, float] = field(default_factory=dict)
    """What clients waited, exactly."""
    prometheus: dict[str, float] = field(default_factory=dict)
    """Out of the histogram, between whose edges it is a guess."""

    def note(self, stage: str) -> None:
        """This is so now."""
        self.moments[stage] = time.time()

    def measure(self, loop: Loop, when: str) -> None:
        """Of the last answers."""
        self.clients[when] = loop.run.latency(0.95, _ANSWERS)
        self.prometheus[when] = loop.server.value(_P95)


async def a_slow_model_is_left(loop: Loop) -> Slowed:
    """Production slows to 530 ms: the alert, the message, the decision that Prometheus confirms, the stable model."""
    within, name, seen = loop.timings.within, "LatencySpike", Slowed()
    seen.measure(loop, "before")
    loop.run.slow("v2", 0.53)
    seen.note("slow")
    await until(lambda: loop.server.query(f"{_P95} > 0.5"), within, "p95 above 500 ms in Prometheus")
    seen.note("seen")
    await until(lambda: name in loop.firing(), within, "the alert fires")
    seen.note("firing")
    taken = await until(lambda: loop.decisions("taken"), within, "the decision")
    seen.note("decided")
    seen.measure(loop, "during")
    assert [(one["alert"], one["reason"]) for one in taken] == [(name, "latency")]
    [finding] = taken[0]["findings"]
    assert (finding["name"], finding["red"]) == ("latency", True)
    assert finding["p95_seconds"] > finding["limit_seconds"] == 0.5
    await traffic_is_the_stable_models(loop)
    seen.moments["switched"] = float(loop.run.asked("v2")["last"])
    await until(lambda: loop.messages("CRITICAL", name), within, "the message in Slack")
    await until(lambda: loop.server.query(f"{_P95} < 0.5"), within, "p95 is back in Prometheus")
    seen.note("back")
    answered = loop.asked("v1") + _ANSWERS
    await until(lambda: loop.asked("v1") >= answered, within, "answers of the stable model alone")
    slow_no_more = f"{_P95} < 0.26"  # an edge of the histogram is 0.25
    await until(lambda: loop.server.query(slow_no_more), within, "nothing slow is left in Prometheus")
    seen.measure(loop, "after")
    await until(lambda: loop.messages("Resolved", name), within, "the end's message in Slack")
    assert seen.clients["during"] >= 0.53
    assert loop.alone("v1")
    return seen
