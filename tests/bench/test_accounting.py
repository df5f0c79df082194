"""CPU and memory by the kernel's own accounting."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from bench.accounting import TICK, Cpu, cpu_of, parse_cores, parse_stat, resident_bytes
from bench.processes import children, running_module
from tests.support.waiting import until_sync

NAMES = {"plain": "python", "a bracket": "a) b", "a line's end and numbers": "x\n) 1 2 3 R", "nothing": ""}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_process_may_have_any_name(name: str) -> None:
    """utime and stime are the 14th and 15th field, counted from the last bracket."""
    before = "S 1 42 42 0 -1 4194304 100 0 0 0"
    used = parse_stat(f"42 ({name}) {before} 250 50 7 8 20 0 1 0 99 1 1")
    assert used == Cpu(250 * TICK, 50 * TICK)
    assert used.total == pytest.approx(300 * TICK)


def test_what_two_processes_use_is_added_and_earlier_use_taken_away() -> None:
    """As a turn does."""
    assert Cpu(3.0, 1.0) + Cpu(1.0, 1.0) - Cpu(0.5, 0.5) == Cpu(3.5, 1.5)


def test_what_waits_for_a_disk_is_idle_and_what_the_hypervisor_took_is_not() -> None:
    """A guest's time is told twice, in user's and by itself; it counts once."""
    text = "cpu  100 20 30 800 50 1 2 7 40 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
    assert parse_cores(text) == (160, 1010)


def test_work_shows_in_this_process_s_own_account() -> None:
    """Until then there would be nothing to measure with."""
    before = cpu_of([os.getpid()])

    def has_worked() -> bool:
        sum(range(200_000))
        return cpu_of([os.getpid()]).total > before.total + TICK

    until_sync(has_worked, 30)
    assert resident_bytes([os.getpid()]) > 1024 * 1024


def test_children_are_found_by_the_module_that_they_run(request: pytest.FixtureRequest) -> None:
    """`python -m MODULE`, and not by a part of its name."""
    sleeper = subprocess.Popen([sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1"], stderr=-3, stdout=-3)
    request.addfinalizer(_ended(sleeper))
    until_sync(lambda: running_module(children(os.getpid()), "http.server") == [sleeper.pid], 10)
    assert running_module(children(os.getpid()), "http") == []


def _ended(process: "subprocess.Popen[bytes]") -> Callable[[], None]:
    def end() -> None:
        process.kill()
        process.wait()

    return end
