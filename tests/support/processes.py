"""Processes that are not this one's children."""

import os
from pathlib import Path


def gone(pid: int) -> bool:
    """Whether no such process runs; one that has ended and that nobody has reaped counts as gone."""
    state = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        # After the name in brackets, which may hold anything. Without /proc nothing is known of zombies.
        return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True
