"""Intervals of shares, and exact tests of two models."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exporter.statistics import intervals
from exporter.statistics.intervals import mcnemar, sign_test, wilson_interval

TRIALS = st.integers(1, 10**6).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@given(TRIALS)
def test_wilson_agrees_with_scipy(counted):
    """To 1e-12."""
    hits, trials = counted
    told = stats.binomtest(hits, trials).proportion_ci(0.95, "wilson")
    lower, upper = wilson_interval(hits, trials)
    assert lower == pytest.approx(told.low, abs=1e-12)
    assert upper == pytest.approx(told.high, abs=1e-12)
    assert 0 <= lower <= hits / trials <= upper <= 1


def test_wilson_takes_many_shares_at_once_and_none():
    """No trial says nothing; a bound at the end is exactly there."""
    lower, upper = wilson_interval([0, 0, 5], [0, 5, 5])
    assert lower[:2].tolist() == [0.0, 0.0]
    assert upper[[0, 2]].tolist() == [1.0, 1.0]
    assert lower[2] == pytest.approx(1 - upper[1])


@given(st.integers(0, 5_000), st.integers(0, 5_000))
def test_exact_tests_agree_with_scipy(first, second):
    """But for the last digits; whichever comes first."""
    told = stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert sign_test(first, second) == pytest.approx(told, rel=1e-10)
    assert mcnemar(first, second) == mcnemar(second, first) == sign_test(first, second)


def test_the_examples_in_the_docstrings_hold():
    """They are documentation too."""
    assert doctest.testmod(intervals).failed == 0
