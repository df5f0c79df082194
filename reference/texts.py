"""A column of texts to the numeric columns that stand for it, and to the vocabulary of its words."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from privacy.text import derived_names, word_hash, words_of
from reference.columns import numeric_column
from reference.profile import Binning, Column, Vocabulary
from reference.tally import Tally

MIN_WORDS: Final = 3
"""Words that a text has on the average; names and codes have fewer."""

MAX_PHRASES: Final = 50
"""With as many distinct values or fewer, a column holds phrases that come again, unless nearly each row has its own."""

MIN_ROWS: Final = 2
"""A word that only one row has may be a person's name, and is not listed."""

MAX_WORDS: Final = 50_000


def looks_like_text(tally: Tally) -> bool:
    """Whether a column, about which nobody has told anything, holds texts."""
    counts, texts = tally.counts(), tally.texts()
    if tally.kind is not None or 2 * counts.texts <= counts.numbers + counts.texts + counts.booleans:
        return False
    if len(texts) <= MAX_PHRASES and 2 * len(texts) <= counts.texts:
        return False
    return sum(len(text.split()) for text in texts) >= MIN_WORDS * len(texts)


def text_columns(
    name: str, tally: Tally, binning: Binning, key: bytes = b""
) -> tuple[dict[str, Column], Vocabulary] | None:
    """The columns of n texts by their names, and the vocabulary, its words hashed under the key if there is one.

    A word counts as unseen in a row if the other rows would not have brought it into the vocabulary: so the column is
    what new texts of the same kind would look like, not what texts look like whose words were all noted down. None
    where there is no text. Values of other types are invalid.
    """
    counts, texts = tally.counts(), tally.texts()
    if not texts:
        return None
    words = {text: words_of(text) for text in texts}
    rows: Counter[str] = Counter()
    for text, times in texts.items():
        for word in set(words[text]):
            rows[word] += times
    ranked = sorted(rows.items(), key=lambda item: (-item[1], item[0]))[:MAX_WORDS]
    listed = {word: times for word, times in ranked if times >= MIN_ROWS}
    seen = {word for word, times in listed.items() if times > MIN_ROWS}
    repeats = list(texts.values())
    lengths = np.repeat([float(len(text)) for text in texts], repeats)
    numbers = np.repeat([float(len(words[text])) for text in texts], repeats)
    told = [(text, times) for text, times in texts.items() if words[text]]
    ratios = np.repeat(
        [sum(word not in seen for word in words[text]) / len(words[text]) for text, _ in told],
        [times for _, times in told],
    )
    invalid = counts.invalid + counts.numbers + counts.booleans
    wordless = counts.texts - len(ratios)
    made = [
        numeric_column(lengths, counts.missing, invalid, binning),
        numeric_column(numbers, counts.missing, invalid, binning),
        numeric_column(ratios, counts.missing + wordless, invalid, binning),
    ]
    columns: dict[str, Column] = {
        full: column for full, column in zip(derived_names(name), made, strict=True) if column is not None
    }
    hashes = sorted(word_hash(word, name, key) for word in listed)
    return columns, Vocabulary(b"".join(hashes), keyed=bool(key))
