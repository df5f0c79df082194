"""What slang must do to the tickets' columns, worked out here, apart from profile and emitter."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from demo.drift import DRIFTED_ABOVE, LEFT_ALONE_BELOW, Expectation, numeric_psi
from demo.grammar import SLANG_SHARE, Tickets, tickets

PHASE_ROWS: Final = 8_000
KINDS: Final = ("slang", "none")
RATIO: Final = "note.unseen_ratio"
_WORD: Final = re.compile(r"\w+")


def phases_of(kind: str, seed: int) -> tuple[Tickets, Tickets]:
    """The tickets before, and those after: a share of them in slang, or none."""
    share = SLANG_SHARE if kind == "slang" else 0.0
    return tickets(PHASE_ROWS, 1_000_000 + 2 * seed), tickets(PHASE_ROWS, 1_000_001 + 2 * seed, slang=share)


def expect_of(training: Tickets, phase: Tickets) -> Expectation:
    """Each numeric column's PSI over all rows of a phase, and the two lists."""
    known = _columns(training.rows, _seen(training.notes))
    asked = _columns(phase.rows, _seen(training.notes))
    values = {name: numeric_psi(np.array(known[name]), np.array(asked[name])) for name in known}
    return Expectation(
        values,
        [name for name, value in values.items() if value > DRIFTED_ABOVE],
        [name for name, value in values.items() if value < LEFT_ALONE_BELOW],
    )


def _seen(notes: Sequence[str]) -> set[str]:
    """The words that more than one note has."""
    rows = Counter(word for note in notes for word in set(_words(note)))
    return {word for word, times in rows.items() if times > 1}


def _words(note: str) -> list[str]:
    return ["#" if any(map(str.isdigit, word)) else word for word in _WORD.findall(note.lower())]


def _columns(rows: Sequence[dict[str, Any]], seen: set[str]) -> dict[str, list[float]]:
    words = [_words(row["note"]) for row in rows]
    return {
        "note.length": [float(len(row["note"])) for row in rows],
        "note.words": [float(len(each)) for each in words],
        RATIO: [sum(word not in seen for word in each) / len(each) for each in words],
        "waited_minutes": [row["waited_minutes"] for row in rows],
    }
