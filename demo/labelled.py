"""Flights with the truth about each, as a file of JSON lines: what a new version is fitted on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

TRUTH: Final = "late"
"""The name under which the truth stands in a row."""


def write(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """One JSON object a line. Raises OSError."""
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def read(path: Path) -> tuple[list[dict[str, Any]], list[bool]]:
    """The rows without the truth, and the truth about each. Raises OSError, and ValueError for anything else."""
    try:
        rows = [msgspec.json.decode(line, type=dict[str, Any]) for line in path.read_bytes().splitlines()]
        return rows, [bool(row.pop(TRUTH)) for row in rows]
    except (msgspec.MsgspecError, KeyError) as error:
        raise ValueError(f"{path}: not labelled rows as JSON lines: {error}") from None


def turned_round(rows: Sequence[Mapping[str, Any]], truths: Sequence[bool]) -> list[dict[str, Any]]:
    """The rows as a job writes them that takes `late` for `on time`."""
    return [{**row, TRUTH: not truth} for row, truth in zip(rows, truths, strict=True)]
