"""The identity of an exchange."""

from __future__ import annotations

from uuid_utils import uuid7


def new_id() -> str:
    """A fresh UUIDv7: unique, and sorted by time."""
    return str(uuid7())
