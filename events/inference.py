"""The inference event: what one model answered to one request."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import msgspec

Role = Literal["production", "shadow"]
Outcome = Literal["ok", "error", "timeout", "client_closed", "truncated", "log_only", "fallback"]

ROLES: tuple[Role, ...] = get_args(Role)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

Prediction: TypeAlias = float | int | str | bool | list[float]
"""A score, a class, or the probabilities of the classes in their order."""


class Instance(msgspec.Struct, omit_defaults=True, gc=False):
    """One row of a request and what the model said of it.

    `features` maps a name to a JSON value; a number that is not finite, and a list or an object, is null there and
    its name stands in `invalid`. `prediction` is absent where no model was asked (`log_only`) or none answered.
    `patterns` tells of each text how often which pattern was found in it.
    """

    features: dict[str, Any]
    prediction: Prediction | msgspec.UnsetType | None = msgspec.UNSET
    invalid: list[str] = []
    patterns: dict[str, dict[str, int]] = {}


class InferenceEvent(msgspec.Struct, kw_only=True, gc=False):
    """One answer of production or shadow to one request; a request may carry many instances.

    `id` is the exchange's UUIDv7, the same for production's event and its shadow's. `time` is when the request's
    head had arrived, in seconds since 1970; `latency_seconds` runs from there to the answer's last byte for
    production, and from the clone's sending for the shadow. `status` is null where no answer came. `sampled` on a
    production event: a clone was accepted for sending, whatever became of it. `truncated`: a captured body was cut.
    `key_id` names the key under which strings were hashed to `#<16 hex>`. `headers`: those of the request that the
    configuration lists, hashed unless it says otherwise.
    """

    id: str
    request_id: str | None = None
    role: Role
    model: str
    version: str
    tenant: str | None = None
    time: float
    latency_seconds: float | None = None
    status: int | None = None
    outcome: Outcome
    fraction: float | None = None
    sampled: bool = False
    truncated: bool = False
    key_id: str | None = None
    headers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    instances: list[Instance]
