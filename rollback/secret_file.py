"""Secrets out of the files that hold them; no error ever shows one."""

from __future__ import annotations

from pathlib import Path

from configuration.certificates import reason
from lifecycle.refusal import Refusal


def token_of(setting: str, file: str | None) -> str | None:
    """The token that a file holds. Raises `Refusal`, which never shows it."""
    if file is None:
        return None
    try:
        token = Path(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{setting}: {file} cannot be read: {reason(error)}") from None
    if not token or not token.isprintable() or " " in token:
        raise Refusal(f"{setting}: {file} must hold one token of printable characters")
    return token
