"""Load: as much as 16 connections carry, by wrk, and a constant rate, by a client of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bench.pace import Paced
from bench.payload import PATH, bodies
from bench.processes import CHECKOUT
from lifecycle.refusal import Refusal

CONNECTIONS: Final = 16

_MARK: Final = "measured "
# One request, made once: wrk then sends the same bytes again and again, and Lua runs at the end alone.
_SCRIPT: Final = """
wrk.method = "POST"
wrk.path = "{path}"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{body}'
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{mark}{{"requests": %d, "microseconds": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, ' ..
    '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""


@dataclass(frozen=True)
class Saturation:
    """What wrk saw. Latencies are from each request's sending, in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int
    """Not connected, reset, unanswered within wrk's deadline, or answered with another status than 2xx and 3xx."""

    @property
    def rate(self) -> float:
        """Requests answered in a second."""
        return self.requests / self.seconds

    @property
    def sent(self) -> int:
        """All that the server had to do with."""
        return self.requests


def script(folder: Path) -> Path:
    """The file that tells wrk what to send, and what to say at the end."""
    file = folder / "request.lua"
    file.write_text(_SCRIPT.format(path=PATH, body=bodies(1)[0].decode(), mark=_MARK))
    return file


def saturate(lua: Path, port: int, seconds: int, connections: int = CONNECTIONS) -> Saturation:
    """Send one request after the other on each connection, for that long."""
    done = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "2s",
            "-s",
            str(lua),
            f"http://127.0.0.1:{port}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    if done.returncode != 0:
        raise Refusal(f"wrk ended with {done.returncode}: {(done.stderr or done.stdout).strip()[:300]}")
    return parse(done.stdout)


def parse(output: str) -> Saturation:
    """wrk's output, with the line that our script's end adds to it. `Refusal` without that line."""
    for line in output.splitlines():
        if line.startswith(_MARK):
            found = json.loads(line.removeprefix(_MARK))
            return Saturation(
                requests=found["requests"],
                seconds=found["microseconds"] / 1e6,
                p50_ms=found["p50_us"] / 1000,
                p99_ms=found["p99_us"] / 1000,
                failures=sum(found[kind] for kind in ("connect", "read", "write", "status", "timeout")),
            )
    raise Refusal(f"wrk told nothing that can be read: {output.strip()[-300:]!r}")


def paced(port: int, rate: float, seconds: float) -> Paced:
    """Send at that rate, by a process that does nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.pace", str(port), "--rate", str(rate), "--seconds", str(seconds)],
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
        timeout=seconds + 60,
    )
    if done.returncode != 0:
        raise Refusal(f"the client of the constant rate ended: {(done.stderr.strip().splitlines() or ['silent'])[-1]}")
    return msgspec.json.decode(done.stdout, type=Paced)
