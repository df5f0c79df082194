"""Evidently's report on the windows that a running exporter holds, beside a fresh scrape of them."""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.backlog import Values
from bench.detection.evidently import interpreter
from bench.measured import AGED_SECONDS, Exporter
from bench.processes import CHECKOUT


def beside_evidently(
    folder: Path, exporter: Exporter, reference: Values, window: Values, rounds: int, shifts: Mapping[str, float]
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
        "shifts": dict(shifts),
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
    return found


def _write_csv(file: Path, rows: Values) -> None:
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(rows)
        writer.writerows(zip(*(values.tolist() for values in rows.values()), strict=True))
