"""Instances out of bodies: what was asked (`proxy.instances`), and what the model said of it.

Answers: `{"predictions": [...]}`, `{"prediction": ...}`, a list, or a bare value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

from events.inference import Instance, Prediction
from proxy.frames import Captured
from proxy.instances import Format, Row, rows_of, usable
from reference.json_value import NOTHING, json_value

Unextracted = Literal["truncated", "encoded", "not_json", "shape", "prediction_count", "no_prediction"]


@dataclass(slots=True)
class Extracted:
    """The instances, and why they (or their predictions) are missing, if they are; the request's format."""

    instances: list[Instance] = field(default_factory=list)
    missing: Unextracted | None = None
    format: Format | None = None


def extract(captured: Captured, names: Sequence[str]) -> Extracted:
    """Read one exchange's bodies. `names` are the reference's features, for instances that are lists of values."""
    if captured.encoded:
        return Extracted(missing="encoded")
    if captured.request_truncated:
        return Extracted(missing="truncated")
    found = rows_of(captured.request, names)
    if isinstance(found, str):
        return Extracted(missing=found)
    instances = [Instance(row) for row in found.rows] if found.usable else [_instance(row) for row in found.rows]
    extracted = Extracted(instances, format=found.format)
    if captured.answer is None or captured.outcome != "ok":
        return extracted
    extracted.missing = (
        "truncated" if captured.answer_truncated else _add_predictions(instances, json_value(captured.answer))
    )
    return extracted


def _instance(row: Row) -> Instance:
    invalid = [name for name, value in row.items() if not usable(value)]
    if not invalid:
        return Instance(row)
    return Instance({**row, **dict.fromkeys(invalid)}, invalid=invalid)


def _add_predictions(instances: list[Instance], answer: Any) -> Unextracted | None:
    if answer is NOTHING:
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
            isinstance(part, (int, float)) and not isinstance(part, bool) and usable(part) for part in value
        )
        return value if numbers else None
    return value if value is not None and usable(value) else None
