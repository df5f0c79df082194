"""What the closed loop showed, and whether it is what it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

THIN = frozenset({"too_few_pairs", "too_few_labels"})
"""Reasons that more traffic takes away."""


@dataclass(frozen=True)
class Asked:
    """One order to promote, and the answer."""

    version: str
    granted: bool
    reasons: tuple[Mapping[str, Any], ...]
    text: str

    @property
    def rules(self) -> set[str]:
        """Names of all that stood against it."""
        return {str(reason["rule"]) for reason in self.reasons}

    def told(self) -> dict[str, Any]:
        """As it stands in the JSON line."""
        return {"version": self.version, "granted": self.granted, "reasons": [dict(each) for each in self.reasons]}


@dataclass
class Figures:
    """Gathered in the order of time; what has not been reached is None, or empty."""

    seed: int
    fraction: float
    steps: dict[str, float] = field(default_factory=dict)
    """Seconds that each step took."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Production's over its last labelled flights: `before` the drift, `during` it, `after` the promotion."""
    challenger: float | None = None
    """The new version's when it was promoted, on the same flights as production's `during`."""
    column: str = ""
    psi: float = 0.0
    rows: int = 0
    auc: float | None = None
    asked: list[Asked] = field(default_factory=list)
    """Orders to promote the new version, in the order of time, where the reasons were others than before."""
    refused: int = 0
    """How often that was refused in all."""
    worse: Asked | None = None
    """The order to promote the one that must not be."""
    requests: int = 0
    failed: int = 0
    lost: int = 0
    broken: list[str] = field(default_factory=list)
    """Conservation laws that did not hold."""
    missed: str = ""
    """What did not come in time; the story ended there."""

    def note(self, asked: Asked) -> bool:
        """Take note of an order to promote the new version; whether it has brought anything new."""
        self.refused += not asked.granted
        new = not self.asked or asked.rules != self.asked[-1].rules
        if new:
            self.asked.append(asked)
        return new

    def line(self) -> dict[str, Any]:
        """The result as one JSON object."""
        return {
            "retrain": True,
            "seed": self.seed,
            "fraction": self.fraction,
            "accuracy": {name: round(value, 4) for name, value in self.accuracy.items()},
            "challenger": None if self.challenger is None else round(self.challenger, 4),
            "drifted": self.column,
            "psi": round(self.psi, 4),
            "rows": self.rows,
            "auc": self.auc,
            "promotions": [each.told() for each in self.asked],
            "refused": self.refused,
            "worse": None if self.worse is None else self.worse.told(),
            "steps": {name: round(seconds, 1) for name, seconds in self.steps.items()},
            "requests": self.requests,
            "failed": self.failed,
            "lost": self.lost,
            "conserved": not self.broken,
        }

    def surprises(self) -> list[str]:
        """One line for each thing that is not as it should be; none after a good run."""
        found = [f"a conservation law did not hold: {law}" for law in dict.fromkeys(self.broken)]
        if self.failed:
            found.append(f"{self.failed} requests failed")
        if self.lost:
            found.append(f"{self.lost} captured answers were not measured")
        if self.missed:
            return [*found, self.missed]
        before, during, after = (self.accuracy.get(name, 0.0) for name in ("before", "during", "after"))
        if not during < before:
            found.append(f"the drift cost no accuracy: {before:.1%} before, {during:.1%} after it")
        if not after > during:
            found.append(f"the new version brought no accuracy back: {during:.1%} before it, {after:.1%} with it")
        return found + self._promotions()

    def _promotions(self) -> list[str]:
        found = []
        if not self.asked or self.asked[0].granted or not self.asked[0].rules & THIN:
            found.append("the first order to promote was not refused for want of evidence")
        if not self.asked or not self.asked[-1].granted:
            found.append("the new version was never promoted")
        if self.worse is None or self.worse.granted or "accuracy" not in self.worse.rules or self.worse.rules & THIN:
            found.append("the worse version was not refused for its accuracy")
        return found

    def summary(self) -> str:
        """The whole in one line."""
        right = ", ".join(f"{value:.1%} {name}" for name, value in self.accuracy.items())
        return (
            f"production was right in {right or 'no labelled flight'}; promotion refused {self.refused} times, "
            f"{'then granted' if self.asked and self.asked[-1].granted else 'never granted'}; the worse version "
            f"{'refused' if self.worse is not None and not self.worse.granted else 'not refused'}; "
            f"{self.requests} requests, {self.failed} failed, {self.lost} answers lost"
        )
