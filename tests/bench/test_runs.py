"""The measurements themselves, as short as they go: every part of ours is real, and what they tell is plausible."""

import argparse
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.measurement import OURS
from bench.proxy import Run
from tests.conftest import real_kafka_or_skip
from tests.support.nginx import missing
from tests.support.real_parts import no_wrk
from tests.support.required import require


@pytest.fixture(autouse=True)
def _parts_are_here() -> None:
    require("nginx", missing())
    require("wrk", no_wrk())


def test_a_profile_names_our_own_functions() -> None:
    """And the cost of a request, taken before the profiler looks."""
    command = [sys.executable, "-m", "bench.profile", "samples", "--seconds", "1", "--rounds", "1"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert told.returncode == 0, told.stderr
    assert "µs CPU a request" in told.stdout
    assert "lost before the emitter 0" in told.stdout
    assert "proxy/traffic/client.py" in told.stdout


def test_a_run_measures_the_proxy_under_either_load_with_either_shadow(tmp_path: Path) -> None:
    """Ours delivers to a real broker meanwhile; nothing fails, changes or is lost, and the shadow gets its share."""
    real_kafka_or_skip()
    options = argparse.Namespace(rounds=1, seconds=1, cost_seconds=1, rate=500.0, subjects=[OURS])
    with ExitStack() as stack:
        run = Run(stack, tmp_path, options)
        found = run.measure()
    assert [(one.subject, one.shadow, one.load) for one in found] == [
        (OURS, shadow, load) for load in ("saturation", "pace") for shadow in ("healthy", "hung")
    ]
    for one in found:
        assert one.failures == 0
        assert one.changed in (None, 0)
        assert one.events_lost in (None, 0)
    ours = found[0]
    assert ours.cloned is not None
    assert 0.02 < ours.cloned / ours.sent < 0.1
    assert set(ours.cpu_seconds) == {"worker", "emitter", "supervisor"}
    assert ours.cpu_seconds["worker"] > 0
    assert [cost.load for cost in run.cost] == ["pace", "saturation"]
    for cost in run.cost:
        assert cost.requests < cost.events < 1.1 * cost.requests
        assert set(cost.cpu_seconds_per_million) == {"worker", "emitter", "supervisor", "exporter", "broker"}
