"""The frame of every measurement that somebody starts: its last words, and what it says meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from lifecycle.refusal import REFUSED, Refusal


def framed(main: Callable[[Sequence[str]], int]) -> int:
    """Run it with the command line's arguments; its exit code. What a user can mend is one line."""
    try:
        return main(sys.argv[1:])
    except Refusal as refusal:
        sys.stderr.write(f"bench: {refusal}\n")
        return REFUSED
    except KeyboardInterrupt:
        return 130


def say(line: str) -> None:
    """One line of progress, at once."""
    sys.stdout.write(f"bench: {line}\n")
    sys.stdout.flush()
