"""The simulations: driftless streams of every pattern, shifts of every size, and the figures that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.detection.detectors import ALPHA, DETECTORS, TUNED, Detector, Scores, after, scores
from bench.detection.scores import STEP, early_warnings, step_counts, windows
from bench.detection.traffic import (
    PATTERNS,
    SHAPES,
    SHIFTS,
    Chance,
    ReferenceColumn,
    Shift,
    independent,
    reference_column,
)
from exporter.statistics.divergence import Floats, psi_by_column
from exporter.statistics.significance import levels, pvalue_by_column, significant

Say: TypeAlias = Callable[[str], None]

SETTLED: Final = 1_400
"""Requests before a shift: a full window, and the early warning's history."""
THRESHOLDS: Final = (0.1, 0.2, 0.35)
NEVER: Final = -1.0


class Effort(msgspec.Struct, frozen=True):
    """How much is simulated."""

    requests: int = 100_000
    """Of each driftless stream, which has 20 columns: five of each shape."""
    streams: int = 8
    """Independent ones; of the other patterns a quarter."""
    seeds: int = 120
    """Columns for each shift, each with its own reference."""
    shifted: int = 4_000
    """Requests after a shift."""
    million: int = 1_000_000
    """Requests of the long driftless run."""
    full: int = 1_000
    """Full windows after a shift, of each kind and size."""


class FalseAlarms(msgspec.Struct, frozen=True):
    """Of one detector on driftless streams of one pattern."""

    pattern: str
    detector: str
    columns: int
    ever: float
    """The share of columns that alarmed at least once."""
    alarms: float
    """Times that a column began to alarm, in 100,000 requests of 20 columns."""


class Delay(msgspec.Struct, frozen=True):
    """Requests until one detector alarms after one shift; -1 stands for later than was looked."""

    shape: str
    shift: str
    detector: str
    tuned: bool
    """With the threshold that makes false alarms equal, else with its own."""
    threshold: float
    median: float
    ninth_decile: float


class Driftless(msgspec.Struct, frozen=True):
    """The long run without drift: 50 columns, 20 tenants beside the whole model."""

    requests: int
    columns: int
    tenants: int
    window: int
    comparisons: int
    """Evaluations of a column."""
    moderate: int
    large: int
    """Columns of a window that were ever at that level."""
    highest_significant_psi: float
    warned: int
    """Columns that the early warning ever warned of; it looks at the whole model alone."""
    highest_warning: float


class FullWindow(msgspec.Struct, frozen=True):
    """Share of seeds in which a full window after a shift is at *large*, one column of 20."""

    shape: str
    shift: str
    window: int
    seeds: int
    large: float


def driftless_streams(effort: Effort, say: Say) -> tuple[list[FalseAlarms], dict[str, dict[str, float]]]:
    """False alarms by pattern; and by shape and detector the threshold at which no independent stream alarms."""
    alarms: list[FalseAlarms] = []
    thresholds: dict[str, dict[str, float]] = {}
    for number, (pattern, (live, rows)) in enumerate(PATTERNS.items()):
        streams = effort.streams if live is independent else max(1, effort.streams // 4)
        counted: dict[str, list[int]] = {detector.key: [] for detector in DETECTORS}
        for stream in range(streams):
            chance = np.random.default_rng([1, number, stream])
            shapes = [shape for shape in SHAPES.values() for _ in range(5)]
            columns = [reference_column(shape, chance, rows) for shape in shapes]
            values = [shape.values(live(chance, effort.requests)) for shape in shapes]
            told = scores(columns, values, pattern.startswith("batches"))
            for detector in DETECTORS:
                counted[detector.key] += [_begun(score, detector.threshold) for score in told[_score(detector)]]
            if live is independent:
                _raise_thresholds(thresholds, [shape.name for shape in shapes], told)
            say(f"driftless, {pattern}: stream {stream + 1} of {streams}")
        for key, times in counted.items():
            per = len(times) / 20 * effort.requests / 100_000
            alarms.append(FalseAlarms(pattern, key, len(times), sum(map(bool, times)) / len(times), sum(times) / per))
    return alarms, thresholds


def delays(effort: Effort, thresholds: dict[str, dict[str, float]], say: Say) -> Iterator[Delay]:
    """How long each shift goes unseen, by every detector as it comes and tuned."""
    for number, shift in enumerate(SHIFTS):
        told = _shifted(effort, shift, number)
        chosen = [(detector, False, detector.threshold) for detector in DETECTORS]
        chosen += [(detector, True, thresholds[shift.shape][detector.key]) for detector in TUNED]
        for detector, tuned, threshold in chosen:
            waits = [_wait(score, detector, threshold) for score in told[_score(detector)]]
            median, decile = np.quantile(waits, (0.5, 0.9), method="higher")
            yield Delay(
                shift.shape, shift.name, detector.key, tuned, threshold,
                *(NEVER if np.isinf(wait) else float(wait) for wait in (median, decile)),
            )  # fmt: skip
        say(f"shift: {shift.shape}, {shift.name}")


def full_windows(seeds: int) -> Iterator[FullWindow]:
    """One column of 20 shifted by half a standard deviation, with a window wholly after it."""
    wanted = {("normal", "mean + 0.5 sd"), ("log-normal", "log-mean + 0.5")}
    for number, shift in enumerate(each for each in SHIFTS if (each.shape, each.name) in wanted):
        shape = SHAPES[shift.shape]
        chance = np.random.default_rng([3, number])
        others = [reference_column(shape, chance, independent) for _ in range(19)]
        for window in (300, 1_000):
            reached = 0
            for _ in range(seeds):
                columns = [reference_column(shape, chance, independent), *others]
                live = [shift.values(independent(chance, window))]
                live += [shape.values(independent(chance, window)) for _ in others]
                counts = [
                    np.bincount(column.bins(values), minlength=len(column.counts))
                    for column, values in zip(columns, live, strict=True)
                ]
                starts = np.cumsum([0] + [len(each) for each in counts])[:-1]
                a, b = np.concatenate(counts), np.concatenate([column.counts for column in columns])
                told = significant(pvalue_by_column(a, b, starts), ALPHA)
                reached += int(levels(psi_by_column(a, b, starts), told, THRESHOLDS)[0] >= 2)
            yield FullWindow(shift.shape, shift.name, window, seeds, reached / seeds)


def long_driftless(effort: Effort, columns: int, tenants: int, say: Say) -> Iterator[Driftless]:
    """A million requests; each belongs to one tenant at random, and a window is looked at with every 20 of its own."""
    chance = np.random.default_rng(4)
    shapes = [list(SHAPES.values())[number % len(SHAPES)] for number in range(columns)]
    references = [reference_column(shape, chance, independent) for shape in shapes]
    tenant = chance.integers(tenants, size=effort.million)
    order = np.argsort(tenant, kind="stable")
    ends = np.cumsum(np.bincount(tenant, minlength=tenants))
    bins = np.empty((effort.million, columns), np.int16)
    for number, (shape, reference) in enumerate(zip(shapes, references, strict=True)):
        bins[:, number] = reference.bins(shape.values(independent(chance, effort.million)))
    warning = early_warnings(references, bins, columns).max(axis=0)
    say("long driftless run: early warning")
    parts = [bins, *(bins[part] for part in np.split(order, ends[:-1]))]
    for window in (300, 1_000):
        moderate = large = comparisons = 0
        highest = 0.0
        for part in parts:
            psi, told = _levels(part, references, window)
            reached = levels(psi, told, THRESHOLDS).max(axis=0, initial=0)
            moderate, large = moderate + int((reached >= 1).sum()), large + int((reached >= 2).sum())
            comparisons += psi.size
            highest = max(highest, float(np.where(told, psi, 0.0).max(initial=0.0)))
        yield Driftless(
            effort.million, columns, tenants, window, comparisons, moderate, large, highest,
            int((warning > 1).sum()), float(warning.max()),
        )  # fmt: skip
        say(f"long driftless run: windows of {window}")


def _levels(
    part: NDArray[np.int16], references: list[ReferenceColumn], window: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """PSI of each column after each step, and whether it is significant among all of them."""
    psi, pvalues = [], []
    for number, reference in enumerate(references):
        size = len(reference.counts)
        counts = windows(step_counts(part[:, number].astype(np.int64), size), window)
        a, b, starts = counts.ravel(), np.tile(reference.counts, len(counts)), np.arange(len(counts)) * size
        psi.append(psi_by_column(a, b, starts))
        pvalues.append(pvalue_by_column(a, b, starts))
    rows = np.stack(pvalues, axis=1)
    told = np.zeros(rows.shape, bool)
    for row in np.flatnonzero(rows.min(axis=1, initial=1.0) <= ALPHA):
        told[row] = significant(rows[row], ALPHA)
    return np.stack(psi, axis=1), told


def _shifted(effort: Effort, shift: Shift, number: int) -> Scores:
    """The scores of columns that shift after they had settled; from the first evaluation after the shift on."""
    shape = SHAPES[shift.shape]
    chance: Chance = np.random.default_rng([2, number])
    columns = [reference_column(shape, chance, independent) for _ in range(effort.seeds)]
    values = []
    for _ in columns:
        latent = independent(chance, SETTLED + effort.shifted)
        values.append(np.concatenate((shape.values(latent[:SETTLED]), shift.values(latent[SETTLED:]))))
    told = scores(columns, values, False)
    return {key: [after(each, key[1], SETTLED + STEP) for each in found] for key, found in told.items()}


def _score(detector: Detector) -> tuple[str, int]:
    return detector.score, detector.window


def _begun(score: Floats, threshold: float) -> int:
    """How often it began to be above the threshold."""
    above = score > threshold
    return int(above[0]) + int((above[1:] & ~above[:-1]).sum())


def _wait(score: Floats, detector: Detector, threshold: float) -> float:
    """Requests after the shift until the first alarm."""
    above = np.flatnonzero(score > threshold)
    return float((above[0] + 1) * STEP) if len(above) else float("inf")


def _raise_thresholds(thresholds: dict[str, dict[str, float]], shapes: list[str], told: Scores) -> None:
    for detector in TUNED:
        for shape, score in zip(shapes, told[_score(detector)], strict=True):
            found = thresholds.setdefault(shape, {})
            found[detector.key] = max(found.get(detector.key, 0.0), float(score.max()))
