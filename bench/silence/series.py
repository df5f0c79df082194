"""What Prometheus would have scraped, kept as the few series that the shipped rules read, in promtool's notation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml

from tests.support.prometheus import CONFIGURATION, RULES

INTERVAL: Final[int] = int(yaml.safe_load(CONFIGURATION.read_text())["global"]["scrape_interval"].removesuffix("s"))
"""Seconds between two scrapes, as shipped; evaluations are as far apart."""

_PEAKS: Final = (
    "drift_psi{",
    "drift_features_drifted{",
    "drift_early_warning_ratio{",
    "drift_disagreement_ratio_lower{",
)
_GONE: Final = "stale"


def read_by_rules() -> frozenset[str]:
    """Every name in an expression of the shipped rules: those of families among them."""
    rules = [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    return frozenset(name for rule in rules for name in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", str(rule["expr"])))


class _Series:
    __slots__ = ("job", "runs", "since", "text", "value")

    def __init__(self, job: str, text: str, number: int) -> None:
        self.job, self.text = job, text
        self.runs = [f"_x{number}"] if number else []
        self.value, self.since = "", number

    def change(self, value: str, number: int) -> None:
        """It has this value from scrape `number` on."""
        length = number - self.since
        if length:
            self.runs.append(self._run(length))
        self.value, self.since = value, number

    def _run(self, length: int) -> str:
        if self.value == _GONE:
            return f"{_GONE} _x{length - 1}" if length > 1 else _GONE
        return f"{self.value}x{length - 1}" if length > 1 else self.value

    def told(self, scrapes: int) -> str:
        """Of so many scrapes, for promtool."""
        return " ".join((*self.runs, self._run(scrapes - self.since)))


class Kept:
    """Scrapes one after the other; the number of each is counted from 0."""

    def __init__(self, interval: int = INTERVAL) -> None:
        """`interval`: seconds from one to the next."""
        self.interval: Final = interval
        self._wanted = read_by_rules()
        self._known: dict[tuple[str, str], _Series | None] = {}
        self._live: dict[str, int] = {}
        """By job, how many of its series the last scrape had."""
        self.scrapes = 0
        self.peaks: dict[str, float] = {}
        """The greatest value of each series of a few families, and of what compares with the reference alone."""

    def __len__(self) -> int:
        return sum(series is not None for series in self._known.values())

    def scrape(self, job: str, text: bytes, *, peaks: bool = False) -> None:
        """Keep a whole exposition; what it has no more is stale. `peaks`: whether its values are worth comparing."""
        number, live = self.scrapes, 0
        for line in text.decode().split("\n"):
            if not line or line[0] == "#":
                continue
            name, _, value = line.rpartition(" ")
            if peaks and line.startswith(_PEAKS):
                self._raise(name, float(value))
            series = self._series(job, name)
            if series is not None:
                live += 1
                if series.value != value:
                    series.change(value, number)
        if live < self._live.get(job, 0):
            self._end(job, text)
        self._live[job] = live

    def change(self, job: str, changed: Iterable[tuple[str, float]]) -> None:
        """Keep what has changed since the scrape before; all else of the job stays as it was."""
        for name, number in changed:
            series, value = self._series(job, name), repr(number)
            if series is not None and series.value != value:
                series.change(value, self.scrapes)

    def next(self) -> None:
        """All jobs have been scraped once more."""
        self.scrapes += 1

    def _series(self, job: str, name: str) -> _Series | None:
        key = (job, name)
        if key not in self._known:
            wanted = name.partition("{")[0] in self._wanted
            self._known[key] = _Series(job, name, self.scrapes) if wanted else None
        return self._known[key]

    def _end(self, job: str, text: bytes) -> None:
        there = {line.rpartition(" ")[0] for line in text.decode().split("\n")}
        for (of, name), series in self._known.items():
            if of == job and series is not None and name not in there and series.value != _GONE:
                series.change(_GONE, self.scrapes)

    def _raise(self, name: str, value: float) -> None:
        if 'against="shadow"' in name:
            return
        if value > self.peaks.get(name, float("-inf")):
            self.peaks[name] = value

    def told(self) -> Iterator[dict[str, Any]]:
        """The input of a promtool test: job and instance stand in each series, as a scrape adds them."""
        for series in self._known.values():
            if series is not None:
                family, _, labels = series.text.rstrip("}").partition("{")
                inside = ", ".join(filter(None, (f'job="{series.job}", instance="{series.job}:1"', labels)))
                yield {"series": f"{family}{{{inside}}}", "values": series.told(self.scrapes)}
