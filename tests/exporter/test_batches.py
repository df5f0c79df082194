"""The design effect: what it costs that instances of one request resemble each other."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.statistics import batches
from exporter.statistics.batches import design_effect, spread_by_column
from exporter.statistics.significance import Groups, merged_groups

BINS = 5


def spread_as_written(bins, requests, groups):
    """D of one column, by the formula of STATISTICS.md."""
    merged = [groups.of_bin[place] if place >= 0 else None for place in bins]
    valid = [group for group in merged if group is not None]
    n, count = len(valid), int(groups.sizes[0])
    if not n or count == 1:
        return 1.0
    total = 0.0
    for group in range(count):
        share = valid.count(group) / n
        if not share:
            continue
        for request in set(requests):
            mine = [merged[row] for row in range(len(bins)) if requests[row] == request and merged[row] is not None]
            total += (mine.count(group) - len(mine) * share) ** 2 / share
    return total / (n * (count - 1))


@given(st.lists(st.tuples(st.integers(-1, BINS - 1), st.integers(0, 12)), min_size=1, max_size=60), st.data())
def test_the_spread_is_the_formula(rows, data):
    """Of each column by itself, with values in no bin and requests of any size, whatever the groups are."""
    bins, requests = (np.array(column) for column in zip(*rows, strict=True))
    merges = data.draw(st.lists(st.booleans(), min_size=BINS - 1, max_size=BINS - 1))
    of_bin = np.concatenate(([0], np.cumsum(merges)))
    alone = Groups(of_bin, np.array([0]), np.array([of_bin[-1] + 1]))
    twice = Groups(
        np.concatenate((of_bin, of_bin + of_bin[-1] + 1)), np.array([0, of_bin[-1] + 1]), np.repeat(alone.sizes, 2)
    )
    both = np.stack((bins, np.where(bins < 0, -1, bins[::-1].clip(0) + BINS)), axis=1)
    told = spread_by_column(both, requests, twice)
    assert told[0] == pytest.approx(spread_as_written(bins, requests, alone), abs=1e-9)
    other = np.where(bins < 0, -1, bins[::-1].clip(0))
    assert told[1] == pytest.approx(spread_as_written(other, requests, alone), abs=1e-9)


def test_requests_of_one_instance_have_spread_one():
    """Nothing is divided where there is nothing to divide."""
    bins = np.random.default_rng(1).integers(0, BINS, (500, 1))
    counts = np.bincount(bins[:, 0], minlength=BINS)
    groups = merged_groups(counts, counts * 10, np.array([0]))
    assert spread_by_column(bins, np.arange(500), groups) == pytest.approx([1.0])


def test_requests_whose_instances_are_all_alike_have_the_spread_of_their_size():
    """A window of 1,000 then tells as much as one of 100."""
    of_request = np.random.default_rng(2).integers(0, BINS, 100)
    bins = np.repeat(of_request, 10)[:, None]
    counts = np.bincount(bins[:, 0], minlength=BINS)
    groups = merged_groups(counts, counts * 10, np.array([0]))
    assert spread_by_column(bins, np.repeat(np.arange(100), 10), groups) == pytest.approx([10.0])


def test_the_effect_weighs_both_windows_by_their_sizes():
    """A reference of many independent rows dilutes nothing; an empty sample has none."""
    assert design_effect(1_000, 10_000, 5.0) == pytest.approx((5 / 1_000 + 1 / 10_000) / (1 / 1_000 + 1 / 10_000))
    assert design_effect([1_000, 0, 5], [1_000, 10, 0], [3.0, 2.0, 2.0], 2.0).tolist() == [2.5, 1.0, 1.0]


def test_no_instance_and_no_column_are_defined():
    """The spread of nothing is that of independent instances."""
    groups = Groups(np.arange(BINS), np.array([0]), np.array([BINS]))
    assert spread_by_column(np.empty((0, 1), int), np.empty(0, int), groups).tolist() == [1.0]
    assert spread_by_column(np.full((4, 1), -1), np.zeros(4, int), groups).tolist() == [1.0]
    none = Groups(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.intp))
    assert len(spread_by_column(np.empty((3, 0), int), np.zeros(3, int), none)) == 0


def test_the_examples_in_the_docstrings_hold():
    """They are documentation too."""
    assert doctest.testmod(batches).failed == 0
