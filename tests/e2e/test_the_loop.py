"""The loop on real parts, its waiting shortened: drift or a slow model → the stable one answers, once; else silence."""

from __future__ import annotations

from pathlib import Path

from tests.support import acts
from tests.support.kafka import Kafka
from tests.support.loop import QUICK
from tests.support.looping import looping
from tests.support.slowed import a_slow_model_is_left

LONGEST_SECONDS = 600
"""A minute where nobody else uses the machine."""

LOST_BY_RELOADS = 8
"""nginx before 1.27.4 closes kept connections when it reloads; docs/rollback.md tells how rarely one is in use then."""


async def test_drift_moves_traffic_once_and_again_only_after_a_person_has_said_so(tmp_path: Path, kafka: Kafka) -> None:
    """Silence; the whole way; a square wave; arm and restore; forged webhooks with all the evidence standing."""
    # The shadow's answers are a little off: of no weight here for a rollback, and enough against a promotion.
    settings = {"cool_down": 3, "limits": {"disagreement": 1.0}, "promotion": {"pairs": 50}}
    async with looping(tmp_path, kafka, QUICK, rollback=settings) as loop:
        await acts.nothing_happens(loop, requests=400, watchdogs=1)
        await acts.promotion_is_refused(loop)
        await acts.drift_moves_traffic(loop)
        await acts.drift_is_over(loop)
        assert loop.alone("v1"), "what is over promotes nothing"
        await acts.severe_drift_is_told(loop)
        await acts.alertmanager_hears_that_it_is_latched(loop)
        await acts.drift_comes_and_goes(loop, times=3)
        await acts.a_person_arms_and_restores(loop)
        await acts.the_cool_down_passes(loop)
        await acts.drift_is_over(loop)
        await acts.forged_webhooks_move_nothing(loop)
        assert len(loop.decisions("taken")) == 2
        assert loop.run.failed <= LOST_BY_RELOADS


async def test_without_a_witness_drift_moves_nothing_and_a_slow_model_is_left(tmp_path: Path, kafka: Kafka) -> None:
    """Both models look at what has not drifted, and agree; then production slows from 200 to 530 ms."""
    async with looping(tmp_path, kafka, QUICK, looks_at="country", bias=0.0) as loop:
        loop.run.slow("v2", 0.2)
        loop.run.slow("v1", 0.21)
        await acts.drift_without_a_witness_moves_nothing(loop)
        await acts.drift_is_over(loop)
        await a_slow_model_is_left(loop)
        assert loop.run.failed <= LOST_BY_RELOADS
