"""From what `drift.state` held to a model as it was, and how far each of its sections had read.

A round of writing ends with the heads, so a head's offsets hold for every section before it, changed or not. A round
that was cut short has left some sections ahead of their head; none is ever behind.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from exporter.reading.counters import StateReason
from exporter.reading.stored import StoredError, Value, decoded, kept_of, key_of
from exporter.windows.measured import Measured
from exporter.windows.models import ModelState
from exporter.windows.sections import HEADS, Section, sections

_log = logging.getLogger("shadowdrift.exporter")

_LAST_HEAD: Final = HEADS["production"]
_NOT_KEPT: Final = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError)
"""What restoring may raise for something that nobody has kept."""


@dataclass
class Revived:
    """A model that begins in this process, with or without a past."""

    state: ModelState
    sections: dict[str, Value] = field(default_factory=dict)
    """What each section came back from; nothing without a past."""
    offsets: dict[str, dict[str, int]] = field(default_factory=dict)
    """By section and topic, the offset up to which it knows the log."""
    left: list[str] = field(default_factory=list)
    """Keys of the model that stand in the topic for nothing."""

    def starts(self) -> dict[str, int]:
        """By topic, the offset from which on the model has to be read."""
        starts: dict[str, int] = {}
        for offsets in self.offsets.values():
            for topic, offset in offsets.items():
                starts[topic] = min(offset, starts.get(topic, offset))
        return starts


def revived(measured: Measured, stored: Mapping[str, bytes], ends: Mapping[str, int], dropped: Counter[str]) -> Revived:
    """The model as it was, anew where nothing of it can be used; what cannot is counted in `dropped` by its reason.

    `stored` are the newest values of the partition by key, `ends` the ends of the topics' logs.
    """
    reference = _reference(measured, stored)
    state = _begun(measured, reference)
    if _otherwise_cut(state):
        _log.warning(
            "the reference that was made of the traffic has other bins than drift: asks for; the model warms up anew",
            extra={"fields": {"model": measured.name}},
        )
        dropped["bins"] += len(sections(state).keys() & {key.partition("|")[2] for key in _of(measured.name, stored)})
        return Revived(_begun(measured, {}), left=_left(measured.name, stored, {}))
    values: dict[str, Value] = {}
    kept: dict[str, dict[str, Any]] = {}
    for name, section in sections(state).items():
        key = key_of(measured.name, name)
        if key in stored:
            try:
                values[name] = _usable(state, section, stored[key], ends)
                kept[name] = kept_of(key, values[name], stored)
            except StoredError as error:
                values.pop(name, None)
                dropped[error.reason] += 1
    if not set(HEADS.values()) <= values.keys():
        dropped["incomplete"] += len(values)
        values, kept, reference = {}, {}, {}
    while True:
        state = _begun(measured, reference)
        damaged = _restore(state, kept)
        if damaged is None:
            offsets = _offsets(values, state) if values else {}
            return Revived(state, values, offsets, _left(measured.name, stored, values))
        dropped["damaged"] += 1
        if damaged in HEADS.values():
            dropped["incomplete"] += len(kept) - 1
            values, kept, reference = {}, {}, {}
        else:
            del kept[damaged], values[damaged]


def _reference(measured: Measured, stored: Mapping[str, bytes]) -> dict[str, Any]:
    """The reference that was made of the traffic, or what it is to be made of; it tells which columns windows have."""
    key = key_of(measured.name, HEADS["production"])
    try:
        if measured.profile is None and key in stored:
            reference = kept_of(key, decoded(stored[key]), stored)["reference"]
            ModelState(measured).restore_reference(reference)
            return dict(reference)
    except (StoredError, *_NOT_KEPT):
        pass  # it is met again, and counted
    return {}


def _begun(measured: Measured, reference: dict[str, Any]) -> ModelState:
    state = ModelState(measured)
    state.restore_reference(reference)
    return state


def _otherwise_cut(state: ModelState) -> bool:
    """Whether a reference that was made of the traffic has other bins than the configuration asks for now."""
    measured = state.measured
    warmed_up = measured.source == "warmup" and measured.profile is not None
    return warmed_up and measured.profile is not None and not measured.profile.binning.fits(measured.model.drift)


def _of(model: str, stored: Mapping[str, bytes]) -> list[str]:
    """The keys of a model."""
    return [key for key in stored if key.startswith(f"{model}|")]


def _left(model: str, stored: Mapping[str, bytes], values: Mapping[str, Value]) -> list[str]:
    """What nothing names: pieces of a round that was cut short, tenants that are configured no more."""
    named = {key_of(model, name) for name in values}
    named |= {piece for name, value in values.items() for piece in value.pieces(key_of(model, name))}
    return [key for key in _of(model, stored) if key not in named]


def _usable(state: ModelState, section: Section, text: bytes, ends: Mapping[str, int]) -> Value:
    value = decoded(text)
    reason: StateReason | None = None
    # A kill in the round after a warm-up leaves what is of its reference, while production's head is before it yet:
    # production is read again, and makes the same one.
    ahead = state.warm_up is not None and section.name != _LAST_HEAD
    if value.profile != state.measured.reference_hash and not ahead:
        reason = "profile"
    elif value.window != section.settings:
        reason = "window"
    elif any(offset > ends[topic] for topic, offset in value.offsets.items() if topic in ends):
        reason = "beyond_end"  # the topic has been made anew since
    if reason is not None:
        raise StoredError(reason, f"another {reason}")
    return value


def _restore(state: ModelState, kept: Mapping[str, dict[str, Any]]) -> str | None:
    """Restore every section; the name of the first that does not take what was kept."""
    for name, section in sections(state).items():
        if name in kept:
            try:
                section.restore(kept[name])
            except _NOT_KEPT:
                return name
    return None


def _offsets(values: Mapping[str, Value], state: ModelState) -> dict[str, dict[str, int]]:
    """How far each section knows its topics: as far as it says itself, or as far as a head written after it says."""
    heads = {role: values[name].offsets for role, name in HEADS.items()}
    found: dict[str, dict[str, int]] = {}
    for name, section in sections(state).items():
        later = [heads["production"]] if name in HEADS.values() else list(heads.values())
        if name == _LAST_HEAD:
            later = []
        own = values[name].offsets if name in values else {}
        found[name] = {topic: max(offsets.get(topic, 0) for offsets in (own, *later)) for topic in section.topics}
    return found
