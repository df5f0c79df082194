"""`shadowdrift profile`: CSV files, good and bad."""

import csv
import stat

import numpy as np
import pytest

from lifecycle.refusal import Refusal
from reference.columns import column_of
from reference.command import main
from reference.profile import Binning, load


@pytest.fixture
def run(tmp_path):
    """Profile a text (or bytes) with options; the profile."""

    def run(content, *options):
        source, output = tmp_path / "train.csv", tmp_path / "references" / "fraud.json"
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert main([str(source), "--output", str(output), *options]) == 0
        return load(output)

    return run


def test_each_column_is_a_feature_and_prediction_the_prediction(run):
    """In the file's order."""
    profile = run("amount,prediction,country\n1.5,0.2,DE\n2.5,0.4,FR\n")
    assert list(profile.features) == ["amount", "country"]
    assert list(profile.columns) == ["amount", "country", "prediction"]
    assert profile.rows == 2


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1.5", "2"], "numeric"),
        (["1", "2.0", "3"], "number"),
        ([str(each) for each in range(21)], "numeric"),
        (["1e3", "2.5E-1", "-.5", "+7"], "numeric"),
        ([" 1.5", "2 "], "numeric"),
        (["1.5", "nan", "-inf"], "numeric"),
        (["1", "nan"], "number"),
        (["DE", "3"], "string"),
        (["1.5", "n/a"], "string"),
        (["007", "008"], "string"),
        (["1_000", "2_000"], "string"),
        (["True", "false", "TRUE"], "boolean"),
        (["true", "1"], "string"),
    ],
    ids=lambda value: "-".join(value[:3]) if isinstance(value, list) else value,
)
def test_the_kind_of_a_column_comes_from_all_its_cells(run, cells, kind):
    """Also from the last one."""
    column = run("x,y\n" + "".join(f"{cell},1\n" for cell in [*cells, ""])).features["x"]
    assert column.missing == 1
    assert getattr(column, "type", "numeric") == kind


def test_cells_of_numbers_are_one_category_however_they_are_written(run):
    """3, 3.0 and 3e0."""
    assert run("x,y\n3,1\n3.0,1\n3e0,1\n4,1\n").features["x"].categories == {"3": 3, "4": 1}


def test_booleans_are_written_as_json_writes_them(run):
    """pandas writes True and False."""
    assert run("x,y\nTrue,1\nFALSE,1\ntrue,1\n").features["x"].categories == {"true": 2, "false": 1}


def test_missing_and_invalid_cells_are_counted_apart(run):
    """An empty cell is missing; what is no finite number in a numeric column is invalid."""
    column = run("x,y\n1.5,1\n,1\n  ,1\ninf,1\nn/a,1\n", "--kind", "x=numeric").features["x"]
    assert (column.valid, column.missing, column.invalid) == (1, 2, 2)


def test_a_file_says_the_same_as_its_values_in_memory(run):
    """Both ways lead to the same column."""
    chance = np.random.default_rng(1)
    amount, city = chance.normal(size=500).tolist(), chance.choice(["Ulm", "Köln, Rhein", 'a "b"'], 500).tolist()
    lines = ["amount,city"] + [f'{a!r},"{c.replace(chr(34), chr(34) * 2)}"' for a, c in zip(amount, city, strict=True)]
    features = run("\r\n".join(lines)).features
    assert features == {"amount": column_of(amount, Binning()), "city": column_of(city, Binning())}


def test_options_stand_in_the_profile(run):
    """So that the exporter can see whether they fit its settings."""
    rows = "x,y\n" + "".join(f"{each / 7},1\n" for each in range(100))
    profile = run(rows, "--bins", "4", "--binning", "quantile", "--description", "spring", "--kind", "y=numeric")
    assert profile.binning == Binning(4, "quantile")
    assert profile.description == "spring"
    assert len(profile.features["x"].counts) == 4
    assert profile.features["y"].counts == (0, 100)
    assert run(rows, "--range", "0", "1").binning.range == (0.0, 1.0)


def test_a_summary_tells_each_column_and_few_rows_are_warned_of(run, capsys):
    """One line a column on standard output, warnings on standard error."""
    run("amount,country,empty,prediction\n1.5,DE,,0.1\n2.5,,,0.2\n")
    said = capsys.readouterr()
    first, *columns = said.out.splitlines()
    assert "references/fraud.json: 2 rows, hash " in first
    assert [" ".join(line.split()) for line in columns] == [
        "amount numeric 3 bins, 1.5 to 2.5, 0 missing",
        "country categorical 1 categories (string), 0 monitored, 1 missing",
        "prediction numeric 3 bins, 0.1 to 0.2, 0 missing",
    ]
    assert "warning: 2 rows are few for a reference" in said.err
    assert "warning: column empty has no valid value and is left out" in said.err


def test_the_file_is_readable_and_replaces_the_old_one_whole(run, tmp_path):
    """No temporary file is left behind."""
    run("x,y\n1.5,1\n")
    run("x,y\n2.5,1\n")
    assert [path.name for path in (tmp_path / "references").iterdir()] == ["fraud.json"]
    assert stat.S_IMODE((tmp_path / "references" / "fraud.json").stat().st_mode) == 0o644


def test_a_byte_order_mark_and_empty_lines_are_no_matter(run):
    """As spreadsheets write them."""
    assert list(run(b"\xef\xbb\xbfx,y\r\n1.5,1\r\n\r\n2.5,1\r\n").features) == ["x", "y"]


def test_a_single_column_may_have_empty_cells(run):
    """An empty line is then an empty cell."""
    assert run("x\n1.5\n\n2.5\n").features["x"].missing == 1


def test_a_hundred_thousand_rows_take_seconds(tmp_path):
    """Streamed, in two passes."""
    chance = np.random.default_rng(1)
    source, output = tmp_path / "train.csv", tmp_path / "fraud.json"
    with source.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c"])
        numbers, texts = chance.normal(size=100_000).tolist(), chance.choice(["x", "y", "z"], 100_000).tolist()
        writer.writerows(zip(numbers, texts, range(100_000), strict=True))
    assert main([str(source), "--output", str(output)]) == 0
    assert load(output).rows == 100_000


BAD = {
    "an empty file": ("", [], "is empty; its first line must name the columns"),
    "no rows": ("x,y\n", [], "has a header and no rows"),
    "no header": ("1.5,2\n2.5,3\n", [], "line 1 holds numbers where the columns' names should stand"),
    "a column without a name": ("x,,z\n1,2,3\n", [], "line 1: column 2 has no name"),
    "a name twice": ("x,y,x\n1,2,3\n", [], "line 1 names the column x twice"),
    "a ragged row": ("x,y\n1,2\n\n1,2,3\n", [], "line 4 has 3 cells, but the header has 2"),
    "not UTF-8": (b"x,y\n1,\xff\n", [], "is not UTF-8 text"),
    "nothing valid": ("x,y\n,\n", [], "has no column with a valid value"),
    "a kind for no column": ("x,y\n1,2\n", ["--kind", "z=numeric"], "--kind z: .* has no such column; it has x, y"),
    "an unknown kind": ("x,y\n1,2\n", ["--kind", "x=words"], "must be like amount=numeric"),
    "one bin": ("x,y\n1,2\n", ["--bins", "1"], "--bins must be between 2 and 1000, got 1"),
    "a falling range": ("x,y\n1,2\n", ["--range", "0.9", "0.1"], "--range must be two rising quantiles"),
    "no number": ("x,y\n1,2\n", ["--bins", "many"], "invalid int value"),
}


@pytest.mark.parametrize(("content", "options", "line"), BAD.values(), ids=BAD.keys())
def test_a_mistake_is_told_in_one_line_and_leaves_no_file(run, tmp_path, content, options, line):
    """What is wrong, and where."""
    with pytest.raises(Refusal, match=line) as refusal:
        run(content, *options)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "references").exists()


def test_a_missing_file_is_told_in_one_line(tmp_path):
    """Before anything is written."""
    with pytest.raises(Refusal, match=r"train.csv cannot be read: no such file"):
        main([str(tmp_path / "train.csv"), "--output", str(tmp_path / "fraud.json")])


def test_an_output_that_cannot_be_written_is_told_in_one_line(tmp_path):
    """Here a directory stands in its place."""
    (tmp_path / "train.csv").write_text("x,y\n1,2\n")
    (tmp_path / "fraud.json").mkdir()
    with pytest.raises(Refusal, match=r"--output .* cannot be written: is a directory"):
        main([str(tmp_path / "train.csv"), "--output", str(tmp_path / "fraud.json")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fraud.json", "train.csv"]
