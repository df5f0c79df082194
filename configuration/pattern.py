"""A user's pattern, compiled by RE2, which takes time in proportion to the text, whatever the pattern is."""

from __future__ import annotations

import re
from re import _parser  # type: ignore[attr-defined]  # how Python itself reads a pattern; there is no other door
from typing import Any, Final

import re2

MAX_CHARACTERS: Final = 1000
MAX_MEMORY: Final = 1024 * 1024
"""What RE2 may take for a pattern, in bytes; `(a{1000}){1000}` would take more."""

_REPEATS: Final = {"MAX_REPEAT", "MIN_REPEAT"}


def compiled(pattern: str) -> Any:
    """The pattern, ready to search. Raises ValueError: what is wrong with it, to stand behind the setting's name."""
    if not 0 < len(pattern) <= MAX_CHARACTERS:
        raise ValueError(f"must have 1 to {MAX_CHARACTERS} characters, got {len(pattern)}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    try:
        made = re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"must be a pattern that RE2 takes: {text}") from None
    if made.search("") is not None:
        raise ValueError("must not fit the empty text, or it would be found everywhere")
    if _nests(pattern):
        raise ValueError(
            "must not repeat without end what repeats without end, as in (a+)+: it takes other tools exponential time"
        )
    return made


def _nests(pattern: str) -> bool:
    """Whether an endless repetition holds another one, or alternatives that begin alike, which is the same."""
    try:
        return _endless_within(_parser.parse(pattern), False)
    except (re.error, RecursionError, OverflowError):  # RE2's own words, such as \pN, which are no repetitions
        return _ENDLESS_GROUP.search(pattern) is not None


_ENDLESS_GROUP: Final = re.compile(r"[*+]\??\)(?:[*+]|\{\d+,\})")


def _endless_within(parsed: Any, inside: bool) -> bool:
    for operation, argument in parsed:
        name = str(operation)
        if name in _REPEATS:
            endless = argument[1] == _parser.MAXREPEAT
            if (endless and inside) or _endless_within(argument[2], inside or endless):
                return True
        elif name == "BRANCH":
            if inside and _overlap(argument[1]):
                return True
            if any(_endless_within(branch, inside) for branch in argument[1]):
                return True
        elif name == "SUBPATTERN":
            if _endless_within(argument[-1], inside):
                return True
        elif name == "ATOMIC_GROUP" and _endless_within(argument, inside):
            return True
    return False


def _overlap(branches: list[Any]) -> bool:
    """Whether two alternatives begin with the same: (a|a)* or (a|ab)*."""
    first = [repr(branch[0]) if len(branch) else "" for branch in branches]
    return len(set(first)) < len(first)
