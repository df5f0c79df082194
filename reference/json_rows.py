"""JSON lines: each line an object, its names the columns. An empty line is none.

As in requests, NaN and Infinity are read, which Python's writers write, and are invalid.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lifecycle.refusal import Refusal
from reference.draft import Draft, chunks
from reference.json_value import json_value


def read_json_lines(path: Path, draft: Draft) -> None:
    """Read the training data into the draft. Raises `Refusal`, one line, for a line that is no object."""
    try:
        with path.open("rb") as file:
            for rows in chunks(_rows(path, file)):
                draft.add_rows(rows)
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _rows(path: Path, lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if not text:
            continue
        row = json_value(text)
        if not isinstance(row, dict):
            raise Refusal(
                f'{path} line {number} is not a JSON object such as {{"amount": 12.5, "prediction": 0.9}}; '
                "each line must be one, with a column under each name"
            )
        yield row
