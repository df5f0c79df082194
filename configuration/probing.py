"""A target's probe from its two files: a recorded request, and the JSON schema of a right answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import referencing
from jsonschema.protocols import Validator
from referencing.exceptions import Unresolvable

from configuration.certificates import reason
from configuration.rules import HEADER_NAME
from configuration.shown import cut, one_line
from configuration.target import Probe
from lifecycle.refusal import Refusal


class RecordedRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request's file: as a client would send it. A `body` that is a text goes out as it is, any other as JSON."""

    path: str
    method: str = "POST"
    headers: dict[str, str] = {}
    body: Any = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or not self.path.isascii() or not self.path.isprintable() or " " in self.path:
            raise ValueError("path must begin with / and be percent-encoded")
        if not self.method.isascii() or not self.method.isalpha() or not self.method.isupper():
            raise ValueError("method must be a name such as POST")
        for name, value in self.headers.items():
            if not HEADER_NAME.fullmatch(name) or not value.isprintable():
                raise ValueError("headers must be names and values of headers")

    @property
    def payload(self) -> bytes | None:
        """The body's bytes."""
        if self.body is None:
            return None
        return self.body.encode() if isinstance(self.body, str) else msgspec.json.encode(self.body)

    @property
    def sent_headers(self) -> dict[str, str]:
        """The headers, with a content type for a body that was given as JSON."""
        given = {name.lower() for name in self.headers}
        if self.body is None or isinstance(self.body, str) or "content-type" in given:
            return dict(self.headers)
        return {"content-type": "application/json", **self.headers}


class Expectation:
    """What an answer must be like: success, JSON, and fitting the schema."""

    def __init__(self, schema: Any) -> None:
        """Raises `jsonschema.SchemaError`. What the schema refers to must stand in it: nothing is fetched."""
        if not isinstance(schema, dict) or not isinstance(schema.get("$schema", ""), str):
            raise jsonschema.SchemaError("it must be a mapping, its $schema a text")
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
        self._validator: Validator = kind(schema, registry=referencing.Registry())

    def unmet(self, status: int, body: bytes) -> str | None:
        """What is wrong with an answer, None where nothing is."""
        if not 200 <= status < 300:
            return f"it answered with status {status}"
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "its answer is not JSON"
        try:
            error = jsonschema.exceptions.best_match(self._validator.iter_errors(answer))
        except (Unresolvable, RecursionError, ValueError, TypeError, re.error) as failure:
            return f"the schema cannot be applied: {cut(str(failure))}"
        if error is None:
            return None
        return f"its answer does not fit the schema at {cut(error.json_path)}: the rule {error.validator} is not met"


class LoadedProbe(msgspec.Struct, frozen=True):
    """A probe that can be run."""

    request: RecordedRequest
    expectation: Expectation


def load_probe(probe: Probe, path: str) -> LoadedProbe:
    """Read both files. Raises `Refusal`; `path` is the section's."""
    where = f"{path}.request: {probe.request}"
    try:
        request = msgspec.json.decode(_read(probe.request, f"{path}.request"), type=RecordedRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(
            f"{where} must be a recorded request such as "
            f'{{"method": "POST", "path": "/predict", "body": {{}}}}: {one_line(str(error))}'
        ) from None
    where = f"{path}.schema: {probe.schema}"
    try:
        return LoadedProbe(request, Expectation(msgspec.json.decode(_read(probe.schema, f"{path}.schema"))))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(f"{where} must be a JSON Schema: {one_line(str(error))}") from None
    except jsonschema.SchemaError as error:
        raise Refusal(f"{where} must be a JSON Schema: {cut(error.json_path)}: {cut(error.message)}") from None


def _read(file: str, path: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Refusal(f"{path}: {file} cannot be read: {reason(error)}") from None
