"""The laws of PSI and of the Jensen-Shannon divergence."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from exporter.statistics import divergence
from exporter.statistics.divergence import js_divergence, js_divergence_by_column, psi, psi_by_column

COUNT = st.integers(0, 10**9)
PAIR = st.lists(st.tuples(COUNT, COUNT), min_size=1, max_size=60).map(lambda pairs: tuple(zip(*pairs, strict=True)))


def smoothed(counts):
    """Proportions with Jeffreys' half, as STATISTICS says."""
    counts = np.asarray(counts, float)
    return (counts + 0.5) / (counts.sum() + len(counts) / 2)


@given(st.lists(COUNT, min_size=0, max_size=100))
def test_identical_counts_have_exactly_no_divergence(counts):
    """Not almost zero: zero."""
    assert psi(counts, counts) == 0.0
    assert js_divergence(counts, counts) == 0.0


@given(PAIR)
def test_exchanging_the_samples_changes_nothing(pair):
    """Bit for bit."""
    a, b = pair
    assert psi(a, b) == psi(b, a)
    assert js_divergence(a, b) == js_divergence(b, a)


@given(PAIR)
def test_psi_is_never_negative_and_js_lies_between_zero_and_one(pair):
    """Rounding included."""
    assert psi(*pair) >= 0.0
    assert 0.0 <= js_divergence(*pair) <= 1.0


@given(PAIR, st.randoms(use_true_random=False))
def test_the_order_of_the_bins_does_not_matter(pair, chance):
    """A permutation of both samples' bins moves nothing but rounding."""
    order = list(range(len(pair[0])))
    chance.shuffle(order)
    a, b = ([sample[position] for position in order] for sample in pair)
    assert psi(a, b) == pytest.approx(psi(*pair), rel=1e-9, abs=1e-12)
    assert js_divergence(a, b) == pytest.approx(js_divergence(*pair), rel=1e-9, abs=1e-12)


@given(PAIR)
def test_both_agree_with_scipy(pair):
    """scipy gives the distance, whose square is the divergence, and PSI is the sum of both relative entropies."""
    p, q = map(smoothed, pair)
    assert abs(js_divergence(*pair) - jensenshannon(p, q, base=2) ** 2) < 1e-12
    both = float((rel_entr(p, q) + rel_entr(q, p)).sum())
    assert psi(*pair) == pytest.approx(both, rel=1e-12, abs=1e-12)


def test_disjoint_samples_approach_one_bit_as_they_grow():
    """Smoothing keeps small samples below it."""
    values = [js_divergence([n, 0], [0, n]) for n in (1, 100, 10_000, 10**8)]
    assert values == sorted(values)
    assert values[0] < 0.5
    assert values[-1] > 1 - 1e-6


def test_jeffreys_half_keeps_empty_bins_from_deciding_the_value():
    """A floor of 1e-4 would give 18.4 for the same counts, the smallest float 1416.8."""
    assert psi([0, 1], [1, 0]) == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        ([], [], 0.0),
        ([5], [70_000], 0.0),
        ([0, 0, 0], [0, 0, 0], 0.0),
        ([0, 0], [7, 7], 0.0),  # an empty sample counts as uniform
    ],
    ids=["no bin", "one bin", "two empty samples", "an empty sample against a uniform one"],
)
def test_degenerate_samples_have_a_defined_value(a, b, value):
    """Documented in the docstrings."""
    assert psi(a, b) == value
    assert js_divergence(a, b) == value


@pytest.mark.parametrize(
    ("a", "b"),
    [([1, 2], [1]), ([[1]], [[1]]), ([-1, 2], [1, 2]), ([float("nan")], [1]), ([float("inf"), 1], [1, 1])],
    ids=["other lengths", "two dimensions", "a negative count", "not a number", "infinite"],
)
def test_what_no_counts_are_is_refused(a, b):
    """With a ValueError rather than a number."""
    with pytest.raises(ValueError, match=r"counts|count for each bin"):
        psi(a, b)
    with pytest.raises(ValueError, match=r"counts|count for each bin"):
        js_divergence(a, b)


@given(st.lists(PAIR, min_size=1, max_size=6))
def test_many_columns_at_once_are_the_same_as_one_by_one(pairs):
    """The form that the exporter uses."""
    a, b = (np.array([count for pair in pairs for count in pair[side]]) for side in (0, 1))
    starts = np.cumsum([0] + [len(pair[0]) for pair in pairs])[:-1]
    for together, alone in ((psi_by_column, psi), (js_divergence_by_column, js_divergence)):
        assert together(a, b, starts) == pytest.approx([alone(*pair) for pair in pairs], rel=1e-9, abs=1e-12)


@given(st.data())
def test_the_counts_of_two_windows_added_are_those_of_their_union(data):
    """So a statistic of merged windows is that of all their instances."""
    bins = data.draw(st.integers(1, 12))
    first, second, other = (data.draw(st.lists(st.integers(0, bins - 1), max_size=60)) for _ in range(3))
    counts = [np.bincount(np.array(values, int), minlength=bins) for values in (first, second, first + second, other)]
    for statistic in (psi, js_divergence):
        assert statistic(counts[0] + counts[1], counts[3]) == statistic(counts[2], counts[3])


def test_the_examples_in_the_docstrings_hold():
    """They are documentation too."""
    assert doctest.testmod(divergence).failed == 0
