"""What the exporter can take and what it costs: `make bench-exporter`.

Three parts, each with `shadowdrift exporter` as it runs, a real Apache Kafka before it, CPU by the scheduler's clock:

- **backlog**: 20 features, JSON, one process; it is stopped while events are written, and then has them all before it.
- **scrape**: 200 features, 20 tenants, production with the reference and with the shadow: what `/metrics` costs when
  every window has changed, and when the text of a moment ago will do; memory.
- **Evidently**: its report on the very windows that the backlog has left, against a fresh scrape of them.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.backlog import (
    FIRST_TIME,
    REFERENCE_ROWS,
    Traffic,
    Values,
    Writer,
    bodies,
    configure,
    reference_of,
    stamped,
)
from bench.detection.evidently import interpreter
from bench.machine import machine
from bench.measured import Exporter
from bench.processes import CHECKOUT
from configuration.brokers import brokers_of
from configuration.reading import load
from events.inference import ROLES
from events.topics import create
from tests.support import kafka as real_kafka
from tests.support.kafka import free_ports
from tests.support.real_parts import LeftOutError

RESULTS: Final = Path(__file__).parent / "results" / "exporter.json"
FEATURES: Final = 20
SHIFTS: Final = {"number_0": 0.5, "number_1": 0.5, "number_2": 1.0}
"""Of the production traffic against the reference: a normal, a log-normal and a t₂ column."""
SHADOW_EVERY: Final = 20
WINDOW: Final = 1_000
WIDE_FEATURES: Final = 200
WIDE_TENANTS: Final = tuple(f"tenant-{number}" for number in range(18))
"""With `_all` and `_other` they are 20."""
CACHED_SCRAPES: Final = 10
_DRIFT: Final = (b"drift_psi", b"drift_js_divergence", b"drift_feature_drifted", b"drift_bin_ratio")
AGED_SECONDS: Final = 1.1
"""After it a scrape is made anew."""


async def backlog(folder: Path, kafka: str, events: int, rounds: int, evidently_rounds: int) -> dict[str, Any]:
    """Rounds of a backlog, and Evidently's report on the windows that the last one leaves."""
    traffic = Traffic(FEATURES, 5)
    reference = traffic.rows(REFERENCE_ROWS)
    file = configure(folder, kafka, free_ports(1)[0], reference_of(reference))
    await create(brokers_of(load(file)), 1, 1)
    live = {"production": traffic.rows(5 * WINDOW, SHIFTS), "shadow": traffic.rows(5 * WINDOW, SHIFTS)}
    exporter, writer = Exporter(file), Writer(kafka)
    found: list[dict[str, float]] = []
    try:
        await writer.start()
        for number in range(rounds + 1):
            counts = {"production": events, "shadow": events // SHADOW_EVERY}
            last = FIRST_TIME + number + 1
            batches = {
                role: writer.batches(
                    role,
                    chain(
                        stamped(bodies(live[role], role), counts[role] - 1),
                        stamped(bodies(_last(live[role]), role, time=last), 1),
                    ),
                )
                for role in ROLES
            }
            exporter.pause()
            for role in ROLES:
                await writer.write(role, batches[role])
            used, began = exporter.cpu_seconds(), time.perf_counter()
            exporter.resume()
            seconds, cpu = exporter.reached(last) - began, exporter.cpu_seconds() - used
            if number:  # the first compiles and connects
                found.append(_rates(sum(counts.values()), seconds, cpu))
                _say(f"backlog {number}", found[-1])
        windows = {role: _last_rows(live[role], (counts[role] - 1) % len(live[role]["prediction"])) for role in ROLES}
        beside = _beside_evidently(folder, exporter, reference, windows["production"], evidently_rounds)
    finally:
        await writer.stop()
        exporter.server.stop()
    return {"backlog": {"rounds": found, **_median(found)}, "evidently": beside}


async def scrape(folder: Path, kafka: str, rounds: int) -> dict[str, Any]:
    """Fill every window, then change each a little before every scrape."""
    traffic = Traffic(WIDE_FEATURES, 7)
    rows = traffic.rows(REFERENCE_ROWS)
    del rows["prediction"]
    prediction = traffic.rows(REFERENCE_ROWS)["prediction"]
    file = configure(folder, kafka, free_ports(1)[0], reference_of({**rows, "prediction": prediction}), WIDE_TENANTS)
    await create(brokers_of(load(file)), 1, 1)
    exporter, writer = Exporter(file), Writer(kafka)
    fresh: list[float] = []
    cached: list[float] = []
    try:
        await writer.start()
        await _fill(exporter, writer, traffic, WINDOW, FIRST_TIME)
        for number in range(rounds + 1):
            await _fill(exporter, writer, traffic, 50, FIRST_TIME + number + 1)
            await asyncio.sleep(AGED_SECONDS)
            anew = exporter.used(lambda: exporter.get("/metrics"))
            again = exporter.used(lambda: [exporter.get("/metrics") for _ in range(CACHED_SCRAPES)]) / CACHED_SCRAPES
            if number:
                fresh.append(anew)
                cached.append(again)
        text = exporter.get("/metrics")
        lines, size = text.count(b"\n"), len(text)
        drift = sum(line.startswith(_DRIFT) for line in text.splitlines())
        memory = {"resident_mib": round(exporter.resident_mib(), 1), "peak_mib": round(exporter.peak_mib(), 1)}
    finally:
        await writer.stop()
        exporter.server.stop()
    found = {
        "lines": lines,
        "drift_lines": drift,
        "bytes": size,
        "fresh_cpu_ms": round(statistics.median(fresh), 1),
        "cached_cpu_ms": round(statistics.median(cached), 2),
        "rounds": {"fresh": [round(one, 1) for one in fresh], "cached": [round(one, 2) for one in cached]},
        **memory,
    }
    _say("scrape", {name: value for name, value in found.items() if name != "rounds"})
    return found


async def _fill(exporter: Exporter, writer: Writer, traffic: Traffic, count: int, at: float) -> None:
    """So many events into each tenant's windows, in both roles."""
    for role in ROLES:
        events = []
        for tenant in (*WIDE_TENANTS, "_other"):
            made = bodies(traffic.rows(count), role, tenant, at)
            events.append(stamped(made, len(made)))
        await writer.write(role, writer.batches(role, chain.from_iterable(events)))
    exporter.reached(at)


def _beside_evidently(
    folder: Path, exporter: Exporter, reference: Values, window: Values, rounds: int
) -> dict[str, Any]:
    """Both on the same rows: the values side by side, and what each took."""
    evidence = exporter.evidence()
    comparison = evidence.comparison("reference")
    assert comparison is not None, "there is a reference"
    ours = {feature.feature: feature for feature in comparison.features}
    scrapes = []
    for _ in range(5):
        time.sleep(AGED_SECONDS)
        scrapes.append(exporter.used(lambda: exporter.get("/metrics")))
    for name, rows in (("reference", reference), ("current", window)):
        _write_csv(folder / f"{name}.csv", rows)
    command = [str(interpreter()), str(CHECKOUT / "bench" / "evidently_report.py")]
    files = [str(folder / "reference.csv"), str(folder / "current.csv"), str(rounds)]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=True, cwd=folder)
    theirs = json.loads(done.stdout.splitlines()[-1])
    psi, distance = theirs["psi"], theirs["jensenshannon"]
    found = {
        "version": theirs["version"],
        "rows": {"reference": len(reference["prediction"]), "window": len(window["prediction"])},
        "ours_cpu_ms": round(statistics.median(scrapes), 2),
        "psi_report_cpu_ms": round(1e3 * statistics.median(psi["cpu_seconds"]), 1),
        "jensenshannon_report_cpu_ms": round(1e3 * statistics.median(distance["cpu_seconds"]), 1),
        "values": {
            name: {
                "psi": round(ours[name].psi, 4),
                "evidently_psi": round(psi["values"][name], 4),
                "js_divergence": round(ours[name].js, 4),
                "evidently_js_distance": round(distance["values"][name], 4),
                "critical_psi": round(ours[name].critical, 4),
                "level": ours[name].level,
            }
            for name in ours
        },
    }
    found["times_quicker"] = round(found["psi_report_cpu_ms"] / found["ours_cpu_ms"])
    _say("Evidently", {name: value for name, value in found.items() if name not in {"values", "rows"}})
    for name, values in found["values"].items():
        _say(f"  {name}", values)
    return found


def _last(rows: Values) -> Values:
    return {name: values[-1:] for name, values in rows.items()}


def _last_rows(rows: Values, end: int) -> Values:
    """What a window holds: the rows of the cycle before `end`, and then the last one of all."""
    taken = [position % len(rows["prediction"]) for position in range(end - WINDOW + 1, end)]
    return {name: values[[*taken, -1]] for name, values in rows.items()}


def _write_csv(file: Path, rows: Values) -> None:
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(rows)
        writer.writerows(zip(*(values.tolist() for values in rows.values()), strict=True))


def _rates(events: int, seconds: float, cpu: float) -> dict[str, float]:
    return {
        "events": events,
        "events_per_second": round(events / seconds),
        "events_per_cpu_second": round(events / cpu),
        "cpu_us_per_event": round(cpu / events * 1e6, 2),
    }


def _median(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def _say(name: str, found: dict[str, Any]) -> None:
    sys.stdout.write(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found.items()) + "\n")
    sys.stdout.flush()


async def bench(given: argparse.Namespace) -> dict[str, Any]:
    """All parts, each against a broker of its own."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-exporter-") as name:
        folder = Path(name)
        with real_kafka.Kafka(folder / "kafka") as broker:
            found |= await backlog(
                folder / "backlog", broker.bootstrap_servers, given.events, given.rounds, given.evidently_rounds
            )
        with real_kafka.Kafka(folder / "wide-kafka") as broker:
            found["scrape"] = await scrape(folder / "scrape", broker.bootstrap_servers, given.scrapes)
    versions = {name: version(name) for name in ("aiokafka", "msgspec", "numpy", "scipy")}
    return {**found, "machine": msgspec.to_builtins(machine()), "versions": {"kafka": real_kafka.VERSION, **versions}}


def main() -> int:
    """Run it, print what is found, write the results."""
    parser = argparse.ArgumentParser(prog="bench.exporter", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000, help="of production in a backlog (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of a backlog (default: %(default)s)")
    parser.add_argument("--scrapes", type=int, default=9, help="rounds of a scrape (default: %(default)s)")
    parser.add_argument("--evidently-rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: bench/results/exporter.json")
    given = parser.parse_args()
    missing = real_kafka.missing()
    if missing is not None:
        sys.stderr.write(f"bench-exporter: {missing}; `python -m tests.support.real_parts` fetches what is missing\n")
        return 2
    try:
        interpreter()
    except LeftOutError as reason:
        sys.stderr.write(f"bench-exporter: Evidently is missing: {reason}\n")
        return 2
    results = asyncio.run(bench(given))
    given.output.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
