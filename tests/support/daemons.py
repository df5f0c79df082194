"""A real server of somebody else's for a test: one process on loopback, on a port that it takes and tells itself.

For those of Prometheus' family, which log `msg="Listening on" address=127.0.0.1:43215`.
"""

import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tests.support.waiting import until_sync

_LISTENS = re.compile(r'msg="Listening on" address=127\.0\.0\.1:(\d+)')


class DaemonEndedError(RuntimeError):
    """It did not start; the message is the last line of its log."""


class Daemon:
    """A process with a log. It ends when this process does, however that dies."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends the tests, and these end it
            )
        self._watcher = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -9 "$1"', "watch-daemon", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=os.sep,
            start_new_session=True,
        )

    def url(self, within: float = 30.0) -> str:
        """Where it serves, once it says that it is ready. DaemonEndedError if it ends instead."""
        try:
            port = until_sync(self._port, within, f"its start (log: {self.log})")
            url = f"http://127.0.0.1:{port}"
            until_sync(lambda: self._ready(url), within, f"its readiness (log: {self.log})")
        except BaseException:
            self.stop()
            raise
        return url

    def stop(self, within: float = 20.0) -> None:
        """SIGTERM; after `within` seconds SIGKILL."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._watcher.stdin is not None
        self._watcher.kill()
        self._watcher.stdin.close()
        self._watcher.wait()

    def _port(self) -> str | None:
        text = self.log.read_text(errors="replace")
        if self._process.poll() is not None:
            raise DaemonEndedError((text.strip().splitlines() or ["it said nothing"])[-1])
        found = _LISTENS.search(text)
        return found[1] if found else None

    @staticmethod
    def _ready(url: str) -> bool:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:  # noqa: S310 - our own http address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
