"""Schemas that stand in files of their own: read with the configuration, and from then on a part of it.

So all processes of a proxy have the same one, whatever becomes of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from configuration.certificates import reason
from configuration.model import Model
from configuration.privacy import FieldSchema, Schema
from configuration.rules import Section
from configuration.sections import Configuration
from configuration.shown import one_line
from lifecycle.refusal import Refusal


class SchemaFile(Section, frozen=True, omit_defaults=True):
    """What `shadowdrift profile --schema` writes, and people may."""

    fields: dict[str, FieldSchema]
    unknown: Literal["allow", "refuse"] = "allow"


_decode = msgspec.json.Decoder(SchemaFile).decode


def with_schemas(configuration: Configuration) -> Configuration:
    """The configuration with every schema's fields in the file's place. Raises `Refusal`.

    No file is named any more: what has been resolved is written out for a part and read back, and there it would be one
    beside fields. `unknown: refuse` holds wherever it stands.
    """
    models = tuple(_with_schema(model, f"models[{index}].schema") for index, model in enumerate(configuration.models))
    return msgspec.structs.replace(configuration, models=models)


def _with_schema(model: Model, path: str) -> Model:
    schema = model.schema
    if schema is None or schema.file is None:
        return model
    if schema.fields:
        raise Refusal(f"{path}.fields must not be given beside {path}.file; keep one")
    found = load_schema(Path(schema.file), f"{path}.file")
    try:
        whole = Schema(schema.mode, None, found.fields, "refuse" if schema.unknown == "refuse" else found.unknown)
    except ValueError as error:
        raise Refusal(f"{path}.file: {schema.file}: {error}") from None
    return msgspec.structs.replace(model, schema=whole)


def load_schema(path: Path, setting: str) -> SchemaFile:
    """Read a schema's file. Raises `Refusal`."""
    try:
        return _decode(path.read_bytes())
    except OSError as error:
        raise Refusal(f"{setting}: {path} cannot be read: {reason(error)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(
            f"{setting}: {path} must be a schema such as "
            f'{{"fields": {{"amount": {{"type": "number", "required": true}}}}}}: {one_line(str(error))}'
        ) from None
