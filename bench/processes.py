"""Server processes of a measurement: started in a group of their own, found by their numbers, ended with the run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from lifecycle.refusal import Refusal

CHECKOUT = Path(__file__).resolve().parent.parent


class Server:
    """One server, with whatever children it has. All of its group ends with this process, however that dies."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=CHECKOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._watcher = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -9 "-$1"', "watch-server", str(self.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the process that was started, which leads its group."""
        return self._process.pid

    def until(self, ready: Callable[[], bool], within: float = 30.0) -> Self:
        """Wait until it is ready; `Refusal` with the end of its log where it ends or takes longer."""
        deadline = time.monotonic() + within
        while not ready():
            ended = self._has_ended()
            if ended or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                self.stop()
                raise Refusal(f"{self.name} {'ended' if ended else 'was not ready in time'}: {said[-1][:300]}")
            time.sleep(0.02)
        return self

    def signal(self, number: int) -> None:
        """To the process that was started. (Popen's own way would reap it, if it has ended.)"""
        os.kill(self.pid, number)

    def stop(self, within: float = 20.0) -> None:
        """SIGTERM to the process that was started; once it has ended, or after `within` seconds, the rest is killed."""
        if self._process.returncode is not None:
            return
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + within
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._watcher.kill()
        self._watcher.wait()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()

    def _has_ended(self) -> bool:
        """Without reaping it: its number stays its group's meanwhile, and cannot become another's."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()


def children(pid: int) -> list[int]:
    """A process's own children."""
    return [int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in tasks.read_text().split()]


def running_module(pids: Iterator[int] | Sequence[int], module: str) -> list[int]:
    """Those that were started as `python -m MODULE`."""
    wanted = f"-m\0{module}\0"
    return [pid for pid in pids if wanted in Path(f"/proc/{pid}/cmdline").read_text()]


def answers(url: str) -> bool:
    """Whether a GET there is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own http address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
