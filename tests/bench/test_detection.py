"""The comparison scores as product and peers do, and what is published follows from the run."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from bench.detection.measuring import full_windows
from bench.detection.report import BEGIN, load, svg, tables
from bench.detection.scores import STEP, effects, evidently_default, psi_and_surprise, step_counts, windows
from bench.detection.traffic import PATTERNS, SHAPES, SHIFTS, independent, reference_column
from bench.pages import into
from exporter.statistics.batches import design_effect, spread_by_column
from exporter.statistics.divergence import psi
from exporter.statistics.significance import merged_groups

ROOT = Path(__file__).parents[2]
SIZE = 300


def drawn(shape, seed=1):
    """A column, and 500 driftless values of it."""
    chance = np.random.default_rng(seed)
    column = reference_column(SHAPES[shape], chance, independent)
    return column, SHAPES[shape].values(independent(chance, 500))


@pytest.mark.parametrize("shape", SHAPES)
def test_windows_out_of_steps_are_windows_counted_anew(shape):
    """Every one of them, and with the exporter's PSI."""
    column, values = drawn(shape)
    bins = column.bins(values)
    found = windows(step_counts(bins, len(column.counts)), SIZE)
    scores, _ = psi_and_surprise(found, column, None)
    assert len(found) == (500 - SIZE) // STEP + 1
    for number, counts in enumerate(found):
        own = np.bincount(bins[number * STEP : number * STEP + SIZE], minlength=len(column.counts))
        assert (counts == own).all()
        assert scores[number] == pytest.approx(psi(own, column.counts))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_formulas_of_evidently_are_scipys(shape):
    """To a tenth of the threshold at least, for heavy tails; the run compares with the package as well."""
    column, values = drawn(shape)
    found = evidently_default(column).scores(values, SIZE)
    for number in (0, len(found) - 1):
        live = values[number * STEP : number * STEP + SIZE]
        if column.shape.numeric:
            told = wasserstein_distance(column.values, live) / np.std(column.values)
            assert found[number] == pytest.approx(told, abs=0.01)
        else:
            p, q = (np.bincount(side.astype(int), minlength=30) for side in (live, column.values))
            assert found[number] == pytest.approx(jensenshannon(p, q))


def test_the_effects_of_windows_are_those_of_each_by_itself():
    """Worked out two hundred windows at once."""
    column, values = drawn("normal")
    bins = column.bins(values)
    found = effects(bins, column, SIZE)
    for number in (0, len(found) - 1):
        inside = bins[number * STEP : number * STEP + SIZE]
        groups = merged_groups(np.bincount(inside, minlength=len(column.counts)), column.counts, np.array([0]))
        spread = spread_by_column(inside[:, None], np.arange(SIZE) // 10, groups)
        assert found[number] == pytest.approx(design_effect(SIZE, 10_000, spread)[0])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_pattern_changes_what_values_come(pattern):
    """In the long run they are the reference's, or it would be drift."""
    chance = np.random.default_rng(3)
    live, rows = (draw(chance, 200_000) for draw in PATTERNS[pattern])
    for numbers in (live, rows):
        assert np.mean(numbers) == pytest.approx(0, abs=0.03)
        assert np.std(numbers) == pytest.approx(1, abs=0.03)


def test_every_shift_is_one_of_a_shape_that_is_measured():
    """And has a name of its own there."""
    assert {shift.shape for shift in SHIFTS} == set(SHAPES)
    assert len({(shift.shape, shift.name) for shift in SHIFTS}) == len(SHIFTS)


def test_a_full_window_of_a_thousand_shifted_by_half_a_deviation_is_large():
    """In nine of ten seeds; the run takes a thousand of them."""
    assert all(found.large >= 0.85 for found in full_windows(60) if found.window == 1_000)


def test_what_is_published_follows_from_what_was_measured():
    """Tables and picture are made of the committed results, and say what the product promises."""
    found = load(ROOT / "bench" / "results" / "detection.json")
    page = (ROOT / "docs" / "statistics.md").read_text()
    assert into(page, BEGIN, tables(found)) == page
    assert tables(found) in (ROOT / "bench" / "results" / "detection.md").read_text()
    assert svg(found) == (ROOT / "docs" / "pictures" / "detection.svg").read_text()
    assert [run.large for run in found.driftless] == [0, 0]
    assert [run.moderate for run in found.driftless] == [0, 0]
    assert [run.warned for run in found.driftless] == [0, 0]
    assert all(full.large >= 0.9 for full in found.full_windows if full.window == 1_000)
    waits = {each.shift: each.median for each in found.delays if each.detector == "early warning" and not each.tuned}
    assert waits["mean + 0.5 sd"] <= 400
    assert waits["mean + 1 sd"] <= 160
