"""One subject under one load for some seconds: the record that all figures are made of."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Shadow = Literal["none", "healthy", "hung"]
Load = Literal["saturation", "pace"]

DIRECT: Final = "direct"
OURS: Final = "shadowdrift"
NGINX: Final = "nginx"
ENVOY: Final = "envoy"
SUBJECTS: Final = (DIRECT, OURS, NGINX, ENVOY)


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`saturation`: wrk, each connection sends when it has its answer. `pace`: a constant rate, whatever comes back."""

    round: int
    subject: str
    shadow: Shadow
    load: Load
    requests: int
    """Answered; at `pace` also those that failed, with the time that they waited."""
    sent: int
    """With those of the warm-up, which belong to no other figure than CPU and clones."""
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int
    changed: int | None
    """Answers with another body than the backend's; wrk does not look."""
    cloned: int | None
    """Requests that the shadow was sent."""
    cpu_seconds: dict[str, float]
    """By process: `worker`, and ours also `emitter` and `supervisor`."""
    events_lost: int | None = None

    @property
    def rate(self) -> float:
        """Requests in a second."""
        return self.requests / self.seconds
