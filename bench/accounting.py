"""What processes have used, by the kernel's own accounting."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICK: Final = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU: in the process's own code, and in the kernel for it."""

    user: float
    system: float

    @property
    def total(self) -> float:
        """Both."""
        return self.user + self.system

    def __add__(self, other: Cpu) -> Cpu:
        return Cpu(self.user + other.user, self.system + other.system)

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(self.user - other.user, self.system - other.system)


def cpu_of(pids: Iterable[int]) -> Cpu:
    """utime and stime of the processes, all their threads included, since each was started; of ticks of 10 ms."""
    total = Cpu(0.0, 0.0)
    for pid in pids:
        total += parse_stat(Path(f"/proc/{pid}/stat").read_text())
    return total


def parse_stat(text: str) -> Cpu:
    """The line of /proc/PID/stat. A process's name, in brackets, may hold anything, brackets too."""
    fields = text.rpartition(")")[2].split()
    return Cpu(int(fields[11]) * TICK, int(fields[12]) * TICK)


def cpu_nanoseconds(pid: int) -> int:
    """A process's time on a core, its living threads together, by the scheduler's own clock: finer than ticks."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def resident_bytes(pids: Iterable[int]) -> int:
    """Resident memory, pages that are shared counted in each."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE for pid in pids)


def busy_share(seconds: float) -> float:
    """The share of all cores' time, for so long from now, that somebody used; what the hypervisor took is used too."""
    before = _cores()
    time.sleep(seconds)
    busy, whole = (after - earlier for after, earlier in zip(_cores(), before, strict=True))
    return busy / whole if whole else 0.0


def _cores() -> tuple[int, int]:
    return parse_cores(Path("/proc/stat").read_text())


def parse_cores(text: str) -> tuple[int, int]:
    """Ticks of all cores together, used and in all, by the first line of /proc/stat."""
    # user nice system idle iowait irq softirq steal; guests' time, which follows, is in user's already.
    ticks = [int(field) for field in text.split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)
