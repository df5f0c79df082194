"""The audit log: everything that was decided, and what was refused at the door. Append-only, on the disk at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from lifecycle.refusal import Refusal
from rollback.journal import FOLDER

DOOR_LINES: Final = 60
DOOR_SECONDS: Final = 60.0


class Audit:
    """One JSON object a line in `state_dir/rollback/audit.jsonl`."""

    def __init__(self, state_dir: Path, clock: Callable[[], float]) -> None:
        """Raises `Refusal` where it cannot be written."""
        self._clock = clock
        self.path = state_dir / FOLDER / "audit.jsonl"
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":  # the power failed in the middle of a line
                os.write(self._file, b"\n")
        except OSError as error:
            raise Refusal(f"state_dir: {self.path} cannot be written: {error.strerror}") from None

    def write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append lines, each with the time first; when this returns they are on the disk. Raises OSError."""
        time = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        data = b"".join(msgspec.json.encode({"time": time, **line}, enc_hook=str) + b"\n" for line in lines)
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Door:
    """How many refusals at the door are written: whoever has no token must not fill the disk."""

    def __init__(self) -> None:
        self._since = 0.0
        self._written = 0
        self._left_out = 0

    def admits(self, now: float) -> int | None:
        """None where this one is not to be written; else how many were left out since the last that was."""
        if now - self._since >= DOOR_SECONDS:
            self._since, self._written = now, 0
        if self._written >= DOOR_LINES:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return left_out
