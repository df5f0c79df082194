"""`make bench-proxy`: direct, shadowdrift, nginx and Envoy beside one another, in interleaved rounds of one run."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import parts
from bench.accounting import busy_share, cpu_of
from bench.backend import Backend
from bench.broker import Broker
from bench.cost import Whole, costs
from bench.load import CONNECTIONS, Saturation, paced, saturate, script
from bench.machine import machine, versions
from bench.measurement import DIRECT, SUBJECTS, Load, Measurement, Shadow
from bench.pace import Paced
from bench.payload import CATEGORIES, NUMBERS, SIZE
from bench.peers import PERCENT
from bench.placement import Placement
from bench.processes import CHECKOUT
from bench.report import Settings, results, save
from bench.run import framed, say
from bench.stalling import StallingShadow
from bench.subjects import Subject, start
from lifecycle.refusal import REFUSED

RESULTS: Final = CHECKOUT / "bench" / "results"
WARM_UP_SECONDS: Final = 1
LISTEN_SECONDS: Final = 1.0
MUCH: Final = 0.15
"""Of the machine, used by others: beyond it rates and p99 mean little."""


class Run:
    """The subjects, all of them running; each is idle but in its own turn."""

    def __init__(self, stack: ExitStack, folder: Path, options: argparse.Namespace) -> None:
        self._options = options
        self.others: list[float] = []
        """The share of the machine that was used while we did nothing, before each round."""
        placement = Placement()
        placement.leave_it()
        stack.callback(placement.come_back)
        production, shadow = Backend(folder / "production", workers=2), Backend(folder / "shadow")
        hung = StallingShadow(folder / "hung", hangs=True)
        for model in (production, shadow, hung):
            stack.callback(model.server.stop)
        broker = Broker(folder / "kafka")
        stack.callback(broker.kafka.stop)
        self._lua = script(folder)
        say("what a million requests cost")
        # First: the exporter is to find empty topics.
        whole = Whole(folder / "cost", production.port, shadow.port, broker)
        self.cost = costs(whole, self._lua, options.rate, options.cost_seconds)
        self._turns: list[tuple[Subject, Shadow]] = []
        for name in options.subjects:
            if name == DIRECT:
                self._turns.append((Subject(DIRECT, production.port), "none"))
                continue
            shadows: tuple[tuple[Shadow, Backend | StallingShadow], ...] = (("healthy", shadow), ("hung", hung))
            for state, model in shadows:
                subject = start(name, folder / f"{name}-{state}", production, model, broker)
                stack.callback(subject.stop)
                placement.give_it(subject.processes["worker"])
                self._turns.append((subject, state))

    def measure(self) -> list[Measurement]:
        """Every round; each begins with what wrk can send, and goes on with the constant rate."""
        for subject, shadow in self._turns:
            if shadow != "hung":
                saturate(self._lua, subject.port, WARM_UP_SECONDS)
                subject.settle()
        found: list[Measurement] = []
        loads: tuple[Load, ...] = ("saturation", "pace")
        for number in range(1, self._options.rounds + 1):
            self.others.append(busy_share(LISTEN_SECONDS))
            if self.others[-1] > MUCH:
                say(f"others use {self.others[-1]:.0%} of this machine: its rates and p99 will mean little")
            for load in loads:
                for subject, shadow in self._turns:
                    found.append(self._turn(number, subject, shadow, load))
                    say(_line(found[-1]))
        return found

    def _turn(self, number: int, subject: Subject, shadow: Shadow, load: Load) -> Measurement:
        before = {name: cpu_of(pids).total for name, pids in subject.processes.items()}
        lost = subject.events_lost() if subject.events_lost else None
        cloned = subject.cloned() if subject.cloned else None
        seen: Saturation | Paced
        if load == "saturation":
            seen = saturate(self._lua, subject.port, self._options.seconds)
        else:
            seen = paced(subject.port, self._options.rate, self._options.seconds)
        subject.settle()
        used = {name: cpu_of(pids).total - before[name] for name, pids in subject.processes.items()}
        return Measurement(
            round=number,
            subject=subject.name,
            shadow=shadow,
            load=load,
            requests=seen.requests,
            sent=seen.sent,
            seconds=seen.seconds,
            p50_ms=seen.p50_ms,
            p99_ms=seen.p99_ms,
            failures=seen.failures,
            changed=seen.changed if isinstance(seen, Paced) else None,
            cloned=None if subject.cloned is None or cloned is None else subject.cloned() - cloned,
            cpu_seconds=used,
            events_lost=None if subject.events_lost is None or lost is None else subject.events_lost() - lost,
        )


def main(arguments: Sequence[str]) -> int:
    """Measure, print the tables, and keep them."""
    options = _options(arguments)
    if parts.main() != 0:
        return REFUSED
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
        run = Run(stack, Path(folder), options)
        measurements = run.measure()
    settings = Settings(
        rounds=options.rounds,
        seconds=options.seconds,
        rate=options.rate,
        connections=CONNECTIONS,
        request_bytes=SIZE,
        features=len(NUMBERS) + len(CATEGORIES),
        mirrored_percent=PERCENT,
    )
    found = results(machine(), versions(), settings, run.others, measurements, run.cost)
    sys.stdout.write(f"\n{save(found, options.output)}\n")
    say(f"{time.monotonic() - began:.0f} s; kept in {options.output.name}/proxy.json and proxy.md")
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.proxy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each subject has its turn (5)")
    parser.add_argument("--seconds", type=int, default=4, help="of each load in each turn (4)")
    parser.add_argument("--cost-seconds", type=int, default=16, help="of the load that the cost is measured under (16)")
    parser.add_argument("--rate", type=float, default=1000.0, help="of the constant load, requests/s (1000)")
    parser.add_argument("--subjects", nargs="+", default=list(SUBJECTS), choices=SUBJECTS, help="all of them")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder for the results (bench/results)")
    return parser.parse_args(arguments)


def _line(one: Measurement) -> str:
    shadow = "" if one.shadow == "none" else f", {one.shadow} shadow"
    cpu = ", ".join(f"{name} {used * 1e6 / max(1, one.sent):.1f}" for name, used in one.cpu_seconds.items())
    wrong = f"{one.cloned or 0} cloned, {one.failures} failed, {one.changed or 0} changed"
    return (
        f"round {one.round}, {one.subject}{shadow}, {one.load}: {one.rate:,.0f}/s, p50 {one.p50_ms:.2f} ms, "
        f"p99 {one.p99_ms:.2f} ms, {wrong}; CPU µs a request: {cpu or 'not taken'}"
    )


if __name__ == "__main__":
    sys.exit(framed(main))
