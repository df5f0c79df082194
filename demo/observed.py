"""What one run of the demo showed, and whether it is what was worked out beforehand."""

from __future__ import annotations

from typing import Any, Final

from demo.drift import MISSING_ABOVE, Expectation
from demo.readings import ROLES, Reading, broken_law_at_rest, broken_laws, unmeasured

LARGE: Final = 0.2
STEADY_BELOW: Final = 0.1
DETECT_WITHIN: Final = 10.0


class Observed:
    """Gathers readings in the order of time: before the drift, after it, and at rest."""

    def __init__(self, kind: str, expectation: Expectation, window: int) -> None:
        self.kind = kind
        self.expectation = expectation
        self._window = window
        self.psi_before: float | None = None
        self.psi_after = 0.0
        self.missing_before: float | None = None
        self.missing_after = 0.0
        self.left_alone_max = 0.0
        self.largest_since = 0.0
        self.detect_seconds: float | None = None
        self.accuracy_before: dict[str, float] = {}
        self.accuracy_after: dict[str, float] = {}
        """Of both models, by role, over the last labelled pairs."""
        self.patterns_before = 0
        self.patterns_after = 0
        """Times that a pattern was found in a text: until the drift, and from then on."""
        self.column = ""
        """The column that had moved most at the end."""
        self.lost = 0
        self.events = dict.fromkeys(ROLES, 0)
        self.broken: list[str] = []

    def window_full(self, exporter: Reading) -> bool:
        """Whether production's window holds as many instances as it can."""
        return exporter.total("drift_window_instances", tenant="_all", role="production") >= self._window

    def labelled(self) -> bool:
        """Whether the labels have told how good both models are before the drift."""
        return self.accuracy_before.keys() == set(ROLES)

    def steady(self, exporter: Reading) -> None:
        """A look before the drift; the last one with a full window counts."""
        if self.window_full(exporter):
            self.psi_before = max(exporter.psi().values(), default=0.0)
            self.missing_before = max(exporter.missing().values(), default=0.0)
            self.accuracy_before = exporter.by_role("drift_accuracy_ratio")
        self.patterns_before = exporter.total("drift_text_pattern_total")

    def drifting(self, exporter: Reading, seconds: float) -> bool:
        """A look `seconds` after the first drifted request; whether this one is the first to show the drift."""
        psi = exporter.psi()
        largest = max(psi.values(), default=0.0)
        self.largest_since = max(self.largest_since, largest)
        self.left_alone_max = max(
            self.left_alone_max, *(psi.get(name, 0.0) for name in self.expectation.left_alone), 0.0
        )
        if self.detect_seconds is None and (
            self._missing(exporter) > MISSING_ABOVE if self._loses else largest > LARGE
        ):
            self.detect_seconds = seconds
            return True
        return False

    def laws(self, proxy: Reading) -> None:
        """Hold the conservation laws against one reading."""
        self.broken += broken_laws(proxy)

    def at_rest(self, proxy: Reading, exporter: Reading) -> None:
        """The last look, when traffic has ended and everything has arrived, or has had its time to."""
        self.laws(proxy)
        self.broken += broken_law_at_rest(proxy, exporter)
        self.lost = unmeasured(proxy, exporter)
        self.events = {role: exporter.total("drift_events_total", role=role) for role in ROLES}
        psi = exporter.psi()
        names = self.expectation.drifted if self._drifts else list(psi)
        self.psi_after = max((psi.get(name, 0.0) for name in names), default=0.0)
        self.accuracy_after = exporter.by_role("drift_accuracy_ratio")
        self.patterns_after = exporter.total("drift_text_pattern_total") - self.patterns_before
        self.column = max(psi, key=lambda name: psi[name], default="")
        self.missing_after = self._missing(exporter) if self._loses else max(exporter.missing().values(), default=0.0)

    @property
    def _loses(self) -> bool:
        """Whether it is values that go missing, which no PSI shows."""
        return self.kind == "missing"

    @property
    def _drifts(self) -> bool:
        return self.kind not in ("missing", "none")

    def _missing(self, exporter: Reading) -> float:
        """The least share of missing values among the features that lose theirs."""
        missing = exporter.missing()
        return min((missing.get(name, 0.0) for name in self.expectation.missing), default=0.0)

    def _moved(self) -> list[str]:
        """The features that must move."""
        return self.expectation.missing if self._loses else self.expectation.drifted if self._drifts else []

    def line(self, requests: int) -> dict[str, Any]:
        """The result as one JSON object."""
        return {
            "drift": self.kind,
            "drifted": self._moved(),
            "left_alone": [name for name in self.expectation.left_alone if name not in self._moved()],
            "psi_before": _rounded(self.psi_before),
            "psi_after": _rounded(self.psi_after),
            "psi_left_alone_max": _rounded(self.left_alone_max),
            "missing_before": _rounded(self.missing_before),
            "missing_after": _rounded(self.missing_after),
            "detect_seconds": _rounded(self.detect_seconds),
            "accuracy_before": {role: round(value, 4) for role, value in self.accuracy_before.items()},
            "accuracy_after": {role: round(value, 4) for role, value in self.accuracy_after.items()},
            "column": self.column,
            "patterns_before": self.patterns_before,
            "patterns_after": self.patterns_after,
            "requests": requests,
            "events": self.events,
            "lost": self.lost,
            "conserved": not self.broken,
        }

    def surprises(self) -> list[str]:
        """One line for each thing that is not as it should be; none after a good run."""
        found = [f"a conservation law did not hold: {law}" for law in dict.fromkeys(self.broken)]
        if self.lost:
            found.append(f"{self.lost} captured answers were not measured")
        if self.psi_before is None:
            found.append("production's window was never full before the drift; give it more --seconds")
        elif self.psi_before >= STEADY_BELOW:
            found.append(f"the largest PSI before the drift was {self.psi_before:.3f}, not below {STEADY_BELOW}")
        if not (self.labelled() and self.accuracy_after.keys() == set(ROLES)):
            found.append("the labels gave no accuracy of both models")
        if self.left_alone_max >= LARGE:
            found.append(f"a feature that was left alone reached PSI {self.left_alone_max:.3f}")
        if not self._drifts and self.largest_since >= LARGE:
            found.append(f"PSI reached {self.largest_since:.3f} without drift")
        if self.kind != "none":
            found += self._late_or_never()
        if self.kind == "slang":
            found += self._no_slang()
        return found

    def _no_slang(self) -> list[str]:
        """Slang must show in the words that are new, in the patterns, and in how often the models are right."""
        found = []
        if not self.column.endswith(".unseen_ratio"):
            found.append(f"the column that moved most was {self.column}, not the share of unseen words")
        if self.patterns_before or not self.patterns_after:
            found.append(f"slang was found {self.patterns_before} times before and {self.patterns_after} after")
        worse = [role for role, was in self.accuracy_before.items() if self.accuracy_after.get(role, 1.0) < was]
        if len(worse) < len(ROLES):
            found.append("the accuracy of a model did not fall")
        return found

    def _late_or_never(self) -> list[str]:
        if self._loses:
            value, limit = f"a share of {self.missing_after:.3f} missing", MISSING_ABOVE
            seen = self.missing_after > limit
        else:
            value, seen = f"PSI {self.psi_after:.3f}", self.psi_after > LARGE
        if self.detect_seconds is None or not seen:
            return [f"the drift was not seen: {value} at the end"]
        if self.detect_seconds > DETECT_WITHIN:
            return [f"the drift was seen after {self.detect_seconds:.1f} s, not within {DETECT_WITHIN:g}"]
        return []


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
