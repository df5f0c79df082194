"""On what was measured, and with what: nothing that tells whose machine it is."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import msgspec

from bench.peers import nginx_version
from tests.support import kafka
from tests.support.wheels import ENVOY


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The machine."""

    cpu: str
    cores: int
    kernel: str
    python: str


def machine() -> Machine:
    """This one."""
    return Machine(_cpu(), os.cpu_count() or 1, platform.release(), platform.python_version())


def versions() -> dict[str, str]:
    """Of everything that takes part."""
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    found = re.search(r"^wrk (?:debian/)?([\d.]+)", wrk.stdout + wrk.stderr, re.MULTILINE)
    return {
        "shadowdrift": version("shadowdrift"),
        "uvloop": version("uvloop"),
        "httptools": version("httptools"),
        "aiokafka": version("aiokafka"),
        "nginx": nginx_version(),
        "envoy": ENVOY.version,
        "kafka": kafka.VERSION,
        "wrk": found[1] if found else "unknown",
    }


def _cpu() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()
