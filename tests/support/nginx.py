"""A real nginx for the tests, on loopback, with the files of `nginx/` as they are but for addresses."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.support.kafka import free_ports
from tests.support.waiting import until_sync

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = CHECKOUT / "nginx"


def missing() -> str | None:
    """Why no nginx can be started here, in one line; None if one can."""
    return None if program() else "no nginx on the PATH; `make test` installs Debian's as root"


def program() -> str | None:
    """The program; Debian keeps it where only root's PATH looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Nginx:
    """One nginx in a folder of its own; `addresses` maps the files' own host:port to those of the test."""

    def __init__(
        self,
        folder: Path,
        main: str,
        addresses: Mapping[str, str],
        changes: Mapping[str, str],
        own: Path | None = None,
    ) -> None:
        """`own`: another program than the system's."""
        self.folder = folder
        self._program = own
        self.port = free_ports(1)[0]
        self._main = main
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "access.log"
        shutil.copytree(FILES, folder / "nginx")
        for file in (folder / "nginx").rglob("*.conf"):
            text = file.read_text()
            text = re.sub(r"listen 80\b", f"listen 127.0.0.1:{self.port}", text).replace("/dev/stdout", str(self._log))
            for before, after in (*addresses.items(), *changes.items()):
                text = text.replace(before, after)
            file.write_text(text)

    def check(self) -> subprocess.CompletedProcess[str]:
        """`nginx -t`."""
        return subprocess.run([*self._command(), "-t"], capture_output=True, text=True, check=False)

    def start(self) -> None:
        """Start it; it listens when this returns."""
        errors = self.folder / "errors.log"
        with errors.open("wb") as output:
            self._process = self._begun(output)
        until_sync(lambda: self._listens(errors), 10, "nginx's pid file")

    def _begun(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self._command(), "-g", "daemon off;"], stdout=output, stderr=output)

    def _listens(self, errors: Path) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"nginx ended: {errors.read_text()}"
        pid = self.folder / "run" / "nginx.pid"
        return pid.exists() and pid.read_text() != ""  # `nginx -t` leaves an empty one

    def stop(self) -> None:
        """Stop it at once."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def errors(self) -> str:
        """What it has said so far, but for the access log."""
        return (self.folder / "errors.log").read_text()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    def raw_log(self) -> bytes:
        """The access log as it was written."""
        return self._log.read_bytes() if self._log.exists() else b""

    def log_lines(self) -> list[dict[str, Any]]:
        """The access log; each line is decoded as JSON."""
        return [json.loads(line) for line in self.raw_log().decode().splitlines()]

    def _command(self) -> list[str]:
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        found = str(self._program or program())
        # As root it would give its workers to another user, who may not enter a test's folder.
        return [found, "-e", "stderr", "-p", f"{run}/", "-c", str(self.folder / "nginx" / self._main)]

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


class Started(Nginx):
    """One that `nginx/start` runs, with `active` as the folder in which somebody else says which version is active."""

    @property
    def active(self) -> Path:
        """Empty at first: the files beside `start` count."""
        return self.folder / "active"

    def _begun(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        self.active.mkdir(exist_ok=True)
        command = ["sh", str(self.folder / "nginx" / "start"), str(self.folder / "run"), str(self.active)]
        environment = {**os.environ, "NGINX_PROGRAM": str(self._program or program())}
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
