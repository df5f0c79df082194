"""A start that a user can mend."""

from __future__ import annotations

from typing import Final

REFUSED: Final = 2
"""The exit code of a process that refused to start or to go on."""


class Refusal(Exception):  # noqa: N818 - it is an answer to the user, not a fault
    """Something the user has caused and can mend: its text is the one line they read, and no traceback follows."""


class AlreadyTold(Refusal):
    """A child process has refused and has written the line itself."""
