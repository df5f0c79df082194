"""The same rows in every format give the same profile."""

import csv
import datetime
import decimal
import json
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecycle.refusal import Refusal
from reference.columns import column_of
from reference.files import profile_of
from reference.profile import Binning, Categorical, Numeric

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=6).filter(
    lambda text: text.startswith(tuple("abcäß")) or not text.strip().isascii()
)
VALUES = {
    "fraction": st.floats(-1e9, 1e9).map(lambda value: value + 0.5 if value == int(value) else value),
    "few": st.integers(-3, 9),
    "large": st.sampled_from([2**60 + each for each in range(12)]),
    "truth": st.booleans(),
    "text": st.sampled_from(["DE", "Köln, Rhein", 'a "b"', "x y"]) | TEXT.filter(lambda text: not text.isspace()),
    "prediction": st.floats(0.001, 0.999),
}
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), min_size=1)


def written(rows, folder):
    """The rows as files of each format."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(["" if row.get(name) is None else row[name] for name in names] for row in rows)
    (folder / "train.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
    pyarrow.parquet.write_table(table, folder / "train.parquet", row_group_size=7)
    return [folder / f"train.{ending}" for ending in ("csv", "jsonl", "parquet")]


@settings(deadline=None, max_examples=30, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_the_same_rows_give_the_same_profile_in_every_format(tmp_path, rows):
    """Kinds, bins, categories and counts: one hash."""
    if all(value is None for row in rows for value in row.values()):
        return
    paths = written(rows, tmp_path)
    results = [profile_of(path, Binning(), {}) for path in paths]
    assert results[0].profile == results[1].profile == results[2].profile
    assert len({result.profile.hash for result in results}) == 1
    assert len({tuple(result.warnings) for result in results}) == 1


@pytest.mark.parametrize("kinds", [{"few": "numeric"}, {"fraction": "categorical", "large": "categorical"}], ids=str)
def test_a_kind_that_is_told_is_the_same_in_every_format(tmp_path, kinds):
    """Whatever the values look like."""
    chance = np.random.default_rng(1)
    rows = [
        {"few": int(few), "fraction": float(few) / 4, "large": 2**60 + int(few)} for few in chance.integers(0, 40, 300)
    ]
    profiles = [profile_of(path, Binning(), kinds).profile for path in written(rows, tmp_path)]
    assert profiles[0] == profiles[1] == profiles[2]
    for name, kind in kinds.items():
        assert isinstance(profiles[0].features[name], Numeric if kind == "numeric" else Categorical)


def test_many_chunks_are_one_file(tmp_path):
    """A column may begin in a late chunk, and end in an early one."""
    amounts = np.random.default_rng(1).normal(size=25_000).tolist()
    rows = [{"amount": amount} | ({"early": "a"} if number < 100 else {}) for number, amount in enumerate(amounts)]
    rows += [{"amount": 0.5, "late": "b"}] * 10
    for path in written(rows, tmp_path):
        profile = profile_of(path, Binning(), {}).profile
        assert profile.features["amount"] == column_of([*amounts, *[0.5] * 10], Binning())
        assert (profile.features["early"].valid, profile.features["early"].missing) == (100, 24_910)
        assert (profile.features["late"].valid, profile.features["late"].missing) == (10, 25_000)


PROBABILITIES = [[0.1, 0.7, 0.2], [0.6, 0.4], [0.5, 0.5], None, [], [0.25, float("nan")], ["x", 1]]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_list_of_probabilities_gives_a_class_and_its_probability(tmp_path, ending):
    """The position of the greatest, the first among equals; what is no list of numbers is invalid."""
    predictions = PROBABILITIES if ending == "jsonl" else PROBABILITIES[:-1]
    path = tmp_path / f"train.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps({"x": 1, "prediction": each}) + "\n" for each in predictions * 30))
    else:
        pyarrow.parquet.write_table(pyarrow.table({"x": [1] * 180, "prediction": predictions * 30}), path)
    profile = profile_of(path, Binning(), {}).profile
    assert profile.prediction.type == "number"
    assert profile.prediction.categories == {"0": 60, "1": 30}
    assert (profile.prediction.missing, profile.prediction.invalid) == (30, 30 * len(predictions) - 120)
    assert (profile.confidence.minimum, profile.confidence.maximum, profile.confidence.valid) == (0.5, 0.7, 90)
    assert list(profile.columns) == ["x", "prediction", "prediction.confidence"]


def test_the_classes_of_probabilities_are_categories_however_many_there_are(tmp_path):
    """A position is no amount."""
    path = tmp_path / "train.jsonl"
    lists = [[float(place == best) for place in range(60)] for best in range(60)]
    path.write_text("".join(json.dumps({"prediction": each}) + "\n" for each in lists * 20))
    profile = profile_of(path, Binning(), {}).profile
    assert isinstance(profile.prediction, Categorical)
    assert len(profile.prediction.categories) == 60
    assert isinstance(profile.confidence, Numeric)


def test_a_list_of_one_is_its_value(tmp_path):
    """As TF Serving wraps a score, and as the events have it."""
    (tmp_path / "train.jsonl").write_text('{"prediction": [0.25]}\n{"prediction": 0.5}\n')
    profile = profile_of(tmp_path / "train.jsonl", Binning(), {}).profile
    assert (profile.prediction.minimum, profile.prediction.maximum) == (0.25, 0.5)
    assert profile.confidence is None


def test_json_lines_take_what_python_writes(tmp_path):
    """NaN and Infinity, which are invalid; a mark at the beginning; empty lines; nested values, which are invalid."""
    text = '\ufeff{"a": NaN, "b": [1]}\n\n{"a": 1.5, "b": "x"}\n{"a": -Infinity, "b": {"c": 1}}\n'
    (tmp_path / "train.json").write_text(text)
    a, b = profile_of(tmp_path / "train.json", Binning(), {}).profile.features.values()
    assert (a.valid, a.invalid, b.valid, b.invalid) == (1, 2, 1, 2)


def test_the_types_that_only_parquet_has(tmp_path):
    """Decimals are numbers, times texts, dictionaries their values; bytes are invalid; an index is no column."""
    day = datetime.date(2026, 11, 1)
    table = pyarrow.table(
        {
            "price": pyarrow.array([decimal.Decimal("1.50"), decimal.Decimal("2.25")]),
            "day": pyarrow.array([day, None]),
            "country": pyarrow.array(["DE", "FR"]).dictionary_encode(),
            "small": pyarrow.array([1.5, 2.5], pyarrow.float32()),
            "raw": pyarrow.array([b"x", None]),
            "__index_level_0__": pyarrow.array([7, 8]),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    result = profile_of(tmp_path / "train.parquet", Binning(), {})
    features = result.profile.features
    assert list(features) == ["price", "day", "country", "small"]
    assert (features["price"].minimum, features["price"].maximum) == (1.5, 2.25)
    assert features["day"].categories == {"2026-11-01": 1}
    assert features["country"].categories == {"DE": 1, "FR": 1}
    assert "column raw has no valid value and is left out" in result.warnings


def test_a_mixed_column_is_of_its_commonest_type(tmp_path):
    """Valid values of other types are `_other`'s in categories, and invalid among numbers."""
    rows = [{"a": "x", "b": 0.5}] * 30 + [{"a": 1, "b": "y"}] * 10 + [{"a": True, "b": 1.25}] * 5
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    a, b = profile_of(tmp_path / "t.jsonl", Binning(), {}).profile.features.values()
    assert (a.type, a.categories, a.counts, a.valid) == ("string", {"x": 30}, (30, 15), 45)
    assert (b.valid, b.invalid) == (35, 10)


BAD = {
    "a list": ("t.jsonl", b"[1, 2]\n", "t.jsonl line 1 is not a JSON object"),
    "half a line": ("t.jsonl", b'{"a": 1}\n{"a": \n', "t.jsonl line 2 is not a JSON object"),
    "no JSON": ("t.ndjson", b"a,b\n", "line 1 is not a JSON object"),
    "half a surrogate pair": ("t.jsonl", b'{"a": "\\ud800"}\n', "line 1 is not a JSON object"),
    "nested too deeply": ("t.jsonl", b"[" * 100_000, "line 1 is not a JSON object"),
    "no lines": ("t.jsonl", b"\n\n", "has no rows"),
    "no values": ("t.jsonl", b"{}\n", "has no column with a valid value"),
    "no Parquet": ("t.parquet", b"a,b\n1,2\n", "t.parquet cannot be read as Parquet: "),
    "a cut Parquet file": ("t.parquet", b"PAR1" + b"\0" * 100, "t.parquet cannot be read as Parquet: "),
    "names without end": (
        "t.jsonl",
        b"\n".join(b'{"k%d": 1}' % number for number in range(5_001)),
        "has more than 5000 columns",
    ),
}


@pytest.mark.parametrize(("name", "content", "line"), BAD.values(), ids=BAD)
def test_a_mistake_is_told_in_one_line(tmp_path, name, content, line):
    """What is wrong, and where."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal, match=line) as refusal:
        profile_of(tmp_path / name, Binning(), {})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_a_missing_file_is_told_in_one_line(tmp_path, name):
    """As for CSV."""
    with pytest.raises(Refusal, match=rf"{name} cannot be read"):
        profile_of(tmp_path / name, Binning(), {})


def test_without_pyarrow_the_line_says_how_to_install_it(tmp_path, monkeypatch):
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Refusal, match=r'Parquet files need pyarrow.*pip install "shadowdrift\[parquet\]"'):
        profile_of(tmp_path / "train.parquet", Binning(), {})


def test_a_format_that_is_told_wins_over_the_name(tmp_path):
    """A file may be called anything."""
    (tmp_path / "data.txt").write_text('{"a": 1.5}\n{"a": 2.5}\n')
    assert profile_of(tmp_path / "data.txt", Binning(), {}, form="jsonl").profile.features["a"].valid == 2
