"""Prometheus' text format, version 0.0.4: families of samples to bytes, whatever the names in them are.

A family of a few samples gives them as labels and values. One of tens of thousands gives its lines as text: `lines`
puts labels that were made once before values that were formatted all at once, some 0.2 µs a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from numpy.typing import NDArray

Labels: TypeAlias = tuple[tuple[str, str], ...]
Sample: TypeAlias = tuple[Labels, float]
Kind = Literal["gauge", "counter", "histogram"]

_LABEL_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_HELP_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n"})
_encoder = msgspec.json.Encoder()


class Family(NamedTuple):
    """One metric: its name, its type, a line of help, and its samples; or, in `text`, their lines ready made."""

    name: str
    kind: Kind
    help: str
    samples: Iterable[Sample] = ()
    text: Iterable[str] = ()


def exposition(families: Iterable[Family]) -> bytes:
    """All families as one scrape; a family without a sample keeps its HELP and TYPE lines."""
    return "".join(line for family in families for line in _lines(family)).encode("utf-8", "replace")


def labelled(names: tuple[str, str], values: Mapping[tuple[str, str], float]) -> list[Sample]:
    """Samples out of a dictionary from two labels' values to the sample's value."""
    return [(tuple(zip(names, key, strict=True)), value) for key, value in values.items()]


def label_texts(fixed: Labels, name: str, values: Iterable[str], after: Labels = ()) -> list[str]:
    """For each value of the label `name` all labels as they stand in a line, a space behind them."""
    before = "".join(_pair(*label) + "," for label in fixed)
    behind = "".join("," + _pair(*label) for label in after)
    return [f"{{{before}{_pair(name, value)}{behind}}} " for value in values]


def numbers(values: NDArray[Any]) -> list[str]:
    """Finite numbers as text that gives them back exactly."""
    return _encoder.encode(values.tolist())[1:-1].decode().split(",") if len(values) else []


def lines(name: str, labels: Sequence[str], values: Iterable[str]) -> str:
    """A line for each of n labels (`label_texts`) with the value beside it."""
    between = f"\n{name}"
    return f"{name}{between.join(map(str.__add__, labels, values))}\n" if labels else ""


def histogram(labels: Labels, name: str, edges: Sequence[float], counts: Sequence[int], total: float) -> Iterator[str]:
    """The lines of one histogram: `counts` of values up to each edge and above the one before, then those above all."""
    upper, below = [*map(repr, edges), "+Inf"], 0
    for edge, count in zip(upper, counts, strict=True):
        below += count
        yield f"{name}_bucket{_braces((*labels, ('le', edge)))} {below}\n"
    yield f"{name}_sum{_braces(labels)} {total!r}\n{name}_count{_braces(labels)} {below}\n"


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help.translate(_HELP_ESCAPES)}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    for labels, value in family.samples:
        yield f"{family.name}{_braces(labels)} {value!r}\n"
    yield from family.text


@lru_cache(maxsize=20_000)
def _braces(labels: Labels) -> str:
    """The labels as text; the same ones come again with every scrape."""
    if not labels:
        return ""
    return "{" + ",".join(_pair(*label) for label in labels) + "}"


def _pair(name: str, value: str) -> str:
    return f'{name}="{value.translate(_LABEL_ESCAPES)}"'
