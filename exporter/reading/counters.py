"""What the exporter has done since it started, in plain numbers; `collect` turns them into metrics.

Consumed = events + rejected + duplicate + foreign, at any moment between two events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from events.codec import RejectReason
from events.inference import ROLES
from events.topics import LABELS, PRODUCTION, REJECTED, SHADOW
from exporter.windows.labelled import RESULTS

Reason = RejectReason | Literal["event_type", "wrong_topic", "unknown_model", "foreign_twice", "unreadable"]

REASONS: Final[tuple[str, ...]] = (
    *get_args(RejectReason),
    "event_type",
    "wrong_topic",
    "unknown_model",
    "foreign_twice",
    "unreadable",
)

StateReason = Literal["format", "profile", "window", "bins", "damaged", "incomplete", "beyond_end"]
STATE_REASONS: Final[tuple[StateReason, ...]] = get_args(StateReason)
"""Why a section of a model that was kept is not taken."""

LEFT_OUT: Final = ("not_in_reference", "features", "tenants", "classes", "versions")
"""Why something becomes no series of its own. Feature values: the profile lacks the name, or has too many features.
Instances whose tenant is one too many, predictions whose class or version is: they count as `_other`."""


@dataclass
class Counters:
    """Totals by their labels. Those of configured models stand at 0 from the start."""

    consumed: Counter[str] = field(default_factory=lambda: Counter({PRODUCTION: 0, SHADOW: 0, LABELS: 0}))
    """By topic."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By model and role; label events have the role `labels`, from the first one on."""
    rejected: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(REASONS, 0)))
    """By reason."""
    duplicate: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By model and role."""
    foreign: Counter[str] = field(default_factory=lambda: Counter({PRODUCTION: 0, SHADOW: 0, LABELS: 0}))
    """By topic."""
    unkept: Counter[str] = field(default_factory=lambda: Counter({REJECTED: 0, PRODUCTION: 0, SHADOW: 0, LABELS: 0}))
    """Rejected or foreign events that could not be sent on, by the topic they should have gone to."""
    skipped: Counter[str] = field(default_factory=lambda: Counter({PRODUCTION: 0, SHADOW: 0}))
    """By topic (never labels), messages passed over unread because more came than can be read."""
    offsets_gone: Counter[str] = field(default_factory=lambda: Counter({PRODUCTION: 0, SHADOW: 0, LABELS: 0}))
    """By topic, how often the log no longer held what was to be read next."""
    state_dropped: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(STATE_REASONS, 0)))
    """Sections of `drift.state` that could not be used, by reason."""
    state_writes: Counter[str] = field(default_factory=lambda: Counter(written=0, failed=0))
    """Sections by what became of their writing."""
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What became no series of its own, by model and reason."""
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What became of label events, by model and result."""
    last_event: dict[tuple[str, str], float] = field(default_factory=dict)
    """The event time of the last accepted event of the log, by model and role.

    Not the greatest: one clock that runs a day ahead would hide a day of silence.
    """

    @classmethod
    def of(cls, models: Iterable[str]) -> Counters:
        """Counters of these models, all at 0."""
        counters = cls()
        for model in models:
            counters.left_out.update({(model, reason): 0 for reason in LEFT_OUT})
            counters.labels.update({(model, result): 0 for result in RESULTS})
            for role in ROLES:
                counters.events[model, role] = counters.duplicate[model, role] = 0
        return counters

    def conserved(self) -> bool:
        """Whether the law holds."""
        parts = (self.events, self.rejected, self.duplicate, self.foreign)
        return self.consumed.total() == sum(part.total() for part in parts)
