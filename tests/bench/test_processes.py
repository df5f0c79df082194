"""Servers of a measurement: a start that fails is one line, and nothing outlives the run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import parts
from bench.processes import CHECKOUT, Server, children
from lifecycle.refusal import Refusal
from tests.support.processes import gone
from tests.support.real_parts import LeftOutError
from tests.support.waiting import until_sync

FAMILY = ["sh", "-c", "sleep 600 & sleep 600 & wait"]


def test_a_server_that_ends_at_its_start_is_refused_with_its_last_words(tmp_path: Path) -> None:
    """Not waited for until the deadline."""
    server = Server("the model", ["sh", "-c", "echo first; echo the port is taken >&2; exit 3"], tmp_path)
    with pytest.raises(Refusal, match=r"^the model ended: the port is taken$"):
        server.until(lambda: False, within=30)


def test_a_server_that_does_not_get_ready_is_refused_and_ended(tmp_path: Path) -> None:
    """Its children too, which nobody told to end."""
    server = Server("the model", FAMILY, tmp_path)
    until_sync(lambda: len(children(server.pid)) == 2, 10)
    family = children(server.pid)
    with pytest.raises(Refusal, match="the model was not ready in time"):
        server.until(lambda: False, within=0.05)
    until_sync(lambda: all(gone(pid) for pid in family), 10, "its children are gone")


def test_a_server_and_its_children_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    """A killed run cannot stop anything itself."""
    code = (
        "import sys, time; from pathlib import Path; from bench.processes import Server; "
        f"print(Server('the model', {FAMILY!r}, Path(sys.argv[1])).pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        until_sync(lambda: len(children(server)) == 2, 10)
        family = [server, *children(server)]
        os.kill(run.pid, signal.SIGKILL)
    until_sync(lambda: all(gone(pid) for pid in family), 10, "server and children are gone")


def test_a_missing_part_is_one_line_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the others are looked at all the same, so that one run tells all that is missing."""

    def have_load() -> None:
        raise LeftOutError("wrk is missing; only root can install it: apt-get install wrk")

    looked: list[str] = []
    monkeypatch.setattr(parts, "PARTS", {"wrk": (have_load,), "Envoy": (lambda: looked.append("Envoy"),)})
    assert parts.main() == 1
    assert looked == ["Envoy"]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("real parts: wrk is missing")
    assert line.endswith("apt-get install wrk")
