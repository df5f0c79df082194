"""Instances out of bodies: what was asked, and what the model said of it.

Requests: a flat JSON object is one instance, a list of objects is many, and `{"instances": [...]}` is many, each an
object or a list of values (named as the reference's features in their order, or `f0`, `f1` …). Answers:
`{"predictions": [...]}`, `{"prediction": ...}`, a list, or a bare value.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Annotated, Any, Final, Literal

import msgspec

from events.inference import Instance, Prediction
from proxy.frames import Captured

Unextracted = Literal["truncated", "encoded", "not_json", "shape", "prediction_count", "no_prediction"]

_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_decode_flat = msgspec.json.Decoder(dict[str, str | float | _Integer | bool | None]).decode
"""By far the most requests are one flat object; as such it is read, and checked value for value, in one go."""

_decode = msgspec.json.Decoder().decode
_NOTHING: Final = object()


@dataclass(slots=True)
class Extracted:
    """The instances, and why they (or their predictions) are missing, if they are."""

    instances: list[Instance] = field(default_factory=list)
    missing: Unextracted | None = None


def extract(captured: Captured, names: Sequence[str]) -> Extracted:
    """Read one exchange's bodies. `names` are the reference's features, for instances that are lists of values."""
    if captured.encoded:
        return Extracted(missing="encoded")
    if captured.request_truncated:
        return Extracted(missing="truncated")
    try:
        instances = [Instance(_decode_flat(captured.request))]
    except (msgspec.DecodeError, RecursionError, ValueError):
        request = _json(captured.request)
        if request is _NOTHING:
            return Extracted(missing="not_json")
        rows = _rows(request, names)
        if rows is None:
            return Extracted(missing="shape")
        instances = [_instance(row) for row in rows]
    if captured.answer is None or captured.outcome != "ok":
        return Extracted(instances)
    if captured.answer_truncated:
        return Extracted(instances, "truncated")
    return Extracted(instances, _add_predictions(instances, _json(captured.answer)))


def _json(body: bytes) -> Any:
    """The body's value, or _NOTHING. Python's models and clients also write NaN and Infinity."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair stands in no event
    except (ValueError, RecursionError):
        return _NOTHING
    return value


def _rows(request: Any, names: Sequence[str]) -> list[dict[str, Any]] | None:
    if isinstance(request, dict) and isinstance(request.get("instances"), list):
        rows = [_named(row, names) for row in request["instances"]]
        return None if None in rows else rows  # type: ignore[return-value]
    if isinstance(request, dict):
        return [request]
    if isinstance(request, list) and request and all(isinstance(row, dict) for row in request):
        return request
    return None


def _named(row: Any, names: Sequence[str]) -> dict[str, Any] | None:
    if isinstance(row, dict):
        return row
    if not isinstance(row, list):
        return None
    if len(row) != len(names):
        names = [f"f{index}" for index in range(len(row))]
    return dict(zip(names, row, strict=True))


def _instance(row: dict[str, Any]) -> Instance:
    invalid = [name for name, value in row.items() if not _usable(value)]
    if not invalid:
        return Instance(row)
    return Instance({**row, **dict.fromkeys(invalid)}, invalid=invalid)


def _usable(value: Any) -> bool:
    """Whether a value can stand in an event: a scalar, and finite if it is a number."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, str)


def _add_predictions(instances: list[Instance], answer: Any) -> Unextracted | None:
    if answer is _NOTHING:
        return "not_json"
    values = _predictions(answer)
    if values is None:
        return "shape"
    if len(values) != len(instances):
        return "prediction_count"
    missing: Unextracted | None = None
    for instance, value in zip(instances, values, strict=True):
        prediction = _prediction(value)
        if prediction is None:
            missing = "no_prediction"
        else:
            instance.prediction = prediction
    return missing


def _predictions(answer: Any) -> list[Any] | None:
    if isinstance(answer, dict):
        if isinstance(answer.get("predictions"), list):
            return list(answer["predictions"])
        return [answer["prediction"]] if "prediction" in answer else None
    return answer if isinstance(answer, list) else [answer]


def _prediction(value: Any) -> Prediction | None:
    """A usable prediction, or None. TF Serving wraps a score in a list of one; some servers in an object."""
    if type(value) is float and isfinite(value):
        return value
    if isinstance(value, dict):
        value = value.get("prediction")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list):
        numbers = bool(value) and all(
            isinstance(part, (int, float)) and not isinstance(part, bool) and _usable(part) for part in value
        )
        return value if numbers else None
    return value if value is not None and _usable(value) else None
