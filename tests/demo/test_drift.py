"""The phases of traffic, and the PSI that says beforehand what must drift."""

from __future__ import annotations

import math

import numpy as np
import pytest

from demo.drift import DEFAULT_FEATURE, Kind, check, drifted, expect, feature_psi, normal, numeric_psi, psi
from demo.flights import CATEGORICAL, FEATURES, NUMERIC, Halves

SCALED = [name for name in NUMERIC if name != "precip"]
INJECTED = [("shift", name) for name in NUMERIC] + [("scale", name) for name in SCALED]
INJECTED += [("category", name) for name in CATEGORICAL]


def test_psi_agrees_with_a_case_worked_by_hand() -> None:
    """({3, 1}, {1, 3}): p = (3.5, 1.5)/5 and q = (1.5, 3.5)/5, so 2 · 0.4 · ln(7/3)."""
    assert psi(np.array([3.0, 1.0]), np.array([1.0, 3.0])) == pytest.approx(0.8 * math.log(7 / 3))


def test_numbers_fall_into_ten_bins_between_the_quantiles_and_two_beyond() -> None:
    """The reference 0 … 100 has edges 5, 14, 23 … 95: 5 below, 9 in each bin, 10 in the last, 5 above."""
    below = np.full(101, -1.0)
    reference = np.array([5.0] + [9.0] * 9 + [10.0, 5.0])
    assert numeric_psi(np.arange(101), below) == pytest.approx(psi(reference, np.array([101.0] + [0.0] * 11)))
    assert numeric_psi(np.arange(101), np.full(101, 95.0)) == pytest.approx(
        psi(reference, np.array([0.0] * 10 + [101.0, 0.0]))
    )


def test_an_empty_inner_bin_joins_its_left_neighbour() -> None:
    """Half the reference at 0 and half at 10: of ten bins two have rows, the last holds 10 alone."""
    reference = np.repeat([0.0, 10.0], 50)
    sample = np.repeat([0.0, 8.5, 9.0, 10.0], 25)
    assert numeric_psi(reference, sample) == pytest.approx(psi(np.array([0, 50, 50, 0]), np.array([0, 50, 50, 0])))


def test_equal_quantiles_give_three_bins() -> None:
    """Below, equal, above."""
    reference = np.zeros(100)
    sample = np.array([-1.0, 0.0, 0.0, 1.0])
    assert numeric_psi(reference, sample) == pytest.approx(psi(np.array([0, 100, 0]), np.array([1, 2, 1])))


def test_missing_numbers_enter_no_bin() -> None:
    """NaN in either makes no difference."""
    reference, sample = np.arange(101.0), np.arange(50.0)
    assert numeric_psi(np.append(reference, np.nan), np.append(sample, [np.nan] * 9)) == numeric_psi(reference, sample)


def test_rare_and_unseen_categories_are_counted_together() -> None:
    """A category needs 20 reference rows for a bin of its own."""
    reference = np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 10, dtype=object)
    sample = np.array(["a"] * 5 + ["c"] * 2 + ["new"], dtype=object)
    expected = psi(np.array([60, 30, 10]), np.array([5, 0, 3]))
    assert feature_psi("carrier", reference, sample) == pytest.approx(expected)


def test_the_season_moves_the_weather_and_leaves_the_timetable_alone(halves: Halves) -> None:
    """July against January to March; `visib` is between the limits."""
    expectation = expect(halves.training, drifted("season", halves, seed=1))
    assert expectation.drifted == ["temp", "dewp", "humid", "wind_dir", "wind_speed", "pressure"]
    assert expectation.left_alone == ["hour", "weekday", "carrier", "origin", "distance", "precip"]
    assert list(expectation.psi) == list(FEATURES)


def test_without_drift_every_feature_is_left_alone(halves: Halves) -> None:
    """The normal phase, and `none` after it."""
    for phase in (normal(halves, seed=1), drifted("none", halves, seed=1)):
        expectation = expect(halves.training, phase)
        assert expectation.drifted == []
        assert expectation.left_alone == list(FEATURES)


@pytest.mark.parametrize(("kind", "feature"), INJECTED)
def test_injected_drift_moves_the_named_feature_alone(kind: Kind, feature: str, halves: Halves) -> None:
    """By at least 0.5 at the default size, whichever feature is named."""
    expectation = expect(halves.training, drifted(kind, halves, seed=1, feature=feature))
    assert expectation.drifted == [feature]
    assert expectation.psi[feature] >= 0.5
    assert sorted(expectation.left_alone) == sorted(set(FEATURES) - {feature})


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_that_goes_missing_moves_no_psi(feature: str, halves: Halves) -> None:
    """Half its values are gone, at random, so what is left looks as before."""
    phase = drifted("missing", halves, seed=1, feature=feature)
    expectation = expect(halves.training, phase)
    assert expectation.missing == [feature]
    assert expectation.left_alone == list(FEATURES)
    gone = sum(row[feature] is None for row in phase.rows()) / len(phase)
    assert gone > 0.49


def test_a_feature_may_go_missing_altogether(halves: Halves) -> None:
    """Then there is nothing left to compare."""
    expectation = expect(halves.training, drifted("missing", halves, seed=1, feature="carrier", size=1.0))
    assert expectation.psi["carrier"] == 0
    assert expectation.missing == ["carrier"]


def test_another_unit_multiplies_every_value(halves: Halves) -> None:
    """Miles in kilometres; whole ones stay whole."""
    plain, scaled = normal(halves, seed=2), drifted("scale", halves, seed=1, feature="distance")
    assert scaled.columns["distance"].tolist() == np.round(plain.columns["distance"] * 1.609344).astype(int).tolist()


def test_phases_are_shuffled_by_the_seed_alone(halves: Halves) -> None:
    """The same seed, the same requests in the same order."""
    first = drifted("category", halves, seed=3).rows()[:100]
    assert first == drifted("category", halves, seed=3).rows()[:100]
    assert first != drifted("category", halves, seed=4).rows()[:100]


def test_a_shift_keeps_what_is_missing_missing_and_whole_numbers_whole(halves: Halves) -> None:
    """JSON null stays null, and a distance stays in whole miles."""
    pressure = drifted("shift", halves, seed=1, feature="pressure").columns["pressure"]
    assert np.isnan(pressure).sum() == np.isnan(halves.traffic.columns["pressure"]).sum() > 0
    assert drifted("shift", halves, seed=1, feature="distance").columns["distance"].dtype.kind == "i"


@pytest.mark.parametrize(
    ("kind", "feature", "size", "message"),
    [
        ("storm", None, None, "drift must be one of season, shift, scale, category, missing, none, got storm"),
        ("shift", "carrier", None, "drift shift needs one of the features distance, temp, .*, got carrier"),
        ("shift", "wings", None, "drift shift needs one of the features distance, temp, .*, got wings"),
        ("category", "temp", None, "drift category needs one of the features hour, weekday, carrier, origin, got temp"),
        ("season", "temp", None, "drift season takes no feature and no size; shift, scale, category, missing do"),
        ("shift", None, math.nan, "size of drift shift must be a number of standard deviations, not 0, got nan"),
        ("scale", "precip", None, "drift scale needs one of the features distance, temp, .*, got precip"),
        ("scale", None, 1.0, "size of drift scale must be a factor above 0, not 1, got 1.0"),
        ("missing", "wings", None, "drift missing needs one of the features hour, .*, got wings"),
        ("missing", None, 0.1, "size of drift missing must be a share from 0.25, so that it shows, to 1, got 0.1"),
        ("category", None, 1.5, "size of drift category must be a share above 0 and at most 1, got 1.5"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    kind: str, feature: str | None, size: float | None, message: str
) -> None:
    """Before any data is read."""
    with pytest.raises(ValueError, match=message):
        check(kind, feature, size)


def test_the_defaults_fit_their_kinds() -> None:
    """Each injected kind works without naming a feature."""
    assert {kind: check(kind)[0] for kind in DEFAULT_FEATURE} == DEFAULT_FEATURE
