"""An event's instance as a row of training data: what was asked, and what was answered."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from events.inference import Instance
from reference.profile import CONFIDENCE, PREDICTION


def row_of(instance: Instance) -> dict[str, Any]:
    """The features by name, and the prediction, if there is one, under its own; what JSON could not carry is NaN."""
    row = dict(instance.features)
    row.pop(CONFIDENCE, None)
    row.pop(PREDICTION, None)
    if instance.prediction is not msgspec.UNSET:
        row[PREDICTION] = instance.prediction
    for name in instance.invalid:
        if row.get(name, name) is None:
            row[name] = math.nan
    return row
