"""Without drift a p-value is below 0.05 in 5 % of windows: over shapes, each window with its own draw of the reference.

`make calibration` runs the same with 20,000 windows of 1,000 instances against references of 10,000 rows.
"""

import os
from collections import Counter

import numpy as np
import pytest

from exporter.statistics.batches import design_effect, spread_by_column
from exporter.statistics.divergence import psi_by_column
from exporter.statistics.significance import critical_by_column, merged_groups, pvalue_by_column
from reference.columns import bin_index, categorical_column, numeric_column
from reference.profile import Binning

WINDOWS = int(os.environ.get("SHADOWDRIFT_CALIBRATION_WINDOWS", "2000"))
SIZE = 1_000 if WINDOWS > 2_000 else 300
ROWS = 10 * SIZE

ZIPF = 1 / np.arange(1, 201) ** 1.1

NUMERIC = {
    "normal": lambda chance, rows: chance.normal(size=rows),
    "uniform": lambda chance, rows: chance.random(rows),
    "log-normal": lambda chance, rows: chance.lognormal(0, 1, rows),
    "heavy tails": lambda chance, rows: chance.standard_t(2, rows),
    "ties": lambda chance, rows: np.round(chance.normal(size=rows) * 2) / 2,
    "mostly zero": lambda chance, rows: chance.exponential(size=rows) * (chance.random(rows) < 0.4),
    "two peaks": lambda chance, rows: chance.normal(size=rows) + 6 * (chance.random(rows) < 0.3),
}
CATEGORIES = {
    "two categories": [0.7, 0.3],
    "few categories": [0.5, 0.25, 0.15, 0.07, 0.03],
    "many categories": ZIPF / ZIPF.sum(),
    "forty like ones": np.full(40, 1 / 40),
}
SCHEMES = {"equal width": Binning(), "quantile": Binning(binning="quantile")}
CASES = [(shape, scheme) for shape in NUMERIC for scheme in SCHEMES] + [(shape, "") for shape in CATEGORIES]


def numeric_counts(chance, shape, scheme):
    """The bin counts of a window and of the reference that made the bins."""
    values = NUMERIC[shape](chance, ROWS)
    column = numeric_column(values, 0, 0, SCHEMES[scheme])
    live = bin_index(NUMERIC[shape](chance, SIZE), np.array(column.edges), column.open_ended)
    return np.bincount(live, minlength=len(column.counts)), np.array(column.counts)


def category_counts(chance, shape):
    """Likewise; a category without a bin of its own counts in the last."""
    share = np.asarray(CATEGORIES[shape])
    reference, live = chance.multinomial(ROWS, share), chance.multinomial(SIZE, share)
    column = categorical_column(Counter({f"{name:03}": int(rows) for name, rows in enumerate(reference)}), "string", 0)
    monitored = live[[int(name) for name in column.monitored]]
    return np.append(monitored, SIZE - monitored.sum()), np.array(column.counts)


def drawn(shape, scheme):
    """The windows of one shape as columns: flat counts and where each begins."""
    chance = np.random.default_rng([20, CASES.index((shape, scheme))])
    pairs = [
        numeric_counts(chance, shape, scheme) if scheme else category_counts(chance, shape) for _ in range(WINDOWS)
    ]
    starts = np.cumsum([0] + [len(counts) for counts, _ in pairs])[:-1]
    return *(np.concatenate(side) for side in zip(*pairs, strict=True)), starts


@pytest.mark.parametrize(("shape", "scheme"), CASES, ids=[" ".join(case).strip() for case in CASES])
def test_a_driftless_window_is_below_five_per_cent_in_five_per_cent(shape, scheme):
    """And no PSI passes the critical value of one in a million."""
    a, b, starts = drawn(shape, scheme)
    pvalues = pvalue_by_column(a, b, starts)
    told = merged_groups(a, b, starts).sizes > 1
    assert told.all()
    share = (pvalues < 0.05).mean()
    print(f"{shape} {scheme}: {share:.4f}")  # noqa: T201 - what `make calibration` shows
    assert 0.035 <= share <= 0.065
    bins = np.diff(starts, append=len(a))
    assert (psi_by_column(a, b, starts) <= critical_by_column(SIZE, ROWS, 0, bins, 1e-6)).mean() > 1 - 5e-4


def test_windows_that_share_instances_are_calibrated_too():
    """Production and shadow over features: both hold the same half of their instances."""
    chance = np.random.default_rng(31)
    share = np.full(12, 1 / 12)
    common, first, second = (chance.multinomial(500, share, 4_000) for _ in range(3))
    a, b, starts = (common + first).ravel(), (common + second).ravel(), np.arange(4_000) * 12
    assert 0.04 <= (pvalue_by_column(a, b, starts, shared=500) < 0.05).mean() <= 0.06
    assert (pvalue_by_column(a, b, starts) < 0.05).mean() < 0.01
    psi = psi_by_column(a, b, starts)
    assert 0.04 <= (psi > critical_by_column(1_000, 1_000, 500, 12, 0.05)).mean() <= 0.065


def test_a_design_effect_helps_requests_of_ten_alike_instances_and_does_not_cure():
    """With a correlation of ½ within requests some 30 % of driftless windows look like drift, and then about 9 %."""
    chance = np.random.default_rng(41)
    edges = np.linspace(-1.6, 1.6, 11)
    starts, requests = np.array([0]), np.repeat(np.arange(100), 10)
    plain, corrected = [], []
    for _ in range(1_500):
        together, alone = chance.normal(size=100), chance.normal(size=1_000)
        bins = bin_index(np.sqrt(0.5) * (together[requests] + alone), edges, False)
        a = np.bincount(bins, minlength=12)
        b = np.bincount(bin_index(chance.normal(size=10_000), edges, False), minlength=12)
        groups = merged_groups(a, b, starts)
        effect = design_effect(1_000, 10_000, spread_by_column(bins[:, None], requests, groups))
        plain.append(pvalue_by_column(a, b, starts)[0])
        corrected.append(pvalue_by_column(a, b, starts, effect=effect)[0])
    assert 0.2 < np.mean(np.array(plain) < 0.05) < 0.4
    assert 0.05 < np.mean(np.array(corrected) < 0.05) < 0.12
