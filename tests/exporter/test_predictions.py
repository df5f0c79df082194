"""What was predicted: classes, numbers, lists of probabilities."""

from collections import Counter

import msgspec
import numpy as np
import pytest

from exporter.windows.measured import measured_models
from exporter.windows.models import ModelState
from exporter.windows.predictions import MAX_CLASSES, MAX_VERSIONS, Predictions
from reference.columns import column_of
from reference.profile import CONFIDENCE, Binning, Profile
from tests.exporter.making import event, model

CLASSES = column_of(["yes"] * 60 + ["no"] * 40, Binning())
SCORES = column_of(np.random.default_rng(1).random(1_000).tolist(), Binning())


def taken(column, *predictions, **fields):
    """What is counted of these, and what became no series of its own."""
    of, left_out = Predictions(column), Counter()
    of.take([event({}, prediction=each, **fields) for each in predictions], left_out)
    return of, left_out


def test_classes_of_the_reference_are_counted_by_name_and_others_as_others():
    """Also values that are no class at all, if they are predictions."""
    of, left_out = taken(CLASSES, "yes", "yes", "no", "maybe", 1, True, None, msgspec.UNSET, "")
    assert of.classes["v2"] == {"yes": 2, "no": 1, "_other": 3}
    assert left_out["classes"] == 1


def test_numbers_are_counted_up_to_the_references_edges():
    """An edge belongs to the bucket that it closes."""
    edges = SCORES.edges
    of, _ = taken(SCORES, edges[0], edges[1], edges[1] + 1e-9, 5.0, -5.0)
    histogram = of.values["v2"]
    assert histogram.counts[:3].tolist() == [2, 1, 1]
    assert histogram.counts[-1] == 1
    assert histogram.sum == pytest.approx(edges[0] + 2 * edges[1] + 1e-9)


def test_a_sum_beyond_every_float_is_a_number_still():
    """One answer must not make the histogram's sum infinite for good, or no number."""
    of, left_out = taken(SCORES, 1.7e308, 1.7e308, 0.5)
    assert of.values["v2"].sum == pytest.approx(1.7976931348623157e308)
    of.take([event({}, prediction=-1.7e308), event({}, prediction=-1.7e308)], left_out)
    assert np.isfinite(of.values["v2"].sum)
    assert of.values["v2"].counts.sum() == 5


def test_without_a_reference_the_predictions_own_type_decides():
    """Numbers in a histogram from 0 to 1, the rest as classes, a list by its likeliest."""
    of, _ = taken(None, 0.25, 3, "yes", True, [0.1, 0.9], [], 10**400)
    assert of.values["v2"].counts.sum() == 2
    assert of.classes["v2"] == {"yes": 1, "true": 1, "1": 1}


@pytest.mark.parametrize("outcome", ["log_only", "error", "fallback"])
def test_only_ok_answers_predict(outcome):
    """Nobody else was asked."""
    of, _ = taken(None, "yes", outcome=outcome)
    assert sum(of.classes.get("v2", {}).values()) == 0


def test_made_up_classes_and_versions_are_bounded():
    """What would be too many counts as others, and is told."""
    of, left_out = taken(None, *(f"class-{number}" for number in range(1_000)))
    assert len(of.classes["v2"]) == MAX_CLASSES + 1
    assert of.classes["v2"]["_other"] == left_out["classes"] == 1_000 - MAX_CLASSES
    for number in range(100):
        of.take([event({}, prediction="class-1", version=f"made-up-{number}")], left_out)
    assert len(of.classes) == MAX_VERSIONS + 1
    assert left_out["versions"] == of.classes["_other"]["class-1"] == 100 - MAX_VERSIONS + 1


def cells(prediction, outcome="ok"):
    """The bins that a list of probabilities falls into: of the class and of the confidence."""
    confidence = column_of(np.linspace(0.5, 1.0, 1_000).tolist(), Binning())
    classes = column_of([0, 1, 2] * 100, Binning())
    reference = Profile(1, 300, Binning(), {"amount": SCORES}, classes, confidence=confidence)
    (measured,) = measured_models([model()], [reference])
    of = ModelState(measured)
    of.take(event({"amount": 0.5, CONFIDENCE: 0.5}, prediction=prediction, outcome=outcome))
    of.flush()
    window, columns = of.roles["production"].windows["_all"], measured.columns
    row, names = window.rows().cells[0], {}
    for name in ("prediction", CONFIDENCE):
        at = columns.index[name]
        size = columns.layout.sizes[at]
        names[name] = {2 * size: "missing", 2 * size + 1: "invalid", 2 * size + 2: "absent"}.get(
            int(row[at]), columns.bin_names[columns.layout.bin_starts[at] + row[at] % size]
        )
    return names["prediction"], names[CONFIDENCE]


def test_a_list_of_probabilities_is_its_likeliest_class_and_its_confidence():
    """The first among equals; the confidence comes out of the prediction, never out of a feature of that name."""
    first, confidence = cells([0.1, 0.8, 0.1])
    assert first == "1"
    assert "0.8" in confidence
    assert cells([0.4, 0.4, 0.2])[0] == "0"


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (2, ("2", "missing")),
        ([], ("invalid", "invalid")),
        (None, ("missing", "missing")),
        (msgspec.UNSET, ("missing", "missing")),
    ],
)
def test_what_is_no_list_has_no_confidence(prediction, expected):
    """A class alone is a prediction; an empty list is none."""
    assert cells(prediction) == expected


def test_nobody_is_asked_for_a_confidence_where_nobody_is_asked_at_all():
    """Of `log_only` neither is missing."""
    assert cells(msgspec.UNSET, outcome="log_only") == ("absent", "absent")
