"""How soon slang is seen in tickets, and whether anything is where there is none: seeds 1 to 20, in this process.

`make bench-slang`. Per seed: 12,000 training tickets and their profile by the code of `shadowdrift profile`; then 3,000
tickets as before and 1,000 (one window) of which six in ten are slang; and again 4,000 without any. Each goes through
the emitter's code (texts told of, strings hidden) and the exporter's (windows of 1,000, gauges read every 50 requests).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from configuration import Target, Window
from configuration.model import Model
from demo.classifier import Classifier
from demo.desk import TRAINING_ROWS
from demo.grammar import SLANG_SHARE, Tickets, accuracy, tickets
from demo.readings import Reading, parse
from demo.slang import RATIO
from events.codec import decode_inference, encode
from events.headers import inference_headers
from events.ids import new_id
from events.inference import InferenceEvent, Instance
from exporter.reading.intake import Intake
from exporter.showing.collect import Collector
from exporter.windows.measured import measured_models
from exporter.windows.models import ModelState
from privacy.keys import Keys
from proxy.emitter.pseudonym import Pseudonymiser
from reference.draft import Draft
from reference.profile import Binning, Profile

RESULTS: Final = Path(__file__).parent / "results" / "slang.json"
KEYS: Final = Keys("k1", "5e" * 32)
BEFORE, WINDOW, EVERY = 3_000, 1_000, 50


class Bench:
    """One model's emitter and exporter."""

    def __init__(self, profile: Profile, classifier: Classifier) -> None:
        model = Model(
            name="tickets", targets={"v2": Target("http://127.0.0.1:1")}, production="v2", window=Window(WINDOW)
        )
        self._classifier = classifier
        self._hiding = Pseudonymiser(KEYS, profile)
        (measured,) = measured_models([model], [profile])
        self._intake = Intake([measured], lambda _: True)
        self._intake.place(1)
        self._intake.own(ModelState(measured))
        self._scrapes = 0
        self._offset = 0
        self._collector = Collector(self._intake, self, self._clock, lambda: 1.79e9)
        self.obstacle = None

    def lag(self) -> dict[tuple[str, int], int]:
        """Nothing waits."""
        return {}

    def certain(self) -> bool:
        """Nobody else measures."""
        return True

    def _clock(self) -> float:
        return 10.0 * self._scrapes

    def run(self, sent: Tickets) -> Iterator[tuple[int, Reading]]:
        """Send tickets; the gauges every 50 requests."""
        records = []
        for number, row in enumerate(sent.rows, 1):
            prediction = self._classifier.answer(row)
            event = InferenceEvent(
                id=new_id(), role="production", model="tickets", version="v2", time=1.79e9 + self._offset,
                outcome="ok", instances=[Instance(dict(row), prediction)],
            )  # fmt: skip
            self._hiding.apply(event)
            decode_inference(encode(event))
            records.append(_Record(encode(event), tuple(inference_headers(event)), self._offset))
            self._offset += 1
            if number % EVERY == 0:
                self._intake.take(records, 0, 0, 3600.0)
                records = []
                self._scrapes += 1
                yield number, parse(self._collector.metrics().decode())


class _Record:
    topic, partition, key = "inference.production", 0, b"tickets"

    def __init__(self, value: bytes, headers: tuple[tuple[str, bytes], ...], offset: int) -> None:
        self.value, self.headers, self.offset = value, headers, offset


def large(reading: Reading) -> set[str]:
    """The columns whose level is large."""
    found = reading.select("drift_feature_drifted", tenant="_all", against="reference", level="large")
    return {labels["feature"] for labels, value in found if value}


def seed_of(seed: int) -> dict[str, Any]:
    """One seed's figures."""
    known = tickets(TRAINING_ROWS, 2 * seed)
    classifier = Classifier("v2", known.notes, known.truths)
    draft = Draft("tickets", {})
    draft.add_rows([{**row, "prediction": classifier.answer(row)} for row in known.rows])
    profile = draft.finished(Binning()).profile
    seen: int | None = None
    alarms: list[str] = []
    with_slang = Bench(profile, classifier)
    for _, reading in with_slang.run(tickets(BEFORE, 10_000 + seed)):
        alarms += sorted(large(reading))
    written = tickets(WINDOW, 20_000 + seed, slang=SLANG_SHARE)
    for number, reading in with_slang.run(written):
        if RATIO in large(reading):
            seen = number
            break
    for _, reading in Bench(profile, classifier).run(tickets(BEFORE + WINDOW, 30_000 + seed)):
        alarms += sorted(large(reading))
    fresh = tickets(WINDOW, 40_000 + seed)
    return {
        "seed": seed,
        "seen_after_requests": seen,
        "alarms_without_slang": len(alarms),
        "accuracy": round(accuracy([classifier.predict(note) for note in fresh.notes], fresh.truths), 4),
        "accuracy_in_slang": round(accuracy([classifier.predict(note) for note in written.notes], written.truths), 4),
    }


def main() -> int:
    """Exit code 0 when slang was seen within a window for every seed, and nothing where there was none."""
    parser = argparse.ArgumentParser(prog="bench.slang", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs=2, default=(1, 20), metavar=("FIRST", "LAST"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    first, last = given.seeds
    rows = []
    for seed in range(first, last + 1):
        rows.append(seed_of(seed))
        sys.stdout.write(json.dumps(rows[-1]) + "\n")
        sys.stdout.flush()
    seen = [row["seen_after_requests"] for row in rows if row["seen_after_requests"] is not None]
    results = {
        "seeds": len(rows),
        "seen_within_a_window": len(seen),
        "seen_after_requests": {"median": statistics.median(seen), "most": max(seen)} if seen else None,
        "alarms_without_slang": sum(row["alarms_without_slang"] for row in rows),
        "rows": rows,
    }
    given.output.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(json.dumps({name: value for name, value in results.items() if name != "rows"}) + "\n")
    return 0 if len(seen) == len(rows) and not results["alarms_without_slang"] else 1


if __name__ == "__main__":
    sys.exit(main())
