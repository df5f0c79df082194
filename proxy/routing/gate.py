"""The room in which a worker reads a body before it sends it: requests that do not fit their schema get no further.

It is there for a model whose `schema.mode` is `reject`, and costs nothing for any other.
"""

from __future__ import annotations

from typing import Final

import msgspec

from configuration.privacy import FieldSchema, Schema
from proxy.checked import BODY, FeatureSchema, Violation
from proxy.counters import Counters
from proxy.http.headers import CHUNKED
from proxy.http.request import RequestHead
from proxy.instances import rows_of
from proxy.layout import UNCHECKED, Layout


class Gate:
    """One model's test of whole requests."""

    def __init__(self, model: str, section: Schema, max_bytes: int, layout: Layout) -> None:
        self.max_bytes: Final = max_bytes
        self._schema = FeatureSchema(section)
        self._unchecked = {reason: layout.place("proxy_schema_unchecked_total", model, reason) for reason in UNCHECKED}
        self._answers = {broken: _answer(broken, section.fields.get(broken[0])) for broken in section.breakable}
        """By what was broken, the whole body of the answer: it has nothing of the client's."""

    def checks(self, head: RequestHead, size: int) -> bool:
        """Whether a request of which `size` bytes have come so far is worth waiting for."""
        length = head.length if head.length is not None and head.length != CHUNKED else 0
        return not head.encoded and max(size, length) <= self.max_bytes

    def refusal(self, head: RequestHead, body: bytes, counters: Counters) -> bytes | None:
        """The body of the answer to a request that does not fit; None where it does, or cannot be checked."""
        if not self.checks(head, len(body)):
            counters.cells[self._unchecked["encoded" if head.encoded else "too_large"]] += 1
            counters.changed()
            return None
        found = rows_of(body, self._schema.names)
        if isinstance(found, str):
            return _NOT_JSON if found == "not_json" else self._answers[BODY]
        for row in found.rows:
            for broken in self._schema.broken(row):
                return self._answers[broken]
        return None


def _answer(broken: Violation, field: FieldSchema | None) -> bytes:
    name, rule = broken
    if field is None:
        words = {"body": "the body has no instances in a known format", "unknown": "a feature is not in the schema"}
        return _body({"error": words[rule], "rule": rule})
    words = {
        "required": "is required",
        "type": f"must be of type {field.type}",
        "minimum": f"must be at least {field.minimum:.15g}" if field.minimum is not None else "",
        "maximum": f"must be at most {field.maximum:.15g}" if field.maximum is not None else "",
        "category": "must be one of the schema's categories",
        "min_length": f"must have at least {field.min_length} characters",
        "max_length": f"must have at most {field.max_length} characters",
    }
    return _body({"error": f"{name} {words[rule]}", "field": name, "rule": rule})


def _body(answer: dict[str, str]) -> bytes:
    return msgspec.json.encode(answer) + b"\n"


_NOT_JSON: Final = _body({"error": "the body is not JSON", "rule": "body"})
