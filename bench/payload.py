"""The request that every measurement sends, and the training data that a reference profile is made of.

300 bytes of JSON with 20 features: 17 numbers and three categories.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SIZE: Final = 300
NUMBERS: Final = tuple(f"x{index:02}" for index in range(1, 18))
CATEGORIES: Final = {"land": ("DE", "FR", "US"), "kind": ("new", "old"), "card": ("visa", "amex", "none")}
PATH: Final = "/predict"
SEED: Final = 5


def bodies(count: int, seed: int = SEED) -> list[bytes]:
    """So many different requests, each of 300 bytes."""
    draw = random.Random(seed)
    return [body(row) for row in _rows(count, draw)]


def body(row: dict[str, str]) -> bytes:
    """One row as JSON, brought to 300 bytes with more digits in its last number."""
    cells = [f'"{name}":"{row[name]}"' for name in CATEGORIES] + [f'"{name}":{row[name]}' for name in NUMBERS]
    text = ",".join(cells)
    return f"{{{text}{'1' * (SIZE - len(text) - 2)}}}".encode()


def _rows(count: int, draw: random.Random) -> Iterator[dict[str, str]]:
    """Each value as it is written."""
    for _ in range(count):
        row = {name: draw.choice(values) for name, values in CATEGORIES.items()}
        yield row | {name: f"{min(max(draw.gauss(5, 1), 0), 9.9):.6f}" for name in NUMBERS}


def training_data(file: Path, rows: int = 10_000) -> None:
    """A CSV file of the same distribution, with a prediction beside it."""
    with file.open("w", newline="") as output:
        writer = csv.DictWriter(output, [*CATEGORIES, *NUMBERS, "prediction"])
        writer.writeheader()
        draw = random.Random(SEED + 1)
        writer.writerows({**row, "prediction": draw.choice((0.25, 0.5, 0.75))} for row in _rows(rows, draw))
