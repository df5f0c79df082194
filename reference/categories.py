"""How a value is written as a category: `DE`, `3`, `0.5`, `true`."""

from __future__ import annotations

from typing import Final

_EXACT: Final = 10**18


def number_category(value: float) -> str:
    """The category of a finite number: `3` for 3 and for 3.0, `0.5` for 0.5. Raises OverflowError beyond a float."""
    if -_EXACT < value < _EXACT:
        return str(int(value)) if value == int(value) else repr(float(value))
    return repr(float(value))


def boolean_category(value: bool) -> str:
    """`true` or `false`."""
    return "true" if value else "false"
