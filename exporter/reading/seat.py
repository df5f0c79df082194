"""A name in the consumer group that a process gets back when it starts again after a crash.

The group waits for a member that has vanished until its session runs out, unless one of the same name comes: that one
takes its place at once. So a name is kept in a file, and held by a lock that ends with the process, however that ends.
A part of it is random, or two containers of one host's name would drive each other out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import secrets
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Final

_SEATS: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9.-]{0,100}_[0-9a-f]{16}")


class Seat:
    """One of this host's places in the group of a cluster; `name` is None where none can be held for certain."""

    def __init__(self, cluster: str, folder: Path | None = None) -> None:
        self._descriptor: int | None = None
        self._path: Path | None = None
        self.name: str | None = None
        folder = Path(tempfile.gettempdir()) if folder is None else folder
        stem = f"shadowdrift-exporter-{os.getuid()}-{blake2b(cluster.encode(), digest_size=6).hexdigest()}"
        for number in range(_SEATS):
            try:
                if self._hold(folder / f"{stem}-{number}.lock"):
                    return
            except OSError:  # a folder that cannot be written, or somebody else's file there
                return

    def leave(self) -> None:
        """Give it up: the group has been told, and nothing is left behind."""
        self.name = None
        if self._descriptor is not None and self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def _hold(self, path: Path) -> bool:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                self.name = _named(descriptor)
                self._descriptor, self._path = descriptor, path
                return True
        os.close(descriptor)
        return False


def _named(descriptor: int) -> str:
    """The name in the file, or a new one where there is none yet."""
    name = os.pread(descriptor, 200, 0).decode("ascii", "replace")
    if _NAME.fullmatch(name):
        return name
    host = re.sub(r"[^A-Za-z0-9.-]", "-", platform.node())[:100]
    name = f"{host}_{secrets.token_hex(8)}"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, name.encode(), 0)
    return name
