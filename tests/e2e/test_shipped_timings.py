"""The loop with the rules, routes and intervals that are shipped: minutes, so `make test-long` alone runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.chain.results import Must, Run, musts
from bench.chain.runs import DRIFTS, measure
from tests.support import alertmanager, kafka, prometheus
from tests.support.required import require

pytestmark = pytest.mark.skipif("SHADOWDRIFT_LONG" not in os.environ, reason="it takes minutes: make test-long")

RATE = 100.0


@pytest.fixture(autouse=True)
def real() -> None:
    """The real parts."""
    require("Kafka", kafka.missing())
    require("Prometheus", prometheus.missing())
    require("Alertmanager", alertmanager.missing())


def test_severe_drift_moves_traffic_within_a_minute_and_a_half(tmp_path: Path) -> None:
    """A shift of 1.5 standard deviations of one feature; Slack is told as soon, and no request fails."""
    found = measure(DRIFTS["severe"], RATE, tmp_path)
    assert failing(found) == []
    assert found.decision is not None
    assert (found.decision.decision, found.decision.reason) == ("taken", "feature_drift")
    assert found.slack is not None
    assert found.slack.moved_most.startswith("amount: ")


def test_the_same_drift_without_a_witness_moves_nothing_and_says_why(tmp_path: Path) -> None:
    """Corroborated, as is the default; the models look at another feature. Slack is told all the same."""
    found = measure(DRIFTS["unwitnessed"], RATE, tmp_path)
    assert failing(found) == []
    assert found.decision is not None
    for witness in ("prediction", "disagreement", "p95", "errors"):
        assert witness in found.decision.text


def failing(found: Run) -> list[Must]:
    """What should hold and does not."""
    return [must for must in musts(found) if not must.holds]
