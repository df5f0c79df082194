"""How a value of the file stands in a message: on one line, cut to what fits, with nothing in it that acts."""

from __future__ import annotations

import json

_LONGEST = 60


def shown(value: object) -> str:
    """A value as the file has it: `null` and `true`, texts in quotes."""
    if value is None or isinstance(value, (bool, dict, list)):
        return cut(json.dumps(value, default=str, ensure_ascii=False))
    if isinstance(value, int):
        return cut(str(int(value)))
    if isinstance(value, float):
        return f"{value:.15g}"
    return cut(repr(value))


def cut(text: str) -> str:
    """A text on one line of at most 60 characters."""
    text = one_line(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def one_line(text: str) -> str:
    """A text without line breaks and without characters that do not print: they are escaped."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
