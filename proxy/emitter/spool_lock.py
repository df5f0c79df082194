"""Who has the spool: one emitter at a time, by a lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path


class Lock:
    """`flock` on a file in the spool's directory, which tells whose emitter it is. Everything here blocks."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def take(self) -> str | None:
        """Take it, and make the directory where there is none: None, or who has it. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, proxy_of_this_process().encode(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, 500, 0).decode("utf-8", "replace")
            os.close(descriptor)
            return holder
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return None

    def release(self) -> None:
        """Let another emitter have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def proxy_of_this_process() -> str:
    """Whose emitter this is, in words: an older emitter of the same proxy has the same."""
    return f"process {os.getppid()} on {socket.gethostname()}"
