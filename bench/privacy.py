"""What hiding costs the emitter, and what a schema costs a worker: CPU of one call, in this process.

`make bench-privacy`. An event has 20 features, 5 of them strings. `usual`: two that the reference lists, three whose
values come again (a stream of 2,000 customers); `every string new`: none was ever seen before, the worst there is;
`ruled`: a rule for each string and two numbers. Rows are made anew for each call, outside of what is measured. A
schema of the same 20 features checks the body of a request, reading it included. The figure is the median of the
rounds, with its extremes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from configuration import Bucket, FieldSchema, Privacy, Schema
from configuration.model import Model
from configuration.reading import convert
from events.inference import InferenceEvent, Instance
from privacy.keys import Keys
from proxy.emitter.pseudonym import Pseudonymiser
from proxy.http.request import RequestHead
from proxy.layout import Layout
from proxy.routing.gate import Gate
from reference.columns import column_of
from reference.profile import Binning, Profile

RESULTS = Path(__file__).parent / "results" / "privacy.json"
NUMBERS: Final = [f"amount_{index}" for index in range(15)]
STRINGS: Final = ["country", "channel", "customer", "merchant", "device"]
KEYS: Final = Keys("k1", "5e" * 32)
RULES: Final = Privacy(
    fields={"customer": "hash", "merchant": "drop", "device": "hash", "amount_0": Bucket(10), "amount_1": "hash"}
)


def profile() -> Profile:
    """A reference that lists countries and channels."""
    columns: dict[str, Any] = {name: column_of([0.5, 1.5, 2.5] * 30, Binning()) for name in NUMBERS}
    columns["country"] = column_of(["DE", "FR", "IT"] * 30, Binning())
    columns["channel"] = column_of(["web", "app"] * 30, Binning())
    return Profile(1, 90, Binning(), columns)


def rows(count: int, *, new: bool) -> list[dict[str, Any]]:
    """So many rows, decoded from JSON as the emitter does."""
    source = random.Random(7)
    made = []
    for number in range(count):
        row: dict[str, Any] = {name: round(source.uniform(0, 100), 3) for name in NUMBERS}
        row |= {"country": source.choice(["DE", "FR", "IT"]), "channel": source.choice(["web", "app"])}
        row |= {name: f"{name}-{source.randrange(2000):05}" for name in STRINGS[2:]}
        if new:
            row |= {name: f"{name}-{number:09}" for name in STRINGS}
        made.append(row)
    decode = msgspec.json.Decoder(dict[str, str | float | int | bool | None]).decode
    return [decode(json.dumps(row)) for row in made]


def events(count: int, *, new: bool) -> list[InferenceEvent]:
    """An event of each."""
    return [
        InferenceEvent(
            id=f"id-{number}", request_id=f"r-{number}", role="production", model="m", version="v", time=1.0,
            outcome="ok", instances=[Instance(row)],
        )
        for number, row in enumerate(rows(count, new=new))
    ]  # fmt: skip


def hiding(count: int, *, new: bool = False, privacy: Privacy | None = None) -> float:
    """Seconds of CPU an event."""
    pseudonymiser = Pseudonymiser(KEYS, profile(), privacy)
    for event in events(4000, new=False):
        pseudonymiser.apply(event)
    return _seconds(pseudonymiser.apply, events(count, new=new))


def checking(count: int) -> float:
    """Seconds of CPU a request whose 20 features fit."""
    fields = {name: FieldSchema("number", True, 0, 100) for name in NUMBERS}
    fields |= {name: FieldSchema("string", True, max_length=40) for name in STRINGS[1:]}
    fields["country"] = FieldSchema("string", True, categories=("DE", "FR", "IT"))
    targets = {"v1": {"url": "http://127.0.0.1:1"}}
    schema = {"mode": "reject", "fields": {"x": {"type": "number"}}}
    document = {
        "kafka": "embedded", "models": [{"name": "m", "targets": targets, "production": "v1", "schema": schema}],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        configuration = convert(document, Path(folder), "bench")
    layout = Layout(configuration)
    made: Model = configuration.models[0]
    gate = Gate(made.name, Schema("reject", None, fields), 2**20, layout)
    head = RequestHead(b"POST", b"/", b"", [], [], length=400)
    bodies = [json.dumps(row).encode() for row in rows(count, new=False)]

    def check(body: bytes) -> None:
        assert gate.refusal(head, body, None) is None  # type: ignore[arg-type] # counts only what is not checked

    return _seconds(check, bodies)


def _seconds(call: Callable[[Any], None], given: Iterable[Any]) -> float:
    given = list(given)
    began = time.process_time()
    for each in given:
        call(each)
    return (time.process_time() - began) / len(given)


CASES: Final[dict[str, Callable[[int], float]]] = {
    "hide an event, usual": hiding,
    "hide an event, ruled": lambda count: hiding(count, privacy=RULES),
    "hide an event, every string new": lambda count: hiding(count, new=True),
    "check a request": checking,
}


def main() -> int:
    """Run it, print a table, write the results."""
    parser = argparse.ArgumentParser(prog="bench.privacy", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="calls a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: bench/results/privacy.json")
    given = parser.parse_args()
    seen: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(given.rounds):
        for name, case in CASES.items():
            seen[name].append(case(given.count) * 1e6)
    results = {}
    for name, values in seen.items():
        middle = {"median": statistics.median(values), "least": min(values), "most": max(values)}
        results[name] = {key: round(value, 2) for key, value in middle.items()}
        sys.stdout.write(
            f"{name:<32} {results[name]['median']:>6.2f} us of CPU ({min(values):.2f} to {max(values):.2f})\n"
        )
    setting = {"features": 20, "strings": 5, "count": given.count, "rounds": given.rounds, "cores": os.cpu_count()}
    setting |= {"python": platform.python_version(), "machine": platform.machine()}
    given.output.write_text(json.dumps({"microseconds": results, "setting": setting}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
