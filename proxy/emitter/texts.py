"""What the emitter tells of a text in its place: numeric columns, and how often patterns are found in it."""

from __future__ import annotations

from typing import Any, Final

from events.inference import Instance
from privacy import text
from privacy.keys import Former
from privacy.patterns import Patterns
from reference.profile import Vocabulary


class TextColumn:
    """One feature that is a text."""

    def __init__(self, name: str, vocabulary: Vocabulary | None, key: Former | None, patterns: Patterns) -> None:
        """`key` is the one under which the reference was made, None where that is not there any more."""
        self.name = name
        self.names: Final = text.derived_names(name)
        self._patterns = patterns
        self._vocabulary: text.Vocabulary | None = None
        if vocabulary is not None and not (vocabulary.keyed and key is None):
            secret = key.derived(text.VOCABULARY) if vocabulary.keyed and key is not None else b""
            self._vocabulary = text.Vocabulary(name, vocabulary.split(), secret)

    def told(self, instance: Instance) -> dict[str, Any]:
        """The columns of the row's text; where it is no text they are null, and invalid if it is something else."""
        value = instance.features[self.name]
        if type(value) is not str or not value:
            if self.name in instance.invalid or not (value is None or value == ""):
                instance.invalid = [*instance.invalid, *self.names]
            return dict.fromkeys(self.names)
        found = self._patterns.count(value)
        if found:
            instance.patterns = {**instance.patterns, self.name: found}
        return dict(zip(self.names, text.measured(value, self._vocabulary), strict=True))
