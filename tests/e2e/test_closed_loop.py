"""The closed loop as its users start it: minutes, so `make test-long` alone runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif("SHADOWDRIFT_LONG" not in os.environ, reason="it takes minutes: make test-long")


def test_a_retrained_version_earns_its_promotion_and_a_worse_one_does_not() -> None:
    """Exit code 0, and the figures: accuracy falls and comes back, refusals with their numbers, nothing failed."""
    command = [sys.executable, "-m", "cli.main", "demo", "--retrain", "--json", "--seconds", "40"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    accuracy = result["accuracy"]
    assert accuracy["during"] < accuracy["before"]
    assert accuracy["during"] < accuracy["after"]
    first, *_, last = result["promotions"]
    rules = {reason["rule"]: reason for reason in first["reasons"]}
    assert rules["too_few_labels"]["value"] < rules["too_few_labels"]["limit"]
    assert rules["features"]["value"] > rules["features"]["limit"]
    assert last == {"version": "v3", "granted": True, "reasons": []}
    worse = {reason["rule"]: reason for reason in result["worse"]["reasons"]}
    assert worse["accuracy"]["value"] < worse["accuracy"]["limit"]
    assert result["failed"] == result["lost"] == 0
    assert result["conserved"] is True
    assert "Traceback" not in done.stderr
