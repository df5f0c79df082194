"""A start that a user can mend."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - it is an answer to the user, not a fault
    """Something the user has caused and can mend: its text is the one line they read, and no traceback follows."""
