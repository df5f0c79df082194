"""The outermost frame: exit codes, last words, and signals."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def command(kind: str) -> list[str]:
    """A process that nobody holds on a tether."""
    return [sys.executable, "-m", "tests.support.tethered", kind]


def test_a_refusal_is_one_line_and_exit_code_2() -> None:
    """No traceback: the user mends it and starts again."""
    done = subprocess.run(command("refuse"), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "shadowdrift: the moon must be full, got half\n")


def test_what_has_been_told_is_not_told_again() -> None:
    """The exit code alone."""
    done = subprocess.run(command("already_told"), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_a_fault_of_ours_is_a_traceback() -> None:
    """It must not look like the user's mistake."""
    done = subprocess.run(command("crash"), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError: a fault" in done.stderr


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_in_order(signal_name: str) -> None:
    """With exit code 0, and so its child, by its own hand."""
    import signal

    with subprocess.Popen(
        command("parent"), cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0
        process.send_signal(getattr(signal, signal_name))
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
