"""A number as the lower end of its bucket, the same in an event and in the profile that it is compared with."""

from __future__ import annotations

from math import floor
from typing import Final

_EXACT: Final = 1e15
_ULP: Final = 2.0**-53


def bucketed(value: float, width: float) -> float:
    """The lower end of the bucket that a finite number lies in; a whole number where width and value are whole."""
    if width == int(width):
        width = int(width)
    if type(value) is type(width) is int:
        return (value // width) * width
    if abs(value) * _ULP >= width:  # floats lie further apart than buckets: each is the lower end of its own
        return float(value)
    low = floor(value / width) * width
    return float(f"{low:.15g}") if abs(low) < _EXACT else float(low)  # 0.3, not 0.30000000000000004
