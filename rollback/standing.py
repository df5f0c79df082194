"""Who serves a model now, as this part has to see it before it decides."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from active import file as active_file
from active.file import Entry
from configuration import Model
from rollback.journal import Memory


@dataclass(frozen=True)
class Standing:
    """One model's."""

    entry: Entry
    by_configuration: bool
    """The configuration decides, because nothing else has, or because it has changed since."""
    unreadable: str = ""
    """Why it cannot be known; empty where it is."""
    mendable: bool = True
    """Whether a person's order would mend it: it is this model's entry alone that cannot be used."""

    @property
    def serving(self) -> str:
        """The version with the greatest share."""
        return max(self.entry.weights, key=lambda version: (self.entry.weights[version], version))


def of_configuration(model: Model, generation: int) -> Entry:
    """The entry that says what the configuration says."""
    return Entry({model.production: 1.0}, model.production, reason="configuration", generation=generation)


def standing_of(model: Model, raw: msgspec.Raw | Entry | None, memory: Memory) -> Standing:
    """Out of the model's entry in the active file, or of the journal's where no active file is written."""
    default = of_configuration(model, memory.generation)
    if raw is None:
        return Standing(default, by_configuration=True)
    try:
        entry = raw if isinstance(raw, Entry) else active_file.entry(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Standing(default, True, f"its entry in the active file cannot be read: {' '.join(str(error).split())}")
    default = of_configuration(model, max(memory.generation, entry.generation))  # it never goes back
    if entry.config_production != model.production:
        return Standing(default, by_configuration=True)
    if not entry.weights or not set(entry.weights) <= set(model.targets):
        return Standing(default, True, "the active file names versions that the configuration lacks")
    return Standing(entry, by_configuration=False)


def settle(memory: Memory, standing: Standing, model: Model) -> list[str]:
    """What follows from who serves: the generation never goes back, and a new deployment opens the latch.

    Returns what has changed, in words; the caller keeps the journal.
    """
    changes = []
    if standing.entry.generation > memory.generation:
        memory.generation = standing.entry.generation
        if memory.begun is None or standing.entry != memory.begun.after:
            changes.append(f"generation {memory.generation} was put in force by somebody else")
    if standing.by_configuration and not standing.unreadable and memory.latch is not None:
        memory.latch = None
        changes.append(f"the configuration decides who serves ({model.production}), so the latch is open")
    return changes
