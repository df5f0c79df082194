"""The demo, as its users start it, in a short run with drift and one without; `make demo-sweep` runs every kind."""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("kind", ["season", "none"])
def test_the_demo_finds_what_was_worked_out_beforehand(kind: str) -> None:
    """Exit code 0, one JSON line at the end, and in it what the drift was and that nothing was lost."""
    command = [sys.executable, "-m", "cli.main", "demo", "--json", "--seconds", "12", "--drift", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["drift"] == kind
    assert result["conserved"] is True
    assert result["lost"] == 0
    assert result["events"]["production"] == result["requests"] > 0
    assert bool(result["drifted"]) == (kind != "none")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--drift", "shift", "--feature", "carrier"], "drift shift needs one of the features"),
        (["--drift", "none", "--feature", "temp"], "drift none takes no feature"),
        (["--seconds", "1"], "--seconds must be at least 10"),
        (["--retrain", "--drift", "shift"], "--retrain is about flights, and July's: it takes --seconds, --seed and"),
        (["--retrain", "--scenario", "tickets"], "--retrain is about flights, and July's: it takes --seconds, --seed"),
        (["--retrain", "--seconds", "1"], "--seconds must be from 20 to 86400 with --retrain"),
    ],
)
def test_a_demo_that_cannot_be_given_is_refused_in_one_line(arguments: list[str], line: str) -> None:
    """Before anything is trained."""
    command = [sys.executable, "-m", "cli.main", "demo", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"shadowdrift: {line}")
    assert done.stderr.count("\n") == 1
