"""`python -m bench.profile`: where the microseconds of one worker go.

The worker is the proxy's own, before an nginx that answers at once, under wrk's 16 connections; what it captures goes
to an emitter that reads and drops it. Printed is the worker's CPU for each request by the kernel's accounting, without
a profiler and, after that, what a profiler saw.
"""

from __future__ import annotations

import argparse
import os
import pstats
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from bench.accounting import cpu_of
from bench.backend import Backend
from bench.load import saturate, script
from bench.processes import CHECKOUT, Server, children, running_module
from bench.profiled import VARIABLE
from bench.run import framed
from bench.shadowdrift import WORKER, Proxy, configure
from bench.swapped import SWAPPED
from lifecycle.refusal import Refusal

WARM_UP_SECONDS: Final = 2
PERF: Final = ("perf", "record", "-q", "-g", "-F", "2000")
PERF_REPORT: Final = ("perf", "report", "--stdio", "--no-children", "-g", "none", "--sort", "dso,symbol")


def main(arguments: Sequence[str]) -> int:
    """Measure, and print."""
    options = _options(arguments)
    for program in ("wrk", "nginx", *(["perf"] if options.how == "perf" else [])):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
            raise Refusal(
                f"{program} is missing; on Debian, as root: apt-get install {program.replace('perf', 'linux-perf')}"
            )
    with tempfile.TemporaryDirectory(prefix="bench-") as made, ExitStack() as stack:
        folder = Path(made)
        production, shadow = Backend(folder / "production", workers=2), Backend(folder / "shadow")
        for backend in (production, shadow):
            stack.callback(backend.server.stop)
        # The supervisor and the emitter alone know Kafka; this emitter asks for none.
        file = configure(folder / "shadowdrift", production=production.port, shadow=shadow.port, kafka="127.0.0.1:9")
        seen = folder / "seen"
        proxy = Proxy(file, ("bench.swapped",), {VARIABLE: f"{options.how}:{seen}"})
        stack.callback(proxy.server.stop)
        (worker,) = running_module(children(proxy.server.pid), SWAPPED[WORKER])
        lua = script(folder)
        saturate(lua, proxy.port, WARM_UP_SECONDS)
        _measure(lua, proxy, worker, options.seconds, options.rounds)
        if options.how != "time":
            _look(options.how, worker, lambda: saturate(lua, proxy.port, options.seconds).requests, seen, options.top)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument(
        "how",
        nargs="?",
        default="samples",
        choices=("time", "samples", "calls", "perf"),
        help="time: the accounting alone; samples (the default): by line, undistorted; calls: every call, by cProfile; "
        "perf: the kernel and C, by Linux' perf",
    )
    parser.add_argument("--seconds", type=int, default=5, help="of each round (5)")
    parser.add_argument("--rounds", type=int, default=3, help="without a profiler (3)")
    parser.add_argument("--top", type=int, default=30, help="lines of each table (30)")
    return parser.parse_args(arguments)


def _measure(lua: Path, proxy: Proxy, worker: int, seconds: int, rounds: int) -> None:
    """The worker's cost without a profiler, each round by itself: other load on the machine shows in the spread."""
    for _ in range(rounds):
        before = cpu_of([worker])
        load = saturate(lua, proxy.port, seconds)
        used = cpu_of([worker]) - before
        each = 1e6 / load.requests
        _say(
            f"worker: {used.total * each:6.2f} µs CPU a request (own code {used.user * each:.2f}, kernel "
            f"{used.system * each:.2f}), {load.rate:,.0f} requests/s, "
            f"p50 {load.p50_ms:.2f} ms, p99 {load.p99_ms:.2f} ms, {load.failures} failed"
        )
    reading = proxy.reading()
    lost = reading.total("events_lost_total")
    _say(
        f"captured {reading.total('events_captured_total')}, of these lost before the emitter {lost}; cloned "
        f"{reading.total('mirror_sent_total')}"
    )


def _look(how: str, worker: int, load: Callable[[], int], seen: Path, top: int) -> None:
    """One more round, under a profiler."""
    if how == "perf":
        with Server("perf", [*PERF, "-p", str(worker), "-o", str(seen)], seen.parent / "perf"):
            load()
        report = [*PERF_REPORT, "-i", str(seen)]
        told = subprocess.run(report, capture_output=True, text=True, check=True).stdout
        lines = [line.rstrip(" -") for line in told.splitlines() if line.strip() and not line.startswith("#")]
        _say("\nshare of the worker's CPU, where, symbol\n" + "\n".join(lines[:top]))
        return
    os.kill(worker, signal.SIGUSR1)
    before = cpu_of([worker])
    requests = load()
    used = cpu_of([worker]) - before
    os.kill(worker, signal.SIGUSR2)
    while not seen.exists():
        time.sleep(0.02)
    _say(f"\nunder the profiler: {used.total * 1e6 / requests:.2f} µs a request, {requests} requests")
    if how == "calls":
        _tell_calls(seen, requests, top)
    else:
        _tell_samples(seen, used.total * 1e6 / requests, top)


def _tell_calls(seen: Path, requests: int, top: int) -> None:
    stats = pstats.Stats(str(seen)).stats  # type: ignore[attr-defined]
    rows = sorted(((own, calls, whole, place) for place, (_, calls, own, whole, _) in stats.items()), reverse=True)
    _say(f"{'own µs':>8} {'with callees':>12} {'calls':>7}  a request")
    for own, calls, whole, (file, line, name) in rows[:top]:
        share = 1e6 / requests
        _say(f"{own * share:8.2f} {whole * share:12.2f} {calls / requests:7.2f}  {_place(file, line)} {name}")


def _tell_samples(seen: Path, microseconds: float, top: int) -> None:
    stacks: list[tuple[list[str], int]] = msgspec.json.decode(seen.read_bytes())
    total = sum(count for _, count in stacks)
    own: dict[str, Counter[str]] = {"line": Counter(), "function": Counter()}
    whole: Counter[str] = Counter()
    for stack, count in stacks:
        frames = [_frame(frame) for frame in stack]
        own["line"][" ".join(frames[0])] += count
        own["function"][f"{frames[0][0].rpartition(':')[0]} {frames[0][1]}"] += count
        for function in {f"{place.rpartition(':')[0]} {name}" for place, name in frames}:
            whole[function] += count
    for title, table in (
        ("functions, own time (C and kernel called from there included)", own["function"]),
        ("functions, with what they call", whole),
        ("lines", own["line"]),
    ):
        _say(f"\n{title}: µs a request, of {microseconds:.1f}; {total} samples")
        shown = [(name, count) for name, count in table.most_common() if count < total]  # the loop itself tells nothing
        for name, count in shown[:top]:
            _say(f"{count / total * microseconds:8.2f}  {name}")


def _frame(text: str) -> tuple[str, str]:
    file, line, name = text.rsplit(":", 2)
    return _place(file, int(line)), name


def _place(file: str, line: int) -> str:
    """A file of ours by its path in the checkout, any other by its name."""
    path = Path(file)
    return f"{path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path.name}:{line}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(framed(main))
