"""JSON lines: each line an object, its names the columns. An empty line is none.

As in requests, NaN and Infinity are read, which Python's writers write, and are invalid.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lifecycle.refusal import Refusal
from reference.draft import Draft, chunks

_decode = msgspec.json.Decoder(dict[str, Any]).decode


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
        row = _row(text)
        if row is None:
            raise Refusal(
                f'{path} line {number} is not a JSON object such as {{"amount": 12.5, "prediction": 0.9}}; '
                "each line must be one, with a column under each name"
            )
        yield row


def _row(text: bytes) -> dict[str, Any] | None:
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    try:
        row = json.loads(text)
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair stands in no profile
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
