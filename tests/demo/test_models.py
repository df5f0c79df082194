"""The two models: better than chance, v2 the better one, and the same answers fast as slow."""

from __future__ import annotations

import math

import numpy as np
import pytest

from demo.drift import numeric_psi
from demo.flights import Halves
from demo.models import BoostedModel, Model, auc


def test_v2_ranks_the_other_half_better_than_v1_and_both_well_enough(halves: Halves, v1: Model, v2: Model) -> None:
    """Seeds 1 to 20 gave 0.693 to 0.705 for v1 and 0.740 to 0.753 for v2."""
    assert auc(v2, halves.traffic) > auc(v1, halves.traffic) + 0.02
    assert auc(v1, halves.traffic) >= 0.65


def test_the_flat_trees_answer_as_scikit_learn_does(halves: Halves, v2: Model) -> None:
    """`Trees` reads the nodes past the public interface, so another version of scikit-learn must show here."""
    assert isinstance(v2, BoostedModel)
    rows = halves.july.take(np.arange(2000)).rows()
    np.testing.assert_allclose(v2.predict(rows), v2.classifier.predict_proba(v2.encode(rows))[:, 1], atol=1e-12)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_row_alone_is_answered_as_in_a_batch(version: str, halves: Halves, request: pytest.FixtureRequest) -> None:
    """Probabilities in [0, 1]."""
    model: Model = request.getfixturevalue(version)
    rows = halves.traffic.take(np.arange(50)).rows()
    together = model.predict(rows)
    assert np.all((together > 0) & (together < 1))
    np.testing.assert_allclose([model.predict([row])[0] for row in rows], together, atol=1e-12)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_missing_values_and_unknown_categories_are_answered(version: str, request: pytest.FixtureRequest) -> None:
    """Null and absent are the same; no rows, no answers."""
    model: Model = request.getfixturevalue(version)
    absent, null = model.predict([{"distance": 500}, {"distance": 500, "temp": None, "carrier": None}])
    assert absent == null
    assert 0 < model.predict([{"carrier": "Icarus", "hour": 3.0}])[0] < 1
    assert model.predict([]).shape == (0,)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"temp": "warm"}, "temp must be a number, got str"),
        ({"temp": True}, "temp must be a number, got bool"),
        ({"carrier": ["UA"]}, "carrier must be a string or a number, got list"),
        ({"distance": 10**400}, "a number is out of range"),
        ({"wings": 2}, "a row needs features, such as hour and distance"),
        ({}, "a row needs features, such as hour and distance"),
    ],
)
def test_a_row_that_is_none_is_refused_in_one_line(row: dict[str, object], message: str, v1: Model) -> None:
    """Values of the wrong type, and rows of something else."""
    with pytest.raises(ValueError, match=message):
        v1.predict([row])


def test_the_prediction_itself_does_not_drift_between_the_halves(halves: Halves, v2: Model) -> None:
    """An overfitted model would answer the rows it was trained on differently from new ones."""
    psi = numeric_psi(v2.predict(halves.training.rows()), v2.predict(halves.traffic.rows()))
    assert math.isfinite(psi)
    assert psi < 0.01
