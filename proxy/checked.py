"""Rows against a model's feature schema: which rule of which field is broken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from configuration.privacy import OTHER_FIELD, FieldSchema, Schema, is_of
from proxy.instances import Row, usable

Violation: TypeAlias = tuple[str, str]
"""Field and rule, both the schema's own words."""

BODY: Final[Violation] = (OTHER_FIELD, "body")
_UNKNOWN: Final[Violation] = (OTHER_FIELD, "unknown")


class _Field:
    """One field's rules, worked out once."""

    __slots__ = ("categories", "kind", "limited", "maximum", "minimum", "required", "sized", "types")

    def __init__(self, section: FieldSchema) -> None:
        self.required = section.required
        self.kind = section.type
        self.types = {"string": str, "boolean": bool, "number": float, "integer": int}[section.type]
        """The type that needs no second look."""
        self.categories = None if section.categories is None else frozenset(section.categories)
        infinite = float("inf")
        self.minimum = -infinite if section.minimum is None else section.minimum
        self.maximum = infinite if section.maximum is None else section.maximum
        self.limited = section.minimum is not None or section.maximum is not None
        self.sized = None
        if section.min_length is not None or section.max_length is not None:
            self.sized = (section.min_length or 0, infinite if section.max_length is None else section.max_length)

    def broken(self, value: Any) -> str | None:
        """The rule that a value breaks."""
        if value is None or value == "":
            return "required" if self.required else None
        if (type(value) is not self.types and not is_of(self.kind, value)) or not usable(value):
            return "type"
        if self.limited:
            if value < self.minimum:
                return "minimum"
            if value > self.maximum:
                return "maximum"
        if self.categories is not None and value not in self.categories:
            return "category"
        if self.sized is not None:
            if len(value) < self.sized[0]:
                return "min_length"
            if len(value) > self.sized[1]:
                return "max_length"
        return None


class FeatureSchema:
    """A schema as a test of rows; a field breaks one rule at a time."""

    def __init__(self, section: Schema) -> None:
        self._fields = {name: _Field(field) for name, field in section.fields.items()}
        self._closed = section.unknown == "refuse"
        self.names: Final = tuple(section.fields)

    def broken(self, row: Row, invalid: Iterable[str] = ()) -> Iterator[Violation]:
        """What a row breaks, in the schema's order; `invalid` names values that could not stand in an event."""
        get = row.get
        for name, field in self._fields.items():
            rule = field.broken(get(name)) if not invalid or name not in invalid else "type"
            if rule is not None:
                yield name, rule
        if self._closed and not row.keys() <= self._fields.keys():
            yield _UNKNOWN
