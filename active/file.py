"""The active file's format, and where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

FORMAT: Final = 1
FILE: Final = Path("active") / "active.json"
"""Below `state_dir`; in a directory of its own, so that it can be replaced where the directory is mounted."""

Mode = Literal["serve", "paused"]


class Entry(msgspec.Struct, frozen=True):
    """What the file says of one model."""

    weights: dict[str, float]
    """Shares of the requests, by version."""
    config_production: str
    """The configuration's `production` that this was decided for; with another one it does not count."""
    mode: Mode = "serve"
    reason: str = ""
    by: str = ""
    at: str = ""
    generation: int = 0

    @property
    def asked(self) -> frozenset[str]:
        """The versions that get requests."""
        if self.mode == "paused":
            return frozenset()
        return frozenset(version for version, weight in self.weights.items() if weight > 0)


class ActiveFile(msgspec.Struct, frozen=True):
    """The whole file; an entry is read when its model's turn comes, so that a mistake in it is that model's alone."""

    format: Literal[1]
    models: dict[str, msgspec.Raw]


def decode(content: bytes) -> ActiveFile:
    """Read a file. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError."""
    return msgspec.json.decode(content, type=ActiveFile)


def entry(raw: msgspec.Raw) -> Entry:
    """Read one model's entry. Raises what `decode` does."""
    return msgspec.json.decode(raw, type=Entry)


def encode(models: dict[str, Any]) -> bytes:
    """The file's text, from entries (`Entry`, or `msgspec.Raw` as it was read) by model."""
    return msgspec.json.format(msgspec.json.encode({"format": FORMAT, "models": models}), indent=1) + b"\n"
