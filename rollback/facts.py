"""What a decision may rest on: the exporter's evidence, and what Prometheus knows of latency and errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from configuration.rollback import Asked
from evidence.document import Evidence, Role

RoleVersion: TypeAlias = tuple[str, str]
Unknown = Literal["exporter_away", "stale_evidence", "too_few", "warming", "value_missing"]


@dataclass(frozen=True)
class Traffic:
    """One version in one role, over the last `rollback.evidence.over`."""

    requests: float = 0.0
    failed: float = 0.0
    p95: float | None = None
    """Seconds; None where there is no finite value."""

    @property
    def error_ratio(self) -> float:
        """Of its requests, the share that failed."""
        return self.failed / self.requests if self.requests > 0 else 0.0


@dataclass(frozen=True)
class Facts:
    """What was asked back for one model. None: it was not to be had, and the text beside it says why."""

    evidence: Evidence | None = None
    evidence_why: str = ""
    traffic: Mapping[RoleVersion, Traffic] | None = None
    traffic_why: str = ""
    firing: frozenset[str] | None = None
    """The alerts of this model that fire in Prometheus now, by name."""
    asked_at: float = 0.0

    def of(self, role: Role, version: str) -> Traffic:
        """That version's traffic; without any, none."""
        return (self.traffic or {}).get((role, version), Traffic())


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, with its numbers."""

    name: str
    red: bool | None
    """None where it could not be told."""
    text: str
    numbers: Mapping[str, object] = field(default_factory=dict)

    def told(self) -> dict[str, object]:
        """As it stands in answers and in the audit log."""
        return {"name": self.name, "red": self.red, "text": self.text, **self.numbers}


def unusable(facts: Facts, asked: Asked, now: float) -> tuple[Unknown, str] | None:
    """Why the evidence's production window cannot be decided by; None where it can."""
    evidence = facts.evidence
    if evidence is None:
        return "exporter_away", facts.evidence_why or "the exporter has no evidence of this model"
    age = now - evidence.generated_at
    if abs(age) > asked.max_age:
        return "stale_evidence", f"the evidence was made {age:.0f} s ago; at most {asked.max_age:g} s count"
    if evidence.freshness.production is None:
        return "too_few", "no production event has reached the exporter"
    age = now - evidence.freshness.production
    if age > asked.max_age:
        return "stale_evidence", f"the latest production event is {age:.0f} s old; at most {asked.max_age:g} s count"
    window = evidence.window("production")
    if window is None or window.instances < asked.instances:
        count = 0 if window is None else window.instances
        return "too_few", f"the production window holds {count} instances; {asked.instances} are needed"
    if window.warming:
        return "warming", f"the production window holds {window.instances} of {window.size} instances: it refills"
    return None
