"""What the supervisor hands to a process that it starts."""

from __future__ import annotations

from typing import Any

import msgspec

from configuration import Configuration, convert_resolved
from privacy.keys import Keys


class Instructions(msgspec.Struct, frozen=True):
    """What the supervisor hands to a worker and to the emitter."""

    configuration: str
    keys: Keys
    index: int
    """The slot of the shared counters, and the name under which the emitter counts this worker's events."""
    listener: int
    counters: int
    emitter_path: str
    emitter_link: int = 1
    active: dict[str, Any] = {}
    """Who serves each model, as `Active.told` has it."""

    def read_configuration(self) -> Configuration:
        """The configuration the supervisor has read."""
        return convert_resolved(self.configuration)
