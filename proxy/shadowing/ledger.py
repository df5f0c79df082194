"""A file in which processes write down what each of them has taken of a day's budget: appended to, never changed.

One line a loan: `62/1000` wants 62 of a budget of 1,000, `-30` gives back 30. Lines are appended whole by one system
call, so all processes see the same lines in the same order, and each works out from them what it got, without a lock: a
line that wants more than was left gets what was left. A blank line in front of each keeps one that was cut by a full
disk apart from the next.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class Ledger:
    """One day's file."""

    def __init__(self, path: Path) -> None:
        """Open it, made where it is missing. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)

    def left(self, limit: int) -> int:
        """How much of the limit nobody has taken. Raises OSError."""
        return max(0, limit - _taken(self._read(os.fstat(self._descriptor).st_size))[0])

    def take(self, count: int, limit: int) -> int:
        """Take so much, or what is left; how much it is. Raises OSError."""
        return _taken(self._read(self._append(b"\n%d/%d\n" % (count, limit))))[1]

    def give_back(self, count: int) -> None:
        """Somebody else may have it. Raises OSError."""
        self._append(b"\n-%d\n" % count)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _append(self, line: bytes) -> int:
        """Write a line; where it ends."""
        if os.write(self._descriptor, line) < len(line):
            raise OSError("the disk is full")
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def _read(self, until: int) -> bytes:
        return os.pread(self._descriptor, until, 0)


def _taken(lines: bytes) -> tuple[int, int]:
    """How much all lines took together, and the last of them alone."""
    total = got = 0
    for line in lines.split():
        wanted, _, limit = line.partition(b"/")
        with contextlib.suppress(ValueError):  # what a crash of the machine made of it
            got = min(int(wanted), max(0, int(limit) - total)) if limit else min(0, int(wanted))
            total = max(0, total + got)
    return total, got
