"""A profile as text for people: one line a column, or a table with all bins and categories."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from privacy.text import derived_names
from reference.profile import Categorical, Column, Numeric, Profile, Vocabulary

_BAR: Final = 30
_CATEGORIES: Final = 20
_NAME: Final = 40


def overview(profile: Profile, path: str) -> str:
    """What has been made: rows, hash, and a line for each column."""
    width = max(map(len, [*profile.columns, *profile.texts]))
    lines = [f"{name:<{width}}  {_line(column)}" for name, column in profile.columns.items()]
    lines += [f"{name:<{width}}  {_text(name, text)}" for name, text in profile.texts.items()]
    if profile.hashed:
        lines.append(f"hashed under the key {profile.key_id}: {', '.join(profile.hashed)}")
    return "\n".join([f"{path}: {profile.rows} rows, hash {profile.hash}", *lines, ""])


def table(profile: Profile) -> str:
    """The whole profile: for each column its kind, its bins or categories with their shares, its quantiles."""
    low, high = profile.binning.range
    between = "" if profile.binning.binning == "quantile" else f", between the quantiles {low:g} and {high:g}"
    lines = [
        f"{profile.rows} rows, format {profile.format}, hash {profile.hash}",
        f"numeric columns: {profile.binning.bins} bins, {profile.binning.binning}{between}",
    ]
    if profile.description:
        lines.append(_safe(profile.description, 1000))
    lines += [f"{_safe(name)}  {_text(_safe(name), text)}" for name, text in profile.texts.items()]
    if profile.hashed:
        lines.append(f"hashed under the key {profile.key_id}: {', '.join(map(_safe, profile.hashed))}")
    for name, column in profile.columns.items():
        lines += ["", f"{_safe(name)}  {_line(column)}"]
        lines += _numbers(column) if isinstance(column, Numeric) else _categories(column)
    return "\n".join([*lines, ""])


def _text(name: str, text: Vocabulary) -> str:
    made = ", ".join(derived_names(name))
    return f"text         {len(text.split())} words that at least two rows have; told of by {made}"


def _line(column: Column) -> str:
    if isinstance(column, Numeric):
        what = f"numeric      {len(column.counts)} bins, {column.minimum:g} to {column.maximum:g}"
    else:
        what = f"categorical  {len(column.categories)} categories ({column.type}), {len(column.monitored)} monitored"
    what += f", {column.missing} missing"
    return f"{what}, {column.invalid} invalid" if column.invalid else what


def _numbers(column: Numeric) -> Iterator[str]:
    yield f"  5 % {column.low:g}, 95 % {column.high:g}"
    edges = [f"{edge:g}" for edge in column.edges]
    last = edges[-1]
    names = [f"below {edges[0]}", *(f"{left} to {right}" for left, right in pairwise(edges))]
    if not column.open_ended and column.edges[0] == column.edges[-1]:
        names[1] = f"equal to {last}"
    yield from _bars([*names, f"from {last}" if column.open_ended else f"above {last}"], column)


def _categories(column: Categorical) -> Iterator[str]:
    rest = len(column.categories) - len(column.monitored)
    yield from _bars([*map(_safe, column.monitored), f"_other ({rest} listed)"], column)
    rare = list(column.categories)[len(column.monitored) :]
    if rare:
        more = f", and {len(rare) - _CATEGORIES} more" if len(rare) > _CATEGORIES else ""
        yield f"  _other: {', '.join(map(_safe, rare[:_CATEGORIES]))}{more}"


def _bars(names: list[str], column: Column) -> Iterator[str]:
    width = max(map(len, names))
    most = max(column.counts)
    for name, count in zip(names, column.counts, strict=True):
        bar = "█" * round(_BAR * count / most) or ("▏" if count else "")
        yield f"  {name:<{width}}  {count / column.valid:7.2%}  {bar}".rstrip()


def _safe(text: str, most: int = _NAME) -> str:
    """A name on one line, whatever is in it: a terminal must not obey what a client sent."""
    shown = "".join(letter if letter.isprintable() else "�" for letter in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
