"""The rows of a request's body, by its format: what is told of it, checked in it, and explained of it.

A flat JSON object is one instance, a list of objects is many, and `{"instances": [...]}` is many, each an object or a
list of values (named as the reference's features in their order, or `f0`, `f1` …).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from reference.json_value import NOTHING, json_value

Format = Literal["an object", "a list of objects", "instances that are objects", "instances that are lists"]

Row = dict[str, Any]

_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_decode_flat = msgspec.json.Decoder(dict[str, str | float | _Integer | bool | None]).decode
"""By far the most requests are one flat object; as such it is read, and checked value for value, in one go."""


class Rows(NamedTuple):
    """A request's rows; `usable`: every value of them is known to be one that can stand in an event."""

    rows: list[Row]
    usable: bool
    format: Format


def rows_of(body: bytes, names: Sequence[str]) -> Rows | Literal["not_json", "shape"]:
    """The rows of a body, or why there are none. `names` are the features, for instances that are lists of values."""
    try:
        return Rows([_decode_flat(body)], True, "an object")
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    request = json_value(body)
    if request is NOTHING:
        return "not_json"
    if isinstance(request, dict) and isinstance(request.get("instances"), list):
        rows = [_named(row, names) for row in request["instances"]]
        whole = [row for row in rows if row is not None]
        lists = any(isinstance(row, list) for row in request["instances"])
        form: Format = "instances that are lists" if lists else "instances that are objects"
        return Rows(whole, False, form) if len(whole) == len(rows) else "shape"
    if isinstance(request, dict):
        return Rows([request], False, "an object")
    if isinstance(request, list) and request and all(isinstance(row, dict) for row in request):
        return Rows(request, False, "a list of objects")
    return "shape"


def usable(value: Any) -> bool:
    """Whether a value can stand in an event: a scalar, and finite if it is a number."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, str)


def _named(row: Any, names: Sequence[str]) -> Row | None:
    if isinstance(row, dict):
        return row
    if not isinstance(row, list):
        return None
    if len(row) != len(names):
        names = [f"f{index}" for index in range(len(row))]
    return dict(zip(names, row, strict=True))
