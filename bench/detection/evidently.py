"""Evidently itself, in an environment of its own under `.cache/`: its values beside the formulas that stand for it.

Long streams are judged by the formulas, because a report of the package on each of some hundred thousand windows would
take days; this is what makes that fair.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from bench.detection.scores import evidently_default
from bench.detection.traffic import SHAPES, SHIFTS, independent, reference_column
from bench.processes import CHECKOUT
from tests.support.real_parts import LeftOutError, say

LOCK: Final = CHECKOUT / "bench" / "evidently.lock"
WINDOW: Final = 1_000
_ITSELF: Final = """
import json, sys
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

told = []
for case in json.load(sys.stdin):
    kind = "numerical_columns" if case["numeric"] else "categorical_columns"
    frames = [pd.DataFrame({"x": case[side] if case["numeric"] else [f"{v:g}" for v in case[side]]})
              for side in ("live", "reference")]
    definition = DataDefinition(**{kind: ["x"]})
    live, reference = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
    metrics = Report([DataDriftPreset()]).run(live, reference).dict()["metrics"]
    told.append(next(float(each["value"]) for each in metrics if each["metric_name"].startswith("ValueDrift")))
json.dump(told, sys.stdout)
"""


def version() -> str:
    """Of the package that the lock names."""
    found = re.search(r"^evidently==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert found is not None, "the lock names it"
    return found[1]


def interpreter() -> Path:
    """Of the environment in which it is installed; makes that if need be. Raises LeftOutError where pip cannot."""
    folder = CHECKOUT / ".cache" / f"evidently-{version()}"
    if (folder / "whole").exists():
        return folder / "bin" / "python"
    say(f"Evidently {version()}: fetching it and what it needs (about 250 MB) …")
    done = subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], capture_output=True, check=False)
    if done.returncode == 0:
        wanted = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK))
        pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--quiet")
        done = subprocess.run([*pip, *wanted], capture_output=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise LeftOutError(f"pip could not install {LOCK.name}: {said[:240]}")
    (folder / "whole").touch()
    return folder / "bin" / "python"


def difference() -> float:
    """The largest difference between a value of the package and that of the formula, by the latter's threshold of 0.1.

    Over a window of each shape without a shift and of each shift.
    """
    chance = np.random.default_rng(5)
    cases, formulas = [], []
    changes = [
        *((shape.name, shape.values) for shape in SHAPES.values()),
        *((each.shape, each.values) for each in SHIFTS),
    ]
    for shape, change in changes:
        column = reference_column(SHAPES[shape], chance, independent)
        live = change(independent(chance, WINDOW))
        detector = evidently_default(column)
        formulas.append(float(detector.scores(live, WINDOW)[0]))
        cases.append({"numeric": column.shape.numeric, "live": live.tolist(), "reference": column.values.tolist()})
    with tempfile.TemporaryDirectory() as home:
        # It reports its use to its makers unless it is told not to.
        environment = {**os.environ, "DO_NOT_TRACK": "1", "HOME": home}
        done = subprocess.run(
            [str(interpreter()), "-c", _ITSELF],
            input=json.dumps(cases),
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
    values = json.loads(done.stdout)
    return float(np.max(np.abs(np.array(values) - formulas)) / 0.1)
