"""Training values to columns, and live values to their cells."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.statistics.divergence import js_divergence, psi
from reference.binning import ABSENT, absent_cell, bins_of, invalid_cell, missing_cell
from reference.categories import number_category
from reference.columns import column_of
from reference.profile import Binning, Categorical, Numeric

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


def cells(column, values):
    """The cells of values, as a list."""
    return bins_of(column).cells(values).tolist()


def counts(column, values):
    """The bin counts of live values."""
    bins = bins_of(column)
    found = np.array(cells(column, values), int)
    found = found[found < 2 * bins.size] % bins.size
    return np.bincount(found, minlength=bins.size)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, 1.5, 2.25], "numeric"),
        ([1, 2.0, 3] * 5, "number"),
        (list(range(20)), "number"),
        (list(range(21)), "numeric"),
        ([1.5, 1, 2], "numeric"),
        (["DE", "FR"], "string"),
        (["3", "4"], "string"),
        ([True, False, None], "boolean"),
        ([10**400, 1, 2], "number"),
    ],
    ids=[
        "fractions",
        "few whole numbers",
        "twenty whole numbers",
        "twenty-one whole numbers",
        "one fraction",
        "texts",
        "texts of digits",
        "booleans",
        "an integer beyond every float",
    ],
)
def test_the_kind_of_a_column_comes_from_its_values(values, kind):
    """STATISTICS, 'Columns'."""
    column = column_of(values, Binning())
    assert ("numeric" if isinstance(column, Numeric) else column.type) == kind


def test_a_kind_that_is_told_wins():
    """`--kind` decides where whole numbers could be either."""
    assert isinstance(column_of([1, 2, 3], Binning(), "numeric"), Numeric)
    assert isinstance(column_of(list(range(100)), Binning(), "categorical"), Categorical)


def test_a_column_without_a_valid_value_is_none():
    """There is nothing to compare with."""
    assert column_of([None, "", [1], math.nan], Binning()) is None


def test_three_and_three_point_nought_are_one_category():
    """JSON knows one kind of number."""
    column = column_of([3, 3.0, 4] * 20, Binning())
    assert column.categories == {"3": 40, "4": 20}
    assert cells(column, [3, 3.0]) == [0, 0]
    assert [number_category(value) for value in (3, 3.0, -0.0, 0.5, 10**17, 1e17)] == [
        "3", "3", "0", "0.5", "1" + "0" * 17, "1" + "0" * 17,
    ]  # fmt: skip


def test_inner_bins_are_those_of_numpy_with_one_beyond_each_end():
    """[a, b), the last [a, b]."""
    column = column_of(np.arange(1001.0).tolist(), Binning())
    assert column.edges[0] == 50.0
    assert column.edges[-1] == 950.0
    assert len(column.counts) == 12
    values = [49.9, 50.0, 139.9, 140.0, 950.0, 950.1, -1.0, 1001.0]
    assert cells(column, values) == [0, 1, 1, 2, 10, 11, 12 + 0, 12 + 11]
    inner, _ = np.histogram(np.arange(1001.0), np.array(column.edges))
    assert column.counts[1:-1] == tuple(inner)


def test_an_empty_inner_bin_joins_its_left_neighbour_and_the_first_its_right():
    """So no inner bin is without a reference row."""
    column = column_of([0.5] * 3 + [4.5] * 3 + [10.0] * 4 + [0.0, 1.1], Binning(range=(0, 1)))
    assert column.edges == (0.0, 1.0, 4.0, 9.0, 10.0)[:1] + column.edges[1:]
    assert all(rows > 0 for rows in column.counts[1:-1])
    first = column_of([0.0] + [5.5] * 50 + [10.0], Binning(bins=2, range=(0.1, 0.9)))
    assert len(first.counts) == 3


def test_equal_quantiles_give_three_bins():
    """Below, equal, above."""
    column = column_of([5.5] * 100 + [1.0, 9.0], Binning())
    assert column.counts == (1, 100, 1)
    assert cells(column, [5.4, 5.5, 5.6, 0.9]) == [0, 1, 2, 3]


def test_quantile_bins_of_a_constant_are_two():
    """Open at both ends; equal edges count once."""
    column = column_of([5.5] * 100, Binning(binning="quantile"))
    assert column.edges == (5.5,)
    assert cells(column, [5.4, 5.5, 5.6]) == [2, 1, 3]


def test_the_whole_range_takes_minimum_and_maximum():
    """`drift.range: [0, 1]`."""
    column = column_of([0.25, 1.0, 8.5] * 40, Binning(range=(0, 1)))
    assert (column.edges[0], column.edges[-1]) == (0.25, 8.5)
    assert (column.counts[0], column.counts[-1]) == (0, 0)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, missing_cell),
        ("", missing_cell),
        (ABSENT, missing_cell),
        ("3.5", invalid_cell),
        ("#0123456789abcdef", invalid_cell),
        (True, invalid_cell),
        ([1.0], invalid_cell),
        ({"a": 1}, invalid_cell),
        (math.nan, invalid_cell),
        (math.inf, invalid_cell),
        (-math.inf, invalid_cell),
        (10**400, invalid_cell),
    ],
    ids=lambda value: "absent" if value is ABSENT else getattr(value, "__name__", str(value)),
)
def test_what_is_no_number_is_missing_or_invalid_in_a_numeric_column(value, cell):
    """Alone, and beside numbers and others."""
    column = column_of([0.5, 1.5, 2.5], Binning())
    size = len(column.counts)
    assert cells(column, [value]) == [cell(size)]
    assert cells(column, [1.5, value, None]) == [*cells(column, [1.5]), cell(size), missing_cell(size)]


@pytest.mark.parametrize(
    ("reference", "value", "cell"),
    [
        (["DE", "FR"], "DE", "seen"),
        (["DE", "FR"], "XX", "unseen"),
        (["DE", "FR"], 3, "unseen"),
        (["DE", "3"], 3, "unseen"),
        (["DE", "true"], True, "unseen"),
        (["DE", "FR"], "", "missing"),
        (["DE", "FR"], None, "missing"),
        (["DE", "FR"], ["DE"], "invalid"),
        (["DE", "FR"], {"DE": 1}, "invalid"),
        ([0, 1], 1, "seen"),
        ([0, 1], 1.0, "seen"),
        ([0, 1], True, "unseen"),
        ([0, 1], False, "unseen"),
        ([0, 1], "1", "unseen"),
        ([0, 1], math.nan, "invalid"),
        ([0, 1], math.inf, "invalid"),
        ([0, 1], 10**400, "unseen"),
        ([True, False], True, "seen"),
        ([True, False], 1, "unseen"),
        ([True, False], "true", "unseen"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_unseen_in_a_categorical_column(reference, value, cell):
    """A list or an object is invalid; 3 and 3.0 are one value, 1 and true are not."""
    column = column_of(reference * 20, Binning())
    size = len(column.counts)
    expected = {"unseen": 2 * size - 1, "missing": missing_cell(size), "invalid": invalid_cell(size)}
    for values in ([value], [value, "x"], [value, True, None]):
        found = cells(column, values)[0]
        assert found < size - 1 if cell == "seen" else found == expected[cell]


def test_rare_is_not_unseen():
    """A category with fewer than 20 rows has no bin of its own, and is listed all the same."""
    column = column_of(["DE"] * 100 + ["FR"] * 20 + ["US"] * 19, Binning())
    assert column.monitored == ("DE", "FR")
    assert column.counts == (100, 20, 19)
    assert cells(column, ["DE", "FR", "US", "XX"]) == [0, 1, 2, 3 + 2]


def test_at_most_fifty_categories_are_monitored_with_ties_by_name():
    """By count, then by name."""
    names = [f"c{number:03}" for number in range(80)]
    column = column_of(names * 25 + ["z"] * 30, Binning())
    assert column.monitored == ("z", *names[:49])
    assert column.counts[-1] == 31 * 25


def test_at_most_ten_thousand_categories_are_listed():
    """What is not listed is unseen, and counted among the others in the reference."""
    column = column_of([f"c{number:05}" for number in range(10_001)], Binning())
    assert len(column.categories) == 10_000
    assert column.counts == (10_001,)


def test_an_absent_prediction_has_a_cell_of_its_own():
    """Nobody was asked, so nothing is missing."""
    size = len(column_of([0.5, 1.5], Binning()).counts)
    assert absent_cell(size) not in {missing_cell(size), invalid_cell(size)}


@given(
    st.lists(FINITE, min_size=1, max_size=200), st.lists(FINITE, max_size=50), st.sampled_from([(0.05, 0.95), (0, 1)])
)
def test_every_finite_number_falls_into_a_bin(reference, live, quantiles):
    """However wide, narrow or lopsided the reference is; its own rows are all counted."""
    for scheme in ("equal_width", "quantile"):
        column = column_of(reference, Binning(binning=scheme, range=quantiles), "numeric")
        assert sum(column.counts) == len(reference)
        assert counts(column, reference).tolist() == list(column.counts)
        assert counts(column, live).sum() == len(live)
        assert column.minimum <= column.low <= column.high <= column.maximum


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=300), st.lists(st.integers(-1200, 1200), max_size=100))
def test_an_increasing_transform_changes_nothing_under_quantile_bins(reference, live):
    """Cubing keeps the order of the values, and the order is all that these bins look at."""

    def cubed(values):
        return [float(value) ** 3 + 5.0 for value in values]

    binning = Binning(binning="quantile")
    plain = column_of(list(map(float, reference)), binning, "numeric")
    other = column_of(cubed(reference), binning, "numeric")
    assert plain.counts == other.counts
    for statistic in (psi, js_divergence):
        assert statistic(plain.counts, counts(plain, live)) == statistic(other.counts, counts(other, cubed(live)))


@pytest.mark.parametrize(
    ("draw", "at_least"),
    [
        (lambda chance, n: np.exp(chance.normal(size=n)), 0.15),
        (lambda chance, n: chance.standard_t(2, size=n), 0.12),
    ],
    ids=["log-normal", "Student's t with 2 degrees of freedom"],
)
def test_a_shift_shows_through_a_heavy_tail(draw, at_least):
    """The reason for bins between the 5 % and the 95 % quantiles: minimum to maximum would hide it below 0.05."""
    chance = np.random.default_rng(1)
    column = column_of(draw(chance, 20_000).tolist(), Binning())
    live = draw(chance, 20_000)
    moved = live * math.exp(0.5) if at_least == 0.15 else live + 0.5
    assert psi(column.counts, counts(column, moved.tolist())) > at_least
    assert psi(column.counts, counts(column, live.tolist())) < 0.01
