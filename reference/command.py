"""`shadowdrift profile`: training data in a CSV file to a reference profile."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final, NoReturn, get_args

from configuration.model import Drift, Window
from lifecycle.refusal import Refusal
from reference.columns import Kind
from reference.csv_rows import profile_of
from reference.profile import Binning, Column, Numeric, Profile, Scheme, save

_FEW_ROWS: Final = 10 * Window().size
"""With one fixed reference of 1,000 rows the p-values of most windows of 1,000 are off; with 10,000 of few."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refusal(f"profile: {message}; `shadowdrift profile --help` tells the usage")


def main(arguments: list[str]) -> int:
    """Write the profile and tell what is in it. Raises `Refusal`, one line, for what the user has to mend."""
    given = _parser().parse_args(arguments)
    if Path(given.output).exists() and Path(given.csv).exists() and Path(given.output).samefile(given.csv):
        raise Refusal(f"profile: --output {given.output} is the training data itself; name another file")
    binning = _binning(given.bins, given.binning, (given.range[0], given.range[1]))
    result = profile_of(Path(given.csv), binning, dict(given.kind), given.description)
    save(result.profile, Path(given.output), "--output")
    for warning in result.warnings:
        sys.stderr.write(f"shadowdrift: warning: {warning}\n")
    if result.profile.rows < _FEW_ROWS:
        sys.stderr.write(
            f"shadowdrift: warning: {result.profile.rows} rows are few for a reference; "
            f"with {_FEW_ROWS} or more (ten windows) its own chance matters little\n"
        )
    sys.stdout.write(_summary(result.profile, given.output))
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = Drift()
    parser = _Parser(
        prog="shadowdrift profile",
        description="Make a reference profile out of training data: a CSV file with a header, each column a feature, "
        "a column named prediction the model's prediction.",
    )
    parser.add_argument("csv", help="the training data")
    parser.add_argument("--output", required=True, help="the profile to write, for example references/fraud.json")
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        type=_kind,
        metavar="COLUMN=KIND",
        help="numeric or categorical, where the choice made by itself is wrong (whole numbers with at most 20 "
        "distinct values are categories)",
    )
    parser.add_argument("--bins", type=int, default=defaults.bins, help="bins of a numeric column (%(default)s)")
    parser.add_argument("--binning", choices=get_args(Scheme), default=defaults.binning)
    parser.add_argument(
        "--range",
        type=float,
        nargs=2,
        default=defaults.range,
        metavar=("LOW", "HIGH"),
        help="the quantiles between which bins of equal width lie (0.05 0.95)",
    )
    parser.add_argument("--description", default="", help="a text for people; it does not count as a change")
    return parser


def _kind(text: str) -> tuple[str, Kind]:
    name, _, kind = text.rpartition("=")
    for known in get_args(Kind):
        if name and kind == known:
            return name, known
    raise argparse.ArgumentTypeError(f"must be like amount=numeric or zip=categorical, got {text!r}")


def _binning(bins: int, scheme: Scheme, quantiles: tuple[float, float]) -> Binning:
    """The same rules as for a model's `drift:`, told with the options' names."""
    try:
        Drift(bins=bins, binning=scheme, range=quantiles)
    except ValueError as error:
        raise Refusal(f"profile: --{error}") from None
    return Binning(bins, scheme, quantiles)


def _summary(profile: Profile, output: str) -> str:
    width = max(map(len, profile.columns))
    lines = [f"{name:<{width}}  {_column(column)}" for name, column in profile.columns.items()]
    return "\n".join([f"{output}: {profile.rows} rows, hash {profile.hash}", *lines, ""])


def _column(column: Column) -> str:
    if isinstance(column, Numeric):
        what = f"numeric      {len(column.counts)} bins, {column.minimum:g} to {column.maximum:g}"
    else:
        what = f"categorical  {len(column.categories)} categories ({column.type}), {len(column.monitored)} monitored"
    what += f", {column.missing} missing"
    return f"{what}, {column.invalid} invalid" if column.invalid else what
