"""What may leave in clear, what is told of texts, and what a request must be like."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from configuration.rules import HEADER_NAME, Section, between, named
from configuration.shown import shown

Word = Literal["drop", "hash", "keep"]

MAX_PATTERNS: Final = 32
BUILT_IN: Final = ("email", "iban", "card", "phone")
"""The patterns that are always looked for, in this order."""

_SECRET_HEADERS: Final = frozenset(
    {"authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key", "x-auth-token"}
)


class Bucket(Section, frozen=True):
    """A number leaves as the lower end of its bucket, `bucket` wide."""

    bucket: float

    def __post_init__(self) -> None:
        if not 0 < self.bucket < float("inf"):
            raise ValueError(f"bucket must be above 0, got {shown(self.bucket)}")


class Privacy(Section, frozen=True):
    """By feature what becomes of it; own patterns are taken out of texts that are kept; headers that are recorded."""

    fields: dict[str, Word | Bucket] = msgspec.field(default_factory=dict)
    patterns: dict[str, str] = msgspec.field(default_factory=dict)
    headers: tuple[str, ...] = ()
    request_id: Literal["hash", "keep"] = "hash"

    def __post_init__(self) -> None:
        _check_patterns("patterns", self.patterns)
        for name in self.patterns:
            if name in BUILT_IN:
                raise ValueError(f"patterns must not be named as a built-in one ({', '.join(BUILT_IN)}), got {name}")
        for header in self.headers:
            if not HEADER_NAME.fullmatch(header):
                raise ValueError(f"headers must be names of headers, got {shown(header)}")
            if header.lower() in _SECRET_HEADERS:
                raise ValueError(f"headers must not hold credentials, got {shown(header)}")
        if len({header.lower() for header in self.headers}) < len(self.headers):
            raise ValueError(f"headers must name each header once, got {shown(list(self.headers))}")


class Texts(Section, frozen=True):
    """Features that are texts, beside those that the reference names, and patterns that are counted in all of them."""

    fields: tuple[str, ...] = ()
    patterns: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_patterns("patterns", self.patterns)


def _check_patterns(setting: str, patterns: dict[str, str]) -> None:
    if len(patterns) > MAX_PATTERNS:
        raise ValueError(f"{setting} must be at most {MAX_PATTERNS}, got {len(patterns)}")
    if not patterns:
        return
    from configuration.pattern import compiled  # few have one, and RE2 is large

    for name, pattern in patterns.items():
        named(setting, name)
        try:
            compiled(pattern)
        except ValueError as error:
            raise ValueError(f"{setting}.{name} {error}; got {shown(pattern)}") from None


FieldType = Literal["number", "integer", "string", "boolean"]
Rule = Literal["required", "type", "minimum", "maximum", "category", "min_length", "max_length"]


class FieldSchema(Section, frozen=True, omit_defaults=True):
    """What one feature must be like. `required`: it must be there, and neither null nor an empty text."""

    type: FieldType
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str | int | float | bool, ...] | None = None
    min_length: int | None = None
    max_length: int | None = None

    def __post_init__(self) -> None:
        numeric = self.type in {"number", "integer"}
        for rule in ("minimum", "maximum"):
            if getattr(self, rule) is not None and not numeric:
                raise ValueError(f"{rule} must stand beside type number or integer, got {self.type}")
        for rule in ("min_length", "max_length"):
            if getattr(self, rule) is not None and self.type != "string":
                raise ValueError(f"{rule} must stand beside type string, got {self.type}")
            if getattr(self, rule) is not None:
                between(self, rule, 0, 2**31)
        for low, high in (("minimum", "maximum"), ("min_length", "max_length")):
            at_least, at_most = getattr(self, low), getattr(self, high)
            if at_least is not None and at_most is not None and at_least > at_most:
                raise ValueError(f"{low} must not be above {high}, got {shown(at_least)} and {shown(at_most)}")
        for category in self.categories or ():
            if not is_of(self.type, category):
                raise ValueError(f"categories must be of type {self.type}, got {shown(category)}")

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that can be broken."""
        found: list[Rule] = ["required"] if self.required else []
        found.append("type")
        if self.minimum is not None:
            found.append("minimum")
        if self.maximum is not None:
            found.append("maximum")
        if self.categories is not None:
            found.append("category")
        if self.min_length is not None:
            found.append("min_length")
        if self.max_length is not None:
            found.append("max_length")
        return tuple(found)


def is_of(kind: FieldType, value: Any) -> bool:
    """Whether a decoded JSON value is of a type; true is no number, and 3.0 is an integer."""
    found = type(value)
    if kind == "string":
        return found is str
    if kind == "boolean":
        return found is bool
    return found is int or (found is float and (kind == "number" or value.is_integer()))


MAX_FIELDS: Final = 512
OTHER_FIELD: Final = "_other"
"""Stands for a feature that the schema does not have: its name is the client's."""


class Schema(Section, frozen=True):
    """What a request's features must be like, in a file or here; `observe` counts, `reject` answers 400."""

    mode: Literal["observe", "reject"] = "observe"
    file: str | None = None
    fields: dict[str, FieldSchema] = msgspec.field(default_factory=dict)
    unknown: Literal["allow", "refuse"] = "allow"

    def __post_init__(self) -> None:
        if len(self.fields) > MAX_FIELDS:
            raise ValueError(f"fields must be at most {MAX_FIELDS}, got {len(self.fields)}")
        if self.file is None and not self.fields:
            raise ValueError("file or fields must be given, got none")
        if OTHER_FIELD in self.fields:
            raise ValueError(f"fields must not be named {OTHER_FIELD}")

    @property
    def breakable(self) -> tuple[tuple[str, str], ...]:
        """Every field and rule that a request can break."""
        own = [(name, rule) for name, field in self.fields.items() for rule in field.rules]
        return (*own, (OTHER_FIELD, "unknown"), (OTHER_FIELD, "body"))
