"""How often which pattern was found in which text, by the emitter's count, ever since this process reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Final

from configuration.model import Model
from configuration.privacy import BUILT_IN
from events.inference import InferenceEvent
from reference.profile import Profile

OTHER: Final = "_other"
MAX_TEXTS: Final = 200
"""Texts of one model that are counted by their names."""


class TextPatterns:
    """One model's. What is counted is what configuration and reference name; an event may say anything."""

    def __init__(self, model: Model, profile: Profile | None) -> None:
        self.counts: Final[Counter[tuple[str, str]]] = Counter()
        """By feature and pattern, from 0 on."""
        self._patterns = frozenset({*BUILT_IN, *model.privacy.patterns, *model.text.patterns})
        self._configured = model.text.fields
        self._texts: frozenset[str] = frozenset()
        self.refer(profile)

    def refer(self, profile: Profile | None) -> None:
        """Go over to another reference, which may have other texts; what was counted stays."""
        named = dict.fromkeys([*self._configured, *(profile.texts if profile is not None else ())])
        self._texts = frozenset(list(named)[:MAX_TEXTS])
        self.counts.update(dict.fromkeys(product(self._texts, self._patterns), 0))

    def take(self, events: Sequence[InferenceEvent]) -> None:
        """Count what was found in these events' texts."""
        if not self._texts:
            return
        for event in events:
            for instance in event.instances:
                if instance.patterns:
                    self._count(instance.patterns)

    def _count(self, patterns: dict[str, dict[str, int]]) -> None:
        for text, found in patterns.items():
            feature = text if text in self._texts else OTHER
            for pattern, times in found.items():
                if times > 0:
                    self.counts[feature, pattern if pattern in self._patterns else OTHER] += times
