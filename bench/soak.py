"""`make bench-soak`: a proxy's memory while its shadow hangs for many minutes."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from bench import parts
from bench.accounting import resident_bytes
from bench.backend import Backend
from bench.broker import Broker
from bench.figures import Bound, judged
from bench.load import paced
from bench.machine import Machine, machine, versions
from bench.measurement import OURS, SUBJECTS
from bench.pace import Paced
from bench.processes import CHECKOUT
from bench.run import framed, say
from bench.stalling import StallingShadow
from bench.subjects import Subject, start
from lifecycle.refusal import REFUSED

MUST_MIB: Final = 30.0
AIM_MIB: Final = 10.0
SAMPLE_SECONDS: Final = 5.0
_MIB: Final = 1024 * 1024

Memory = dict[str, float]
"""MiB by process."""


class Soak(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `soak.json` holds."""

    machine: Machine
    versions: dict[str, str]
    subject: str
    rate: float
    healthy_seconds: float
    hung_seconds: float
    before: Memory
    """At the end of the time in which the shadow answered."""
    highest: Memory
    after: Memory
    growth_mib: float
    """All processes together: the highest while the shadow hung, less what it was before."""
    bounds: list[Bound]
    load: Paced
    """While the shadow hung."""
    cloned: int
    events_lost: int | None
    samples: list[Memory]
    """One in `sample_seconds`, while the shadow hung."""
    sample_seconds: float


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table, and keep it."""
    options = _options(arguments)
    if parts.main() != 0:
        return REFUSED
    with tempfile.TemporaryDirectory(prefix="bench-") as made, ExitStack() as stack:
        folder = Path(made)
        production, shadow = Backend(folder / "production", workers=2), StallingShadow(folder / "shadow", hangs=False)
        for model in (production, shadow):
            stack.callback(model.server.stop)
        broker = Broker(folder / "kafka")
        stack.callback(broker.kafka.stop)
        subject = start(options.subject, folder / "subject", production, shadow, broker)
        stack.callback(subject.stop)
        found = _soak(subject, shadow, options.rate, options.healthy_seconds, options.minutes * 60)
    options.output.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(found), indent=1)
    (options.output / "soak.json").write_bytes(text + b"\n")
    (options.output / "soak.md").write_text(markdown(found))
    sys.stdout.write(f"\n{markdown(found)}")
    return 0


def _soak(subject: Subject, shadow: StallingShadow, rate: float, healthy: float, hung: float) -> Soak:
    say(f"{subject.name} at {rate:,.0f} requests/s for {healthy:g} s, its shadow answers")
    _, samples = _watched(subject, rate, healthy)
    before = samples[-1]
    say(f"{_total(before):.1f} MiB; from now on for {hung:g} s its shadow hangs")
    lost, cloned = subject.events_lost() if subject.events_lost else None, shadow.requests()
    shadow.hang()
    load, samples = _watched(subject, rate, hung)
    highest = max(samples, key=_total)
    growth = _total(highest) - _total(before)
    return Soak(
        machine=machine(),
        versions=versions(),
        subject=subject.name,
        rate=rate,
        healthy_seconds=healthy,
        hung_seconds=hung,
        before=before,
        highest=highest,
        after=samples[-1],
        growth_mib=growth,
        bounds=[judged("resident memory while the shadow hangs, MiB more", growth, MUST_MIB, AIM_MIB, less=True)],
        load=load,
        cloned=shadow.requests() - cloned,
        events_lost=None if subject.events_lost is None or lost is None else subject.events_lost() - lost,
        samples=samples,
        sample_seconds=SAMPLE_SECONDS,
    )


def _watched(subject: Subject, rate: float, seconds: float) -> tuple[Paced, list[Memory]]:
    """Load it, and look at its memory meanwhile, and once at the end."""
    samples: list[Memory] = []
    with ThreadPoolExecutor(1) as thread:
        load = thread.submit(paced, subject.port, rate, seconds)
        due = time.monotonic()
        while not load.done():
            if time.monotonic() >= due:
                due += SAMPLE_SECONDS
                samples.append(_memory(subject))
            time.sleep(0.1)
        samples.append(_memory(subject))
        return load.result(), samples


def _memory(subject: Subject) -> Memory:
    return {name: round(resident_bytes(pids) / _MIB, 2) for name, pids in subject.processes.items()}


def _total(memory: Memory) -> float:
    return sum(memory.values())


def markdown(found: Soak) -> str:
    """All of it, for a reader."""
    return "\n".join([*_told(found), ""])


def _told(found: Soak) -> Iterator[str]:
    told = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    yield "# Memory while the shadow hangs\n"
    machine = f"{found.machine.cores} cores ({found.machine.cpu}, Linux {found.machine.kernel})"
    yield f"`make bench-soak` on {machine}: {told}."
    yield f"{found.subject} at {found.rate:,.0f} requests/s, {found.healthy_seconds:g} s with a shadow that answers,"
    yield f"then for {found.hung_seconds:,.0f} s with one that accepts, reads and never answers. Resident MiB:\n"
    yield "| process | before | highest | at the end |"
    yield "|---|---|---|---|"
    for name in found.before:
        yield f"| {name} | {found.before[name]:.1f} | {found.highest[name]:.1f} | {found.after[name]:.1f} |"
    yield f"| together | {_total(found.before):.1f} | {_total(found.highest):.1f} | {_total(found.after):.1f} |\n"
    for bound in found.bounds:
        yield f"{bound.figure}: {bound.value:.1f} (must ≤ {bound.must:g}, aim ≤ {bound.aim:g}): {bound.meets}."
    load = found.load
    yield f"While it hung: {load.requests:,} requests, {load.failures} failed, {load.changed} answers changed, p50"
    yield f"{load.p50_ms:.2f} ms, p99 {load.p99_ms:.2f} ms; {found.cloned:,} clones reached the shadow;"
    yield f"{found.events_lost if found.events_lost is not None else 'no'} events lost."


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for which the shadow hangs (10)")
    parser.add_argument("--healthy-seconds", type=float, default=30.0, help="before it does (30)")
    parser.add_argument("--rate", type=float, default=2000.0, help="requests/s (2000)")
    parser.add_argument("--subject", default=OURS, choices=SUBJECTS[1:], help="whose memory (shadowdrift)")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "bench" / "results", help="a folder (bench/results)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(framed(main))
