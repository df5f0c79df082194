"""What every section of the configuration is, and the checks that several of them make.

A failed check is a ValueError that begins with the setting's name; `reading` puts the section's path before it.
"""

from __future__ import annotations

import re

import msgspec

from configuration.shown import shown
from configuration.units import Address, parse_address

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping of the file; a key that it does not know stops the start."""


def between(section: Section, field: str, low: float, high: float) -> None:
    """The field's number lies between the two."""
    value = getattr(section, field)
    if not low <= value <= high:
        raise ValueError(f"{field} must be between {shown(low)} and {shown(high)}, got {shown(value)}")


def named(field: str, value: str) -> None:
    """The value can be a name."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"{field} must be 1 to 64 of the characters A-Z a-z 0-9 . _ -, got {shown(value)}")


def address(field: str, value: str) -> Address:
    """The value is an address."""
    try:
        return parse_address(value)
    except ValueError as error:
        raise ValueError(f"{field} {error}") from None


def guarded(field: str, value: str, token_file: str | None) -> None:
    """Nothing listens beyond loopback without a token."""
    if not address(field, value).loopback and token_file is None:
        raise ValueError(f"{field} must be a loopback address unless token_file is set, got {shown(value)}")
