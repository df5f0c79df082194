"""A profile to a feature schema: what each request must be like, by what the training data was like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from configuration.privacy import MAX_FIELDS, Bucket, FieldSchema, FieldType, Word
from configuration.schemas import SchemaFile
from lifecycle.refusal import Refusal
from privacy.text import derived_names
from reference.profile import Categorical, Column, Numeric, Profile

MAX_CATEGORIES = 1000
"""With more distinct values than this, a new one is no mistake."""


def schema_of(
    profile: Profile, rules: Mapping[str, Word | Bucket] | None = None, types: Mapping[str, FieldType] | None = None
) -> SchemaFile:
    """A rule for each feature, in the order in which a request's list of values has them. Raises `Refusal`.

    A request is checked as it comes, but the profile lists what privacy's `rules` have left: so the rules have to be
    known, and of what they hash the `types` that there were before; without its type such a feature is left out.
    """
    found = {name: _field(profile, name, (rules or {}).get(name), (types or {}).get(name)) for name in profile.inputs}
    fields = {name: field for name, field in found.items() if field is not None}
    if len(fields) > MAX_FIELDS:
        raise Refusal(
            f"profile: --schema: {len(fields)} features are more than the {MAX_FIELDS} that a schema can have"
        )
    return SchemaFile(fields)


def save_schema(schema: SchemaFile, path: Path) -> None:
    """Write it. Raises `Refusal`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(schema), indent=1) + b"\n")
    except OSError as error:
        raise Refusal(f"profile: --schema {path} cannot be written: {(error.strerror or str(error)).lower()}") from None


def _field(profile: Profile, name: str, rule: Word | Bucket | None, kind: FieldType | None) -> FieldSchema | None:
    if name in profile.texts:
        length = profile.features[derived_names(name)[0]]
        assert isinstance(length, Numeric)
        return FieldSchema("string", _always(length), max_length=int(length.maximum))
    column = profile.features[name]
    if name in profile.hashed:  # what the values were is not known here
        kind = kind or (None if rule == "hash" else "string")  # without a rule, only texts are hashed
        return None if kind is None else FieldSchema(kind, _always(column))
    if isinstance(rule, Bucket) and (isinstance(column, Numeric) or column.type == "number"):
        return _of_buckets(column, rule.bucket)
    if rule == "keep" and isinstance(column, Categorical) and column.type == "string":
        return FieldSchema("string", _always(column))  # what the patterns found in the values is not known here
    if isinstance(column, Numeric):
        return FieldSchema("number", _always(column), column.minimum, column.maximum)
    return _of_categories(column)


def _of_buckets(column: Column, width: float) -> FieldSchema:
    """From the lowest bucket's lower end to the highest one's upper end."""
    if isinstance(column, Numeric):
        return FieldSchema("number", _always(column), column.minimum, column.maximum + width)
    lower = sorted(map(float, column.categories))
    return FieldSchema("number", _always(column), lower[0], lower[-1] + width)


def _of_categories(column: Categorical) -> FieldSchema:
    names = sorted(column.categories)
    closed = sum(column.categories.values()) == column.valid and len(names) <= MAX_CATEGORIES
    if column.type == "boolean":
        return FieldSchema("boolean", _always(column))
    if column.type == "string":
        if closed:
            return FieldSchema("string", _always(column), categories=tuple(names))
        return FieldSchema("string", _always(column), max_length=max(map(len, names)))
    numbers = sorted(float(name) for name in names)
    kind: FieldType = "integer" if all(map(float.is_integer, numbers)) else "number"
    values = tuple(int(number) if kind == "integer" else number for number in numbers)
    if closed:
        return FieldSchema(kind, _always(column), categories=values)
    return FieldSchema(kind, _always(column), numbers[0], numbers[-1])


def _always(column: Column) -> bool:
    return column.missing == 0
