"""The early warning: exactly the sequence that is written down, however batches are cut."""

import doctest
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.statistics import sequential
from exporter.windows.early_warning import EarlyWarning
from exporter.windows.measured import measured_models
from exporter.windows.models import ModelState
from exporter.windows.window import Layout
from reference.binning import absent_cell, invalid_cell, missing_cell
from tests.exporter.making import event, model, profile

SIZES = (12, 4, 1)
REFERENCE = (
    np.array([500, 1_200, 900, 900, 900, 900, 900, 900, 900, 900, 600, 500]),
    np.array([7_000, 2_000, 990, 10]),
    np.array([10_000]),
)


def warning():
    """Of three columns: twelve bins, four, one."""
    return EarlyWarning(Layout(SIZES), np.concatenate(REFERENCE))


def stream(rows, seed, gaps=0.0, shifted=None):
    """Cells as the reference has them, some of them without a bin; from `shifted` on in the upper bins alone."""
    chance = np.random.default_rng(seed)
    columns = []
    for size, counts in zip(SIZES, REFERENCE, strict=True):
        cells = chance.choice(size, rows, p=counts / counts.sum())
        if shifted is not None:
            cells[shifted:] = np.maximum(cells[shifted:], size // 2)
        cells += size * (chance.random(rows) < 0.1)  # seen by the window as out of range, and in the same bin
        nothing = chance.random(rows) < gaps
        cells[nothing] = chance.choice([missing_cell(size), invalid_cell(size), absent_cell(size)], nothing.sum())
        columns.append(cells)
    return np.stack(columns, axis=1).astype(np.int16)


def sums_as_written(cells, size, counts):
    """S after each instance of one column, by the formula, one instance after the other."""
    m = counts.sum()
    q = (counts + 0.5) / (m + size / 2)
    k = 0.01 + 2 * (size - 1) / m
    valid = [int(cell) % size for cell in cells if cell < 2 * size]
    total, told = 0.0, []
    for number, bin_ in enumerate(valid):
        end = number // 10 * 10
        before = valid[max(0, end - 400) : end]
        p = (before.count(bin_) + 50 * q[bin_]) / (len(before) + 50)
        total = max(0.0, total + math.log(p / q[bin_]) - k)
        told.append(total)
    return told


@pytest.mark.parametrize("gaps", [0.0, 0.3], ids=["every value valid", "gaps"])
def test_it_is_the_sequence_of_the_formula(gaps):
    """Without drift and with it, in each column by itself."""
    cells = stream(1_500, 3, gaps, shifted=900)
    limit = math.log(1e6 * len(SIZES))
    told = warning()
    for end in (1, 9, 10, 250, 899, 905, 1_500):
        told = warning()
        told.add(cells[:end])
        expected = [
            (sums_as_written(cells[:end, column], SIZES[column], REFERENCE[column]) or [0.0])[-1] / limit
            for column in range(len(SIZES))
        ]
        assert told.ratios() == pytest.approx(expected, abs=1e-8)
    assert told.ratios()[0] > 1
    assert told.ratios()[2] == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 1_200), max_size=12), st.integers(0, 2**16), st.sampled_from([0.0, 0.2, 0.9]))
def test_how_a_poll_cuts_the_stream_changes_nothing(lengths, seed, gaps):
    """Not almost nothing: the same bits."""
    cells = stream(sum(lengths), seed, gaps, shifted=300)
    whole, cut = warning(), warning()
    whole.add(cells)
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        cut.add(cells[end - length : end])
    assert whole.ratios().tolist() == cut.ratios().tolist()
    assert whole.kept() == cut.kept()


@settings(deadline=None)
@given(st.integers(0, 1_500), st.integers(0, 2**16), st.sampled_from([0.0, 0.2]))
def test_restored_and_continued_equals_uninterrupted(interrupted, seed, gaps):
    """At any instance, within a block as well."""
    cells = stream(1_500, seed, gaps, shifted=1_000)
    uninterrupted, before, after = warning(), warning(), warning()
    uninterrupted.add(cells)
    before.add(cells[:interrupted])
    after.restore(before.kept())
    assert after.ratios().tolist() == before.ratios().tolist()
    after.add(cells[interrupted:])
    assert after.ratios().tolist() == uninterrupted.ratios().tolist()
    assert after.kept() == uninterrupted.kept()


def test_a_column_that_is_restarted_forgets_what_it_had_seen():
    """As if its first instance came now; the others go on."""
    cells = stream(2_000, 5, 0.1, shifted=500)
    told, fresh = warning(), warning()
    told.add(cells[:1_234])
    others = told.ratios()[1]
    told.restart(0)
    assert told.ratios().tolist()[:2] == [0.0, others]
    told.add(cells[1_234:])
    fresh.add(cells[1_234:])
    assert told.ratios()[0] == fresh.ratios()[0] > 0


def test_drift_is_told_and_a_driftless_stream_is_not():
    """20,000 instances without drift stay below the limit; half of the bins gone is seen within 200."""
    told = warning()
    told.add(stream(20_000, 11))
    assert told.ratios().max() < 0.8
    told.add(stream(200, 12, shifted=0))
    assert told.ratios()[0] > 1


def test_nothing_to_look_at_is_defined():
    """No instance, no valid value, and no column at all."""
    told = warning()
    told.add(stream(0, 1))
    assert told.ratios().tolist() == [0.0] * 3
    told.add(np.array([[missing_cell(size) for size in SIZES]] * 30, np.int16))
    assert told.ratios().tolist() == [0.0] * 3
    none = EarlyWarning(Layout([]), np.empty(0, np.int64))
    none.add(np.empty((5, 0), np.int16))
    assert none.ratios().tolist() == []
    none.restore(none.kept())


def fraud():
    """The state of a model with a feature of either kind and a prediction."""
    (measured,) = measured_models([model()], [profile()])
    return ModelState(measured)


def drifting(rows, seed):
    """Events of production whose amount has moved; for a window and a little more from another version."""
    chance = np.random.default_rng(seed)
    amounts, scores = chance.normal(1.5, 1, rows), chance.random(rows) ** 3
    versions = ["v1" if 100 <= row < 220 else "v2" for row in range(rows)]
    return [
        event({"amount": amount, "country": "DE"}, prediction=score, version=version)
        for amount, score, version in zip(amounts.tolist(), scores.tolist(), versions, strict=True)
    ]


@pytest.mark.parametrize("slice_", [1, 7, 250, 400])
def test_events_of_a_model_reach_it_however_they_are_sliced(slice_):
    """Features go on over a switch of versions, the prediction begins anew."""
    events = drifting(400, 3)
    whole, sliced, since = fraud(), fraud(), fraud()
    for one in events:
        whole.take(one)
    whole.flush()
    for number, one in enumerate(events):
        sliced.take(one)
        if number % slice_ == 0:
            sliced.flush()
    sliced.flush()
    for one in events[220:]:
        since.take(one)
    since.flush()
    assert sliced.early_warning.kept() == whole.early_warning.kept()
    amount, country, prediction = whole.early_warning.ratios()
    assert amount > 1
    assert country > 1
    assert prediction == since.early_warning.ratios()[2] > 0


def test_the_shadow_and_what_was_never_answered_do_not_reach_it():
    """It looks at what production has served."""
    state = fraud()
    for one in drifting(400, 4):
        state.take(msgspec.structs.replace(one, role="shadow"))
        state.take(msgspec.structs.replace(one, outcome="error", id=f"error-{one.id}"))
    state.flush()
    assert state.early_warning.ratios().tolist() == [0.0] * 3


def test_the_examples_in_the_docstrings_hold():
    """They are documentation too."""
    assert doctest.testmod(sequential).failed == 0
