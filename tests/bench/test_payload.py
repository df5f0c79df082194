"""The request that everything is measured with."""

import csv
import json
from pathlib import Path

from bench.backend import ANSWER_SIZE, expected_answer
from bench.payload import CATEGORIES, NUMBERS, SIZE, bodies, training_data


def test_every_request_is_300_bytes_of_json_with_20_features() -> None:
    """Others of a run differ in their values alone."""
    made = bodies(500)
    assert {len(body) for body in made} == {SIZE} == {300}
    assert len(set(made)) == 500
    for body in made:
        row = json.loads(body)
        assert set(row) == {*CATEGORIES, *NUMBERS}
        assert len(row) == 20
        assert all(isinstance(row[name], float) and 0 <= row[name] < 10 for name in NUMBERS)


def test_the_same_seed_makes_the_same_requests() -> None:
    """So that two runs can be compared."""
    assert bodies(10) == bodies(10)
    assert bodies(10) != bodies(10, seed=6)


def test_training_data_has_the_same_columns_and_a_prediction(tmp_path: Path) -> None:
    """A profile of it knows every feature of a request."""
    training_data(tmp_path / "train.csv", rows=50)
    rows = list(csv.DictReader((tmp_path / "train.csv").read_text().splitlines()))
    assert len(rows) == 50
    assert set(rows[0]) == {*CATEGORIES, *NUMBERS, "prediction"}


def test_an_answer_without_an_echo_is_as_long_as_a_request() -> None:
    """And JSON."""
    assert len(expected_answer("")) == ANSWER_SIZE
    assert json.loads(expected_answer("00000007"))["echo"] == "00000007"
