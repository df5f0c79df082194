"""What of each model has been written to `drift.state`, and what is therefore due."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from events.topics import TOPIC_OF_ROLE
from exporter.reading.revive import Revived, profile_hash, window_settings
from exporter.reading.stored import Snapshot, key_of
from exporter.windows.models import ModelState
from exporter.windows.sections import HEADS, Section, sections

_SILENT_SECONDS: Final = 7 * 24 * 3600.0
"""What has not changed for so long begins anew."""

_FAR_BEHIND: Final = 20_000
"""A model that is silent beside busy ones is written again when its offset lies so many messages back, or its
partition would be read again from there."""


@dataclass
class Written:
    """One section as it stands in the topic."""

    mark: Hashable
    offsets: Mapping[str, int]
    changed: float
    pieces: frozenset[str] = frozenset()
    """The keys of the pieces beside it."""


@dataclass
class Round:
    """What is to be written of one model, in this order, each step when the one before it is acknowledged."""

    model: str
    bodies: list[Snapshot] = field(default_factory=list)
    heads: list[Snapshot] = field(default_factory=list)
    marks: dict[str, Hashable] = field(default_factory=dict)
    """By key, what the section's mark was."""


class Ledger:
    """The account of the models that this process owns. `wall` gives seconds since 1970."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._written: dict[str, dict[str, Written]] = {}

    def begin(self, revived: Revived) -> None:
        """Take over a model with what it came back from."""
        model = revived.state.measured.name
        marks = {name: section.mark() for name, section in sections(revived.state).items()}
        # A new owner's first round writes the heads, changed or not: what an earlier one may still write is then late.
        marks |= dict.fromkeys(HEADS.values())
        self._written[model] = {
            key_of(model, name): Written(
                marks[name],
                value.offsets,
                value.changed,
                frozenset(f"{key_of(model, name)}|{each}" for part in value.parts.values() for each in part),
            )
            for name, value in revived.sections.items()
        }

    def end(self, model: str) -> None:
        """The model has gone to another process."""
        self._written.pop(model, None)

    def due(self, state: ModelState, offsets: Mapping[str, int]) -> Round | None:
        """What has changed since it was written, as of this instant; None if nothing has.

        `offsets` tell by topic up to which offset the state is made of.
        """
        model = state.measured.name
        written = self._written.setdefault(model, {})
        found = sections(state)
        changed = [each for each in found.values() if self._is_due(each, key_of(model, each.name), written, offsets)]
        if not changed:
            return None
        made = Round(model)
        for section in changed:
            key = key_of(model, section.name)
            mark = section.mark()
            known = written.get(key)
            snapshot = Snapshot(
                key=key,
                profile=profile_hash(state.measured),
                window=window_settings(state.measured),
                offsets=dict(offsets),
                changed=known.changed if known is not None and known.mark == mark else self._wall(),
                kept=section.kept(),
            )
            (made.heads if section.name in HEADS.values() else made.bodies).append(snapshot)
            made.marks[key] = mark
        return made

    def silent(self, model: str) -> bool:
        """Whether nothing of the model has changed for seven days."""
        written = self._written.get(model)
        if not written:
            return False
        return self._wall() - max(each.changed for each in written.values()) > _SILENT_SECONDS

    def keys(self, model: str) -> list[str]:
        """Every key of the model that stands in the topic, pieces before the values that name them."""
        written = self._written.get(model, {})
        return [*(piece for each in written.values() for piece in each.pieces), *written]

    def acknowledged(self, made: Round, pieces: Mapping[str, Iterable[str]]) -> list[str]:
        """The round is written, with these pieces by key; the keys of pieces that nothing names any more."""
        written = self._written.get(made.model, {})
        left: list[str] = []
        for snapshot in (*made.bodies, *made.heads):
            mine = frozenset(pieces.get(snapshot.key, ()))
            known = written.get(snapshot.key)
            left += sorted(known.pieces - mine) if known is not None else []
            written[snapshot.key] = Written(made.marks[snapshot.key], snapshot.offsets, snapshot.changed, mine)
        return left

    @staticmethod
    def _is_due(section: Section, key: str, written: Mapping[str, Written], offsets: Mapping[str, int]) -> bool:
        known = written.get(key)
        head = section.name in HEADS.values()
        if known is None:
            return head or bool(section.mark())
        if known.mark != section.mark():
            return True
        topics = [TOPIC_OF_ROLE[role] for role in section.roles]
        behind = max(offsets.get(topic, 0) - known.offsets.get(topic, 0) for topic in topics)
        return head and behind >= _FAR_BEHIND
