"""Prometheus' text format, version 0.0.4: families of samples to bytes, whatever the names in them are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

Labels: TypeAlias = tuple[tuple[str, str], ...]
Sample: TypeAlias = tuple[Labels, float]

_LABEL_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_HELP_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n"})


class Family(NamedTuple):
    """One metric: its name, its type, a line of help, and its samples."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: Iterable[Sample]


def exposition(families: Iterable[Family]) -> bytes:
    """All families as one scrape; a family without a sample keeps its HELP and TYPE lines."""
    return "".join(line for family in families for line in _lines(family)).encode("utf-8", "replace")


def labelled(names: tuple[str, str], values: Mapping[tuple[str, str], float]) -> list[Sample]:
    """Samples out of a dictionary from two labels' values to the sample's value."""
    return [(tuple(zip(names, key, strict=True)), value) for key, value in values.items()]


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help.translate(_HELP_ESCAPES)}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    for labels, value in family.samples:
        yield f"{family.name}{_braces(labels)} {value!r}\n"


@lru_cache(maxsize=200_000)
def _braces(labels: Labels) -> str:
    """The labels as text; the same ones come again with every scrape."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in labels) + "}"
