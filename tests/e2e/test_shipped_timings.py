"""The loop with the rules, routes and intervals that are shipped: minutes, so `make test-long` alone runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.chain import measure
from tests.support import alertmanager, prometheus
from tests.support.required import require

pytestmark = pytest.mark.skipif("SHADOWDRIFT_LONG" not in os.environ, reason="it takes minutes: make test-long")

LONGEST_SECONDS = 90.0
"""From the first drifted request to the stable model's answers, at 100 requests a second."""


def test_severe_drift_moves_traffic_within_a_minute_and_a_half(tmp_path: Path) -> None:
    """A shift of 1.5 standard deviations of one feature; no request fails."""
    require("Prometheus", prometheus.missing())
    require("Alertmanager", alertmanager.missing())
    found = measure(100.0, tmp_path)
    assert found["failed"] == 0
    assert found["in_all"] <= LONGEST_SECONDS, found
