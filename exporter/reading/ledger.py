"""What of each model has been written to `drift.state`, and what is therefore due."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from exporter.reading.revive import Revived
from exporter.reading.stored import Encoded, Part, Snapshot, key_of
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

    profile: str
    mark: Hashable
    offsets: Mapping[str, int]
    changed: float
    again: bool = False
    """Whether it is to be written once more, changed or not."""
    parts: Mapping[str, Part] = field(default_factory=dict)

    def pieces(self, key: str) -> Iterator[str]:
        """The keys of its pieces."""
        return (f"{key}|{suffix}" for part in self.parts.values() for suffix in part.suffixes)


@dataclass
class Round:
    """What is to be written of one model, in this order, each step when the one before it is acknowledged."""

    state: ModelState
    bodies: list[Snapshot] = field(default_factory=list)
    heads: list[Snapshot] = field(default_factory=list)
    marks: dict[str, Hashable] = field(default_factory=dict)
    """By key, what the section's mark was."""

    @property
    def model(self) -> str:
        """Its name."""
        return self.state.measured.name


class Ledger:
    """The account of the models that this process owns. `wall` gives seconds since 1970."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._written: dict[str, dict[str, Written]] = {}
        self._left: dict[str, list[str]] = {}
        """By model, keys that stand in the topic for nothing."""

    def begin(self, revived: Revived) -> None:
        """Take over a model with what it came back from."""
        model = revived.state.measured.name
        marks = {name: section.mark() for name, section in sections(revived.state).items()}
        self._written[model] = {
            key_of(model, name): Written(
                value.profile,
                marks[name],
                value.offsets,
                value.changed,
                # With the heads of a new owner's first round, what an earlier one may still write comes too late.
                again=name in HEADS.values(),
                parts={name: Part(None, suffixes) for name, suffixes in value.parts.items()},
            )
            for name, value in revived.sections.items()
        }
        self._left[model] = revived.left

    def end(self, model: str) -> None:
        """The model has gone to another process."""
        self._written.pop(model, None)
        self._left.pop(model, None)

    def due(self, state: ModelState, offsets: Mapping[str, int]) -> Round | None:
        """What has changed since it was written, as of this instant; None if nothing has.

        `offsets` tell by topic up to which offset the state is made of.
        """
        model = state.measured.name
        written = self._written.setdefault(model, {})
        made = Round(state)
        for section in sections(state).values():
            key = key_of(model, section.name)
            known = written.get(key)
            if not _is_due(section, known, offsets, state.measured.reference_hash):
                continue
            mark = section.mark()
            snapshot = Snapshot(
                key=key,
                profile=state.measured.reference_hash,
                window=section.settings,
                offsets=dict(offsets),
                changed=known.changed if known is not None and known.mark == mark else self._wall(),
                kept=section.kept(),
                written=known.parts if known is not None else {},
            )
            (made.heads if section.name in HEADS.values() else made.bodies).append(snapshot)
            made.marks[key] = mark
        return made if made.marks else None

    def silent(self, state: ModelState) -> bool:
        """Whether nothing of a model has changed for seven days."""
        model = state.measured.name
        written = self._written.get(model)
        if not written:
            return False
        for name, section in sections(state).items():
            known = written.get(key_of(model, name))
            if section.mark() != known.mark if known is not None else section.mark():
                return False
        return self._wall() - max(each.changed for each in written.values()) > _SILENT_SECONDS

    def keys(self, model: str) -> list[str]:
        """Every key of the model that stands in the topic; those of values last."""
        written = self._written.get(model, {})
        pieces = [piece for key, each in written.items() for piece in each.pieces(key)]
        return [*self._left.get(model, ()), *pieces, *written]

    def acknowledged(self, made: Round, messages: Mapping[str, Encoded]) -> list[str]:
        """The round is written, as these messages by key; the keys that stand in the topic for nothing now."""
        written = self._written.get(made.model, {})
        left = self._left.pop(made.model, [])
        for snapshot in (*made.bodies, *made.heads):
            key = snapshot.key
            before = set(written[key].pieces(key)) if key in written else set()
            parts = messages[key].parts
            now = Written(snapshot.profile, made.marks[key], snapshot.offsets, snapshot.changed, parts=parts)
            written[key] = now
            if key == key_of(made.model, HEADS["production"]):
                made.state.reference_is_kept(snapshot.profile)
            left += sorted(before.difference(now.pieces(key)))
        # A round that was cut short may have left the very pieces that this one has written.
        named = {piece for key, each in written.items() for piece in each.pieces(key)} | written.keys()
        return [key for key in left if key not in named]


def _is_due(section: Section, known: Written | None, offsets: Mapping[str, int], profile: str) -> bool:
    head = section.name in HEADS.values()
    if known is None:
        return head or bool(section.mark())
    if known.again or known.mark != section.mark() or known.profile != profile:
        return True
    behind = max(offsets.get(topic, 0) - known.offsets.get(topic, 0) for topic in section.topics)
    return head and behind >= _FAR_BEHIND
