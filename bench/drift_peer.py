"""Evidently, in an environment of its own under `.cache/`, as `bench/evidently.lock` pins it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.processes import CHECKOUT
from tests.support.real_parts import LeftOutError, say

LOCK: Final = CHECKOUT / "bench" / "evidently.lock"


def evidently_version() -> str:
    """That the lock names."""
    found = re.search(r"^evidently==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert found is not None, "the lock names it"
    return found[1]


def evidently_python() -> Path:
    """The interpreter that has it."""
    return _folder() / "bin" / "python"


def have_evidently() -> None:
    """As PyPI has it, by its hashes; whole or not at all."""
    name = f"Evidently {evidently_version()}"
    if (_folder() / "complete").exists():
        say(f"{name}: present")
        return
    say(f"{name}: making its environment (about 500 MB, a few minutes) …")
    _folder().parent.mkdir(exist_ok=True)
    arguments = [
        "--disable-pip-version-check",
        "--quiet",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "-r",
        str(LOCK),
    ]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(_folder())],
        [str(evidently_python()), "-m", "pip", "install", *arguments],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir())
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise LeftOutError(f"{LOCK.name} could not be installed: {said[:240]}")
    (_folder() / "complete").touch()
    say(f"{name}: installed")


def _folder() -> Path:
    return CHECKOUT / ".cache" / f"evidently-{evidently_version()}"
