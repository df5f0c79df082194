"""Critical values, p-values over merged bins, Benjamini and Hochberg, and levels."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exporter.statistics import significance
from exporter.statistics.divergence import psi_by_column
from exporter.statistics.significance import (
    critical_by_column,
    levels,
    merged_groups,
    pvalue_by_column,
    significant,
)

COUNT = st.integers(0, 10**6)
PAIR = st.lists(st.tuples(COUNT, COUNT), min_size=1, max_size=40).map(lambda pairs: tuple(zip(*pairs, strict=True)))


def flat(pairs):
    """Many columns' counts in a row, and where each begins."""
    a, b = (np.array([count for pair in pairs for count in pair[side]], np.int64) for side in (0, 1))
    return a, b, np.cumsum([0] + [len(pair[0]) for pair in pairs])[:-1]


def merged_one_by_one(a, b):
    """The groups as STATISTICS says, in plain Python: lists of bins."""
    n, m = sum(a), sum(b)
    groups, open_group = [], []
    for position in range(len(a)):
        open_group.append(position)
        pooled = sum(a[each] + b[each] for each in open_group)
        if min(n, m) and pooled * n >= 5 * (n + m) and pooled * m >= 5 * (n + m):
            groups.append(open_group)
            open_group = []
    if groups:
        groups[-1] += open_group
        return groups
    return [open_group]


def pvalue_one_by_one(a, b):
    """By scipy's test of a contingency table, over the groups above."""
    groups = merged_one_by_one(a, b)
    if len(groups) == 1:
        return 1.0
    table = [[sum(counts[position] for position in group) for group in groups] for counts in (a, b)]
    return stats.chi2_contingency(table, correction=False).pvalue


@given(st.lists(PAIR, min_size=1, max_size=6))
def test_bins_are_merged_from_the_left_until_both_samples_expect_five(pairs):
    """Many columns at once, against plain Python for each."""
    a, b, starts = flat(pairs)
    groups = merged_groups(a, b, starts)
    expected = []
    for number, pair in enumerate(pairs):
        lists = merged_one_by_one(*pair)
        assert groups.sizes[number] == len(lists)
        expected += [groups.starts[number] + group for group, bins in enumerate(lists) for _ in bins]
    assert groups.of_bin.tolist() == expected


def test_an_expectation_of_exactly_five_is_enough():
    """No rounding decides it."""
    counts = np.array([5] * 7)
    assert merged_groups(counts, counts, np.array([0])).sizes.tolist() == [7]
    assert merged_groups(counts * 0 + 4, counts, np.array([0])).sizes.tolist() == [3]


@given(st.lists(PAIR, min_size=1, max_size=6))
def test_pvalues_agree_with_scipy(pairs):
    """To 1e-12, over the same groups."""
    a, b, starts = flat(pairs)
    assert pvalue_by_column(a, b, starts) == pytest.approx([pvalue_one_by_one(*pair) for pair in pairs], abs=1e-12)


def test_small_pvalues_agree_with_scipy_relatively():
    """Down to where a float ends; they decide at an alpha of one in a million."""
    for drift in (50, 100, 200, 400):
        a, b = np.array([500 - drift, 500 + drift]), np.array([5_000, 5_000])
        assert pvalue_by_column(a, b, np.array([0]))[0] == pytest.approx(pvalue_one_by_one(a, b), rel=1e-9)


@given(PAIR)
def test_exchanging_the_samples_changes_no_pvalue(pair):
    """Either could be called the reference."""
    a, b, starts = flat([pair])
    assert pvalue_by_column(a, b, starts) == pytest.approx(pvalue_by_column(b, a, starts), rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "shared"),
    [
        ([7], [9], 0),
        ([0, 0, 0], [0, 0, 0], 0),
        ([0, 0], [500, 500], 0),
        ([4, 4], [4, 4], 0),
        ([50, 50], [50, 50], 100),
        ([60, 40], [40, 60], 130),
    ],
    ids=[
        "one bin",
        "nothing at all",
        "an empty window",
        "one group",
        "the same instances",
        "more shared than there are",
    ],
)
def test_what_cannot_tell_anything_has_pvalue_one(a, b, shared):
    """Defined, and never a warning of numpy's."""
    assert pvalue_by_column(np.array(a), np.array(b), np.array([0]), shared).tolist() == [1.0]


def test_shared_instances_leave_less_variance():
    """χ² is divided by 1 - 2k/(n + m), so what differs means more."""
    a, b = np.array([480, 520]), np.array([540, 460])
    alone = stats.chi2_contingency([a, b], correction=False).statistic
    told = pvalue_by_column(a, b, np.array([0]), shared=500)
    assert told[0] == pytest.approx(stats.chi2.sf(alone / 0.5, 1), abs=1e-12)


def test_a_design_effect_divides_and_never_multiplies():
    """Below 1 it counts as 1."""
    a, b = np.array([480, 520]), np.array([5_400, 4_600])
    alone = stats.chi2_contingency([a, b], correction=False)
    for effect, statistic in ((4.0, alone.statistic / 4), (0.5, alone.statistic)):
        told = pvalue_by_column(a, b, np.array([0]), effect=np.array([effect]))
        assert told[0] == pytest.approx(stats.chi2.sf(statistic, 1), abs=1e-12)


def test_critical_values_are_scaled_quantiles_of_chi_square():
    """v · χ²(B - 1), with the instances that both windows hold taken out."""
    told = critical_by_column([1_000, 100, 1_000], [10_000, 10_000, 1_000], [0, 0, 50], [12, 51, 12], 1e-6)
    v = np.array([1 / 1_000 + 1 / 10_000, 1 / 100 + 1 / 10_000, 2 / 1_000 - 2 * 50 / 1_000**2])
    assert told == pytest.approx(v * stats.chi2.isf(1e-6, [11, 50, 11]), rel=1e-12)


@pytest.mark.parametrize(
    ("n", "m", "shared", "bins"),
    [(10, 10, 10, 12), (10, 10, 11, 12), (10, 10, 0, 1), (0, 10, 0, 12), (10, 0, 0, 12), (0, 0, 0, 0)],
    ids=["the same instances", "more shared than there are", "one bin", "empty", "nothing to compare with", "no bin"],
)
def test_what_cannot_vary_has_critical_value_zero(n, m, shared, bins):
    """Exactly."""
    assert critical_by_column(n, m, shared, bins, 1e-6) == 0.0


def test_no_column_is_a_defined_input():
    """A model without a profile."""
    none, starts = np.empty(0, np.int64), np.empty(0, np.intp)
    assert len(pvalue_by_column(none, none, starts)) == 0
    assert len(critical_by_column([], [], [], [], 1e-6)) == 0
    assert len(significant([], 1e-6)) == 0
    assert len(levels([], [], [0.1, 0.2, 0.35])) == 0
    assert len(merged_groups(none, none, starts).sizes) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0, 0.5))
def test_benjamini_and_hochberg_as_scipy_adjusts(pvalues, alpha):
    """A p-value is significant exactly where its adjusted one is at most alpha."""
    adjusted = stats.false_discovery_control(pvalues)
    told = significant(pvalues, alpha)
    near = np.isclose(adjusted, alpha, rtol=1e-9, atol=0)
    assert ((adjusted <= alpha) == told)[~near].all()


def test_a_level_asks_for_significance_and_for_size():
    """Both, and each level is strictly above its threshold."""
    thresholds = [0.1, 0.2, 0.35]
    assert levels([0.05, 0.1, 0.11, 0.2, 0.21, 0.35, 0.36, 9.0], [True] * 8, thresholds).tolist() == [
        0, 0, 1, 1, 2, 2, 3, 3,
    ]  # fmt: skip
    assert levels([0.3, 9.0], [False, False], thresholds).tolist() == [0, 0]


def test_a_small_window_without_drift_has_no_level_and_a_large_one_no_trifle():
    """A fixed 0.1 alarms in about half the driftless windows of 100; ten million instances tell a shift of 1 %."""
    chance = np.random.default_rng(7)
    share, starts = np.full(12, 1 / 12), np.arange(400) * 12
    a, b = (chance.multinomial(size, share, 400).ravel() for size in (100, 10_000))
    psi = psi_by_column(a, b, starts)
    assert (psi > 0.1).mean() > 0.4
    assert not levels(psi, significant(pvalue_by_column(a, b, starts), 1e-6), [0.1, 0.2, 0.35]).any()
    a, b = np.array([5_050_000, 4_950_000]), np.array([5_000_000, 5_000_000])
    pvalue = pvalue_by_column(a, b, np.array([0]))
    assert significant(pvalue, 1e-6).all()
    assert not levels(psi_by_column(a, b, np.array([0])), significant(pvalue, 1e-6), [0.1, 0.2, 0.35]).any()


def test_the_examples_in_the_docstrings_hold():
    """They are documentation too."""
    assert doctest.testmod(significance).failed == 0
