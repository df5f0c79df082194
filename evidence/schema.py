"""The document's JSON Schema, out of its structs; `python -m evidence.schema` writes the published file anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from evidence.document import FORMAT, Evidence

FILE: Final = Path(__file__).with_name("evidence.schema.json")


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a whole document; unknown fields are allowed."""
    _, parts = msgspec.json.schema_components([Evidence], ref_template="#/$defs/{name}")
    whole = parts.pop("Evidence")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:shadowdrift:evidence:v{FORMAT}",
        **whole,
        "title": f"shadowdrift evidence, format {FORMAT}",
        "$defs": dict(sorted(parts.items())),
    }


def text() -> str:
    """The schema as the file has it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
