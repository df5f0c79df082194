"""What processes have used, by the kernel's own accounting."""

from __future__ import annotations

import os
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


def resident_bytes(pids: Iterable[int]) -> int:
    """Resident memory, pages that are shared counted in each."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE for pid in pids)
