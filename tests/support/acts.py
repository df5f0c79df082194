"""What happens to a loop, act by act, and what must come of each."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.loop import Loop, delivery
from tests.support.real_run import MODEL
from tests.support.waiting import until

SEVERE = 'drift_features_drifted{tenant="_all", against="reference", level="severe"}'
DRIFT = "SevereFeatureDrift"
ABOUT_DRIFT = f"{DRIFT} · {MODEL}"
"""In the titles of Alertmanager's messages; the rollback's own name the alert, too."""
_LOOKS = 20
"""So often silence is listened to, over its length."""


async def nothing_happens(loop: Loop, requests: int, watchdogs: int) -> None:
    """For so many requests nobody is told anything, but the dead man's switch, again and again, that all is well."""
    begun, heard, silent = loop.asked("v2"), 0, 0.0

    async def quiet() -> bool:
        nonlocal heard, silent
        assert await loop.untoward() == []
        assert loop.decisions() == []
        told = await loop.stand_ins()
        assert told["trainings"] == []
        now = float(told["silent_seconds"])
        heard, silent = heard + (now < silent), now
        return heard >= watchdogs

    for part in range(1, _LOOKS + 1):
        await _asked(loop, begun + requests * part // _LOOKS)
        await quiet()
    await until(quiet, loop.timings.within, f"{watchdogs} signs of life")
    assert "Watchdog" in loop.firing()
    assert DRIFT not in loop.firing()
    assert loop.asked("v1") == 0


async def _asked(loop: Loop, count: int) -> None:
    await until(lambda: loop.asked("v2") >= count, loop.timings.within, f"{count} requests to production")


async def severe_drift_is_told(loop: Loop, deviations: float = 3.0) -> None:
    """Drift begins: the gauge, the alert, a message that names the feature."""
    within, before = loop.timings.within, len(await loop.messages(ABOUT_DRIFT))
    loop.run.shift = 10.0 * deviations
    await until(lambda: loop.server.query(f"{SEVERE} > 0"), within, "the gauge of severe drift")
    await until(lambda: DRIFT in loop.firing(), within, "the alert fires")

    async def told() -> dict[str, Any] | None:
        found = [
            one for one in (await loop.messages(ABOUT_DRIFT))[before:] if not one["texts"][0].startswith("Resolved")
        ]
        return found[0] if found else None

    message = await until(told, within, "the message in Slack")
    assert message is not None
    title, text = message["texts"][:2]
    assert title == f"CRITICAL: {DRIFT} · {MODEL}"
    assert "of its features have drifted severely from the reference" in text
    moved = [line.strip() for line in text.splitlines() if ": PSI " in line]
    features = [line for line in moved if not line.startswith("prediction: ")]
    assert features[0].startswith("amount: PSI "), text  # what moved most is named first
    assert features[1].startswith("country: PSI 0."), text
    assert f"window of {loop.timings.window} instances, large from 0.2, severe from 0.35" in text
    assert message["mentions"] == []


async def traffic_is_the_stable_models(loop: Loop) -> None:
    """Requests through nginx are answered by it alone, nginx names it, and Prometheus shows it."""
    await until(lambda: loop.alone("v1"), loop.timings.within, "the stable model alone answers")
    await until(lambda: loop.named_by_nginx() == ["v1"], loop.timings.within, "nginx follows")
    shown = f'inference_active_info{{version="v1", model="{MODEL}"}}'
    await until(lambda: loop.server.query(shown), loop.timings.within, "who serves, in Prometheus")


async def drift_moves_traffic(loop: Loop, deviations: float = 3.0) -> None:
    """The whole way once, with a second witness, the prediction."""
    assert loop.alone("v2")
    await severe_drift_is_told(loop, deviations)
    taken = await until(lambda: loop.decisions("taken"), loop.timings.within, "the decision")
    assert [(one["alert"], one["reason"], one["generation"]) for one in taken] == [(DRIFT, "feature_drift", 1)]
    assert "amount (PSI" in taken[0]["text"]
    assert "prediction has PSI" in taken[0]["text"]
    await traffic_is_the_stable_models(loop)
    notices = await until(lambda: loop.messages("Rollback", "taken"), loop.timings.within, "the rollback's own message")
    assert "amount (PSI" in "".join(notices[0]["texts"]) + json.dumps(notices[0]["payload"])


async def drift_ends(loop: Loop) -> None:
    """The requests are as before, and no gauge is at severe."""
    loop.run.shift = 0.0
    await until(lambda: loop.server.query(f"sum({SEVERE}) == 0"), loop.timings.within, "no severe drift")


async def drift_is_over(loop: Loop) -> None:
    """The alert, too; which is told, and promotes nothing."""
    await drift_ends(loop)
    await until(lambda: DRIFT not in loop.firing(), loop.timings.within, "the alert is over")

    async def told() -> dict[str, Any] | None:
        last = (await loop.messages(ABOUT_DRIFT))[-1]
        return last if last["texts"][0].startswith("Resolved") else None

    message = await until(told, loop.timings.within, "the end's message in Slack")
    assert message is not None
    assert "have drifted severely from the reference" in message["texts"][1]


async def drift_comes_and_goes(loop: Loop, times: int) -> None:
    """A square wave, from drift to drift: nothing moves any more, whoever asks."""
    for _ in range(times):
        await drift_ends(loop)
        loop.run.shift = 30.0
        await until(lambda: loop.server.query(f"{SEVERE} > 0"), loop.timings.within, "severe drift again")
        assert await loop.told() == ("latched", "latched")
    assert len(loop.decisions("taken")) == 1
    assert loop.alone("v1")


async def a_person_arms_and_restores(loop: Loop) -> None:
    """While the stable model serves there is nowhere to go; then the cool-down; then the evidence decides again."""
    assert (await loop.status())["latch"] is not None
    await loop.order("arm")
    assert (await loop.status())["latch"] is None
    held_back = (await loop.status())["cool_down_seconds"] > 1
    assert await loop.told() == ("refused", "cool_down" if held_back else "already_stable")
    assert loop.alone("v1")
    await drift_ends(loop)
    await loop.order("restore")
    assert await loop.told() == ("refused", "cool_down")
    await until(lambda: loop.alone("v2"), loop.timings.within, "production answers again")
    assert loop.named_by_nginx() == ["v2"]


async def the_cool_down_passes(loop: Loop) -> None:
    """An alert without evidence moves nothing afterwards, either."""

    async def over() -> bool:
        return await loop.told() != ("refused", "cool_down")

    await until(over, loop.timings.within, "the cool-down is over")
    assert await loop.told() == ("refused", "not_confirmed")


async def forged_webhooks_move_nothing(loop: Loop) -> None:
    """Nor do stale ones, with severe drift and its witness standing; equal ones move traffic once, however many."""
    before, asked = (await loop.status())["active"]["generation"], loop.asked("v1")
    await loop.order("disarm")
    await severe_drift_is_told(loop)
    heard, *_ = await until(
        lambda: loop.decisions("refused", "disarmed"), loop.timings.within, "Alertmanager's webhook"
    )
    genuine = {"startsAt": heard["starts_at"], "fingerprint": heard["fingerprint"]}
    body = json.dumps(delivery(**genuine)).encode()
    await loop.order("arm")  # Alertmanager asks again after a minute
    for token in (None, "guessed"):
        status, _ = await loop.post("alertmanager", body, token)
        assert status == 401
    for cut in (body[: len(body) // 2], b"", b"[]"):
        status, _ = await loop.post("alertmanager", cut)
        assert status == 400
    began = datetime.now(UTC)
    for changes, answer in (
        ({"startsAt": (began - timedelta(hours=1)).isoformat()}, ("stale", "too_old")),
        ({"startsAt": (began + timedelta(hours=1)).isoformat()}, ("stale", "future")),
        ({"endsAt": (began - timedelta(hours=1)).isoformat()}, ("stale", "ended")),
        ({"status": "resolved"}, ("refused", "resolved")),
        ({"labels": {"action": None}}, ("refused", "not_asked")),
        ({"labels": {"model": 'x"} or vector(1)'}}, ("refused", "unknown_model")),
        ({"labels": {"feature": 'x"} or vector(1)'}}, ("inconclusive", "value_missing")),
        ({"labels": {"version": "v1"}}, ("refused", "not_serving")),
    ):
        assert await loop.told(**{**genuine, **changes}) == answer
    assert (await loop.status())["active"]["generation"] == before
    assert loop.asked("v1") == asked
    assert loop.alone("v2")

    answers = await asyncio.gather(*(loop.post("alertmanager", body) for _ in range(20)))
    assert Counter(answer["decision"] for _, answer in answers) == {"taken": 1, "replayed": 19}
    await traffic_is_the_stable_models(loop)
    assert await loop.told(**genuine) == ("replayed", "replayed")
    assert (await loop.status())["active"]["generation"] == before + 1


async def drift_without_a_witness_moves_nothing(loop: Loop) -> None:
    """The prediction does not depend on what has drifted: people are told, and the rollback says whom it asked."""
    await severe_drift_is_told(loop)
    refused, *_ = await until(lambda: loop.decisions("refused"), loop.timings.within, "the decision")
    assert (refused["alert"], refused["reason"]) == (DRIFT, "no_witness")
    assert "amount (PSI" in refused["text"]
    red = {finding["name"]: finding["red"] for finding in refused["findings"]}
    assert red.pop("feature_drift") is True
    assert set(red) == {"prediction_drift", "disagreement", "accuracy", "latency", "errors"}
    assert red["prediction_drift"] is red["disagreement"] is red["latency"] is red["errors"] is False
    assert await loop.told() == ("refused", "no_witness")
    await until(lambda: loop.messages("Rollback", "refused", "no witness"), loop.timings.within, "the rollback's word")
    assert loop.alone("v2")
    assert loop.asked("v1") == 0
    assert (await loop.status())["by_configuration"]


async def promotion_is_refused(loop: Loop) -> None:
    """Once there are pairs enough, their disagreement stands against the shadow."""

    async def against() -> dict[str, dict[str, Any]] | None:
        status, answer = await loop.post("promote", b"{}")
        assert status == 409, answer
        found = {one["rule"]: one for one in answer["reasons"]}
        return None if "too_few_pairs" in found else found

    reasons = await until(against, loop.timings.within, "pairs enough")
    assert reasons is not None
    assert reasons["disagreement"]["value"] > 0.9 > reasons["disagreement"]["limit"]
    assert loop.alone("v2")


async def alertmanager_hears_that_it_is_latched(loop: Loop) -> None:
    """Of an alert that has begun anew."""
    latched, *_ = await until(lambda: loop.decisions("latched"), loop.timings.within, "Alertmanager's webhook")
    assert latched["starts_at"] > loop.decisions("taken")[0]["starts_at"]
    assert loop.alone("v1")
