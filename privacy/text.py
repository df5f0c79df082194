"""What can be told of a text without telling it: its length, its words, and how many of them are new."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

DERIVED: Final = ("length", "words", "unseen_ratio")
"""The columns that a text `note` has: `note.length` and so on."""

VOCABULARY: Final = "vocabulary"
"""What the key of words is derived for."""

DIGEST_BYTES: Final = 8
_WORD: Final = re.compile(r"\w+(?:['\u2019]\w+)*")
_MAX_WORD: Final = 64
_KEPT_WORDS: Final = 65_536


class Measured(NamedTuple):
    """A text's length in characters, its words, and the share of them that the vocabulary lacks."""

    length: int
    words: int
    unseen_ratio: float | None


def words_of(text: str) -> list[str]:
    """The words in lower case. Whatever has a digit in it is the word `0`: numbers are new every time."""
    return ["0" if any(map(str.isdigit, word)) else word[:_MAX_WORD] for word in _WORD.findall(text.lower())]


def word_hash(word: str, column: str, key: bytes = b"") -> bytes:
    """Eight bytes of a word, of this column, under the key if there is one (BLAKE2b)."""
    return blake2b(
        word.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES, key=key, salt=_salt(column)
    ).digest()


@lru_cache(maxsize=1024)
def _salt(column: str) -> bytes:
    return blake2b(column.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Vocabulary:
    """The words that the training data had, by their hash; remembers what it has looked up."""

    def __init__(self, column: str, hashes: Iterable[bytes], key: bytes = b"") -> None:
        self._column = column
        self._key = key
        self._hashes = frozenset(hashes)
        self._known: dict[str, bool] = {}

    def lacks(self, word: str) -> bool:
        """Whether the word is none of the vocabulary's."""
        known = self._known.get(word)
        if known is None:
            if len(self._known) >= _KEPT_WORDS:
                self._known.clear()
            known = self._known[word] = word_hash(word, self._column, self._key) not in self._hashes
        return known


def measured(text: str, vocabulary: Vocabulary | None) -> Measured:
    """What is told of a text; without a vocabulary or without a word there is no ratio."""
    words = words_of(text)
    ratio = None
    if vocabulary is not None and words:
        ratio = sum(map(vocabulary.lacks, words)) / len(words)
    return Measured(len(text), len(words), ratio)


def derived_names(column: str) -> tuple[str, str, str]:
    """The names of a text's columns, as `DERIVED` has them."""
    length, words, ratio = DERIVED
    return f"{column}.{length}", f"{column}.{words}", f"{column}.{ratio}"
