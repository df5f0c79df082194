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
import json
import statistics
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
    SHADOW_EVERY,
    Traffic,
    Values,
    Writer,
    bodies,
    configure,
    new_ids,
    reference_of,
    stamped,
)
from bench.beside_evidently import beside_evidently
from bench.detection.evidently import interpreter
from bench.exporter_page import markdown
from bench.machine import machine
from bench.measured import AGED_SECONDS, Exporter
from configuration.brokers import brokers_of
from configuration.reading import load
from events.inference import ROLES, Role
from events.topics import create
from tests.support import kafka as real_kafka
from tests.support.kafka import free_ports
from tests.support.real_parts import LeftOutError

RESULTS: Final = Path(__file__).parent / "results" / "exporter.json"
FEATURES: Final = 20
SHIFTS: Final = {"number_0": 0.5, "number_1": 0.5, "number_2": 1.0}
"""Of the production traffic against the reference: a normal, a log-normal and a t₂ column."""
WINDOW: Final = 1_000
WIDE_FEATURES: Final = 200
WIDE_TENANTS: Final = tuple(f"tenant-{number}" for number in range(18))
"""With `_all` and `_other` they are 20."""
CACHED_SCRAPES: Final = 10
_DRIFT: Final = (b"drift_psi", b"drift_js_divergence", b"drift_feature_drifted", b"drift_bin_ratio")


async def backlog(folder: Path, kafka: str, events: int, rounds: int, evidently_rounds: int) -> dict[str, Any]:
    """Rounds of a backlog, and Evidently's report on the windows that the last one leaves."""
    traffic = Traffic(FEATURES, 5)
    reference = traffic.rows(REFERENCE_ROWS)
    file = configure(folder, kafka, free_ports(1)[0], reference_of(reference))
    await create(brokers_of(load(file)), 1, 1)
    live = traffic.rows(5 * WINDOW, SHIFTS)
    cloned = {name: values[::SHADOW_EVERY] for name, values in live.items()}
    cloned["prediction"] = traffic.rows(len(cloned["prediction"]))["prediction"]
    exporter, writer = Exporter(file), Writer(kafka)
    found: list[dict[str, float]] = []
    try:
        await writer.start()
        for number in range(rounds + 1):
            last, count = FIRST_TIME + number + 1, 0
            batches: dict[Role, list[Any]] = {}
            *ids, last_id = new_ids(events)
            for role in ROLES:
                rows, mine = (live, ids) if role == "production" else (cloned, ids[::SHADOW_EVERY])
                ends = bodies(_last(rows), role, time=last)
                batches[role] = writer.batches(role, chain(stamped(bodies(rows, role), mine), stamped(ends, [last_id])))
                count += len(mine) + 1
            exporter.pause()
            for role in ROLES:
                await writer.write(role, batches[role])
            used, began = exporter.cpu_seconds(), time.perf_counter()
            exporter.resume()
            seconds, cpu = exporter.reached(last) - began, exporter.cpu_seconds() - used
            if number:  # the first compiles and connects
                found.append(_rates(count, seconds, cpu))
                _say(f"backlog {number}", found[-1])
        window = _last_rows(live, (events - 1) % len(live["prediction"]))
        beside = beside_evidently(folder, exporter, reference, window, evidently_rounds, SHIFTS)
        _say("Evidently", {name: value for name, value in beside.items() if name not in {"values", "rows", "shifts"}})
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
            events.append(stamped(made, new_ids(len(made))))
        await writer.write(role, writer.batches(role, chain.from_iterable(events)))
    exporter.reached(at)


def _last(rows: Values) -> Values:
    return {name: values[-1:] for name, values in rows.items()}


def _last_rows(rows: Values, end: int) -> Values:
    """What a window holds: the rows of the cycle before `end`, and then the last one of all."""
    taken = [position % len(rows["prediction"]) for position in range(end - WINDOW + 1, end)]
    return {name: values[[*taken, -1]] for name, values in rows.items()}


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
    given.output.with_suffix(".md").write_text(markdown(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
