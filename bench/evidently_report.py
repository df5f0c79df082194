"""Evidently's report on two tables, run by the interpreter that has Evidently: it imports nothing of ours.

`python bench/evidently_report.py reference.csv current.csv rounds` prints one JSON document: by method the value of
each column, and the seconds of CPU and of the clock that each round took, tables read beforehand.
"""

from __future__ import annotations

import json
import re
import sys
import time
from importlib.metadata import version

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main() -> None:
    """All methods, a round that is not counted first."""
    reference, current = pd.read_csv(sys.argv[1]), pd.read_csv(sys.argv[2])
    texts = [name for name in reference if name.startswith("category")]
    definition = DataDefinition(
        numerical_columns=[name for name in reference if name not in texts], categorical_columns=texts
    )
    found: dict[str, object] = {"version": version("evidently")}
    for method in ("psi", "jensenshannon"):
        seconds, cpu, values = [], [], {}
        for _ in range(int(sys.argv[3]) + 1):
            at, used = time.perf_counter(), time.process_time()
            datasets = [Dataset.from_pandas(each, definition) for each in (current, reference)]
            answer = Report([DataDriftPreset(method=method)]).run(*datasets).dict()
            seconds.append(time.perf_counter() - at)
            cpu.append(time.process_time() - used)
            for metric in answer["metrics"]:
                column = re.search(r"ValueDrift\(column=([^,]+),", metric["metric_name"])
                if column:
                    values[column[1]] = float(metric["value"])
        found[method] = {"values": values, "seconds": seconds[1:], "cpu_seconds": cpu[1:]}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
