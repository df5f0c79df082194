"""Who runs where while a worker is measured."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.placement import Placement


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are given out by Linux alone")
def test_one_core_is_set_apart_and_everything_is_as_before_afterwards() -> None:
    """Children that are started meanwhile keep off it, but for the one that is given it."""
    before = os.sched_getaffinity(0)
    placement = Placement()
    placement.leave_it()
    try:
        waits = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        elsewhere = os.sched_getaffinity(waits.pid)
        placement.give_it([waits.pid])
        own = os.sched_getaffinity(waits.pid)
        waits.communicate(b"\n")
    finally:
        placement.come_back()
    assert os.sched_getaffinity(0) == before
    assert len(own) == 1
    assert own | elsewhere == before
    assert not own & elsewhere or len(before) == 1
