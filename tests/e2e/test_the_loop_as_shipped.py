"""Silence and drift with the shipped rules, routes and intervals: minutes, so `make test-long` alone runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import acts
from tests.support.kafka import Kafka
from tests.support.loop import SHIPPED
from tests.support.looping import looping

pytestmark = pytest.mark.skipif("SHADOWDRIFT_LONG" not in os.environ, reason="it takes minutes: make test-long")

LONGEST_SECONDS = 1800

QUIET_SECONDS = 330
"""Longer than ordinary drift takes until it is told: a window and five minutes."""

LOST_BY_RELOADS = 8
"""nginx before 1.27.4 closes kept connections when it reloads; docs/rollback.md tells how rarely one is in use then."""

RATE = 100.0


async def test_silence_then_severe_drift_moves_traffic_and_a_square_wave_of_it_once(
    tmp_path: Path, kafka: Kafka
) -> None:
    """1.5 standard deviations of one feature, with the prediction as its witness, through nginx."""
    async with looping(tmp_path, kafka, SHIPPED, rate=RATE, bias=0.0) as loop:
        await acts.nothing_happens(loop, requests=int(RATE * QUIET_SECONDS), watchdogs=4)
        await acts.drift_moves_traffic(loop, deviations=1.5)
        await acts.drift_comes_and_goes(loop, times=4)
        await acts.a_person_arms_and_restores(loop)
        assert loop.run.failed <= LOST_BY_RELOADS
