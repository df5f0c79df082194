"""What `shadowdrift profile` warns of, one line each, and how `--show` prints a profile."""

import json

import numpy as np
import pytest

from lifecycle.refusal import Refusal
from reference.command import main

ROWS = 10_000
CHANCE = np.random.default_rng(1)


@pytest.fixture
def profiled(tmp_path, capsys):
    """Profile columns of values; the warnings without their prefix, and the profile's file."""

    def profiled(*options, **columns):
        names = list(columns)
        rows = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert main([str(tmp_path / "train.jsonl"), "--output", str(tmp_path / "p.json"), *options]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert all(line.startswith("shadowdrift: warning: ") for line in lines)
        return [line.removeprefix("shadowdrift: warning: ") for line in lines], tmp_path / "p.json"

    return profiled


ODD = {
    "few rows": ([0.5, 1.5, 2.5], "3 rows are few for a reference"),
    "an identifier": ([f"u-{each}" for each in range(ROWS)], "column x looks like an identifier: 10000 distinct"),
    "a numbered identifier": (list(range(ROWS)), "column x looks like an identifier"),
    "a constant": ([2.5] * ROWS, "column x is constant"),
    "one category": (["DE"] * ROWS, "column x is constant"),
    "few whole numbers": ([each % 19 for each in range(ROWS)], "column x holds whole numbers with 19 distinct values"),
    "one bin with most": (np.exp(CHANCE.normal(0, 4, ROWS)).tolist(), "of its values in one bin, within which"),
    "_other with most": ([f"c{each % 900}" for each in range(ROWS)], "of its values in one bin, _other"),
    "too many categories": (
        [f"c{each % 11_000}" for each in range(22_000)],
        "has 11000 categories, of which 10000 are",
    ),
}


@pytest.mark.parametrize(("values", "line"), ODD.values(), ids=ODD)
def test_what_is_odd_is_told_in_one_line(profiled, values, line):
    """The column, what is odd, and what to do."""
    warnings, _ = profiled(x=values)
    assert sum(line in warning for warning in warnings) == 1
    assert len(warnings) <= 2


FINE = {
    "amounts": CHANCE.normal(size=ROWS).tolist(),
    "whole amounts": CHANCE.integers(0, 1_000, ROWS).tolist(),
    "countries": CHANCE.choice(["DE", "FR", "US"], ROWS).tolist(),
    "a rare truth": (CHANCE.random(ROWS) < 0.02).tolist(),
    "holes": [None if each % 3 else each / 7 for each in range(ROWS)],
}


@pytest.mark.parametrize("values", FINE.values(), ids=FINE)
def test_what_is_not_odd_is_not_told(profiled, values):
    """A warning that always comes is read by nobody."""
    assert profiled(x=values)[0] == []


def test_a_kind_that_is_told_is_not_doubted(profiled):
    """Whoever decides has read the line."""
    values = [each % 19 for each in range(ROWS)]
    assert profiled("--kind", "x=categorical", x=values)[0] == []
    assert profiled("--kind", "x=numeric", x=values)[0] == []


def test_no_warning_shows_a_value(profiled):
    """Training data is nobody's business, least of all a log's."""
    warnings, _ = profiled(x=[f"secret-{each}" for each in range(ROWS)], y=["secret"] * ROWS)
    assert warnings
    assert not any("secret" in warning for warning in warnings)


def test_a_profile_is_shown_as_a_table(profiled, capsys):
    """Kinds, quantiles, bins and categories with their shares, each with a bar as long as it is large."""
    countries = ["DE"] * 6_000 + ["FR"] * 3_995 + ["LI\x1b[2J"] * 5
    _, path = profiled("--description", "spring", amount=[each / 100 for each in range(ROWS)], country=countries)
    assert main(["--show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("10000 rows, format 1, hash ")
    assert "spring" in lines
    assert "amount  numeric      12 bins, 0 to 99.99, 0 missing" in lines
    assert "  5 % 4.9995, 95 % 94.9905" in lines
    assert sum("9.00%  " in line for line in lines) == 10
    assert "country  categorical  3 categories (string), 2 monitored, 0 missing" in lines
    first, second, other = (
        next(line for line in lines if line.split()[:1] == [name]) for name in ("DE", "FR", "_other")
    )
    assert (first.count("█"), second.count("█"), other.count("█"), other[-1]) == (30, 20, 0, "▏")
    assert "  _other: LI�[2J" in lines


@pytest.mark.parametrize("binning", ["equal_width", "quantile"])
def test_every_column_can_be_shown(profiled, capsys, binning):
    """Constants, few rows, probabilities."""
    _, path = profiled("--binning", binning, a=[1.5] * 3, b=["x"] * 3, c=[1, 2, 3], prediction=[[0.2, 0.8]] * 3)
    main(["--show", str(path)])
    said = capsys.readouterr().out
    assert all(f"{name}  " in said for name in ("a", "b", "c", "prediction", "prediction.confidence"))


def test_a_file_that_is_no_profile_is_not_shown(tmp_path):
    """One line."""
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(Refusal, match=r"--show: .*p.json is not a reference profile of format 1"):
        main(["--show", str(tmp_path / "p.json")])
