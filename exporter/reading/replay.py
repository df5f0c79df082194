"""Reading again what some sections of a model know already: each takes only what it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exporter.windows.sections import MAIN

_NOBODY: Final = ""
"""What waits for the model as a whole."""


class Replay:
    """The offsets that sections of one model wait for, topic by topic, the nearest last."""

    def __init__(self, offsets: Mapping[str, Mapping[str, int]], until: Mapping[str, int]) -> None:
        """`offsets` tells by section and topic up to which offset it has seen the log.

        `until` tells by topic where the model is no longer behind what was shown of it before.
        """
        self._waiting: dict[str, list[tuple[int, str]]] = {}
        for name, by_topic in offsets.items():
            for topic, offset in by_topic.items():
                self._waiting.setdefault(topic, []).append((offset, name))
        for topic, offset in until.items():
            self._waiting.setdefault(topic, []).append((offset, _NOBODY))
        for waiting in self._waiting.values():
            waiting.sort(reverse=True)

    def topics(self) -> frozenset[str]:
        """Those of which something is known already."""
        return frozenset(self._waiting)

    def due(self, topic: str, offset: int) -> bool:
        """Whether reading the message at this offset ends the waiting of a section: then flush, and call `reach`."""
        waiting = self._waiting.get(topic)
        return bool(waiting) and waiting[-1][0] <= offset  # type: ignore[index]

    def reach(self, topic: str, offset: int) -> None:
        """The next message of the topic has this offset, or a greater one."""
        waiting = self._waiting.get(topic, [])
        while waiting and waiting[-1][0] <= offset:
            waiting.pop()
        if not waiting:
            self._waiting.pop(topic, None)

    def waiting(self, topic: str) -> frozenset[str]:
        """The sections that have seen the next message of this topic."""
        return frozenset(name for _, name in self._waiting.get(topic, ()))

    def known_to_all(self, topic: str) -> bool:
        """Whether every section of this topic has seen the next message: then it is nobody's."""
        return MAIN[topic] in self.waiting(topic)

    def __bool__(self) -> bool:
        """Whether anything still waits."""
        return bool(self._waiting)
