"""The published JSON Schema of a profile, out of its structs; `python -m reference.schema` writes the file anew."""

from __future__ import annotations

from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

import msgspec

from reference.profile import Profile

FILE: Final = Path(__file__).with_name("profile.schema.json")


def schema() -> dict[str, Any]:
    """The schema of format 1, out of the structs. What only the code checks: that counts add up and edges rise."""
    made = msgspec.json.schema(Profile)
    for part in made["$defs"].values():
        part["description"] = cleandoc(part["description"])  # which Python 3.13 does by itself
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "shadowdrift reference profile, format 1",
        **made,
    }


def text() -> str:
    """The schema as the file has it."""
    return msgspec.json.format(msgspec.json.encode(schema(), order="sorted"), indent=1).decode() + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
