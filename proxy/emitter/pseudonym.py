"""What leaves in clear, and what leaves hidden: strings are hashed unless the reference lists them or a rule says more.

A feature's *rule* is what the configuration says of it (`privacy.fields`), or else the default: a listed category in
clear, any other string as its keyed hash, numbers and booleans in clear. A name is a string too: one that is neither
the reference's nor the configuration's leaves in clear only if it looks like the name of a feature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from configuration.privacy import Bucket, Privacy, Texts, Word
from events.inference import InferenceEvent, Instance
from privacy.buckets import bucketed
from privacy.keyed import PURPOSE, KeyedHash
from privacy.keys import Former, Keys
from privacy.patterns import Patterns
from proxy.emitter.texts import TextColumn
from reference.categories import boolean_category, number_category
from reference.profile import PREDICTION, Profile

Reason = Literal["dropped", "hashed", "bucketed", "kept", "listed", "unlisted", "plain"]

_KEPT_TEXTS: Final = 16_384
_KEPT_CHARACTERS: Final = 256
_KEPT_SHAPES: Final = 1024
_SHAPE_NAMES: Final = 1024
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/ -]{0,63}")
_HEADER: Final = "header."
"""Before a header's name, in `privacy.fields`."""


class Shape:
    """What a row with these names needs beside the hiding of its strings."""

    __slots__ = ("plain", "renamed", "ruled", "texts")

    def __init__(
        self, ruled: tuple[tuple[str, Word | Bucket], ...], texts: tuple[TextColumn, ...], renamed: dict[str, str]
    ) -> None:
        self.ruled = ruled
        self.texts = texts
        self.renamed = renamed
        self.plain = not (ruled or texts or renamed)


class Pseudonymiser:
    """Hides what one model's events must not tell."""

    def __init__(
        self, keys: Keys, reference: Profile | None = None, privacy: Privacy | None = None, texts: Texts | None = None
    ) -> None:
        privacy, texts = privacy or Privacy(), texts or Texts()
        key = keys.for_profile(reference.key_id if reference is not None else None)
        self._hash = KeyedHash(key.derived(PURPOSE))
        self._key_id = key.key_id
        self._listed = {} if reference is None else reference.listed
        self._rules: Mapping[str, Word | Bucket] = privacy.fields
        self._keeps_request_id = privacy.request_id == "keep"
        self._patterns = Patterns(privacy.patterns, texts.patterns)
        self._texts = _text_columns(reference, texts, key, self._patterns)
        self._names = {*self._rules, *self._texts, *(reference.columns if reference is not None else ())}
        # By column and text. Most strings of a stream come again and again; a bound keeps a hostile one from filling
        # memory.
        self._known: dict[str, dict[str, str]] = {}
        self._kept = 0
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self._named: dict[str, str] = {}
        self._prediction_rule = self._rules.get(PREDICTION)

    def apply(self, event: InferenceEvent) -> None:
        """Hide, in place, whatever must not leave in clear, and add what is told of texts."""
        event.key_id = self._key_id
        if event.request_id is not None and not self._keeps_request_id:
            event.request_id = self._hash(event.request_id)
        if event.headers:
            event.headers = {name: self.shown(_HEADER + name, value) for name, value in event.headers.items()}
        for instance in event.instances:
            self._hide(instance)

    def _hide(self, instance: Instance) -> None:
        features = instance.features
        shape = self._shapes.get(tuple(features)) or self._shape(features)
        told = None if shape.plain else self._told(instance, shape)  # before the text is out of sight
        known = self._known
        for name, value in features.items():
            if type(value) is str and value:
                column = known.get(name)
                shown = column.get(value) if column is not None else None
                if shown is None:
                    shown = self.shown(name, value)
                if shown != value:
                    features[name] = shown  # of a key that is there, so the walk goes on
        if told is not None:
            self._finish(instance, shape, told)
        prediction = instance.prediction
        if type(prediction) is str:
            instance.prediction = self.shown(PREDICTION, prediction)
        if self._prediction_rule is not None:
            self._hide_prediction(instance)

    def _shape(self, features: dict[str, Any]) -> Shape:
        rules, texts = self._rules, self._texts
        shape = Shape(
            tuple((name, rule) for name in features if (rule := rules.get(name)) is not None and rule != "keep"),
            tuple(text for name in features if (text := texts.get(name)) is not None),
            {name: hidden for name in features if (hidden := self.name(name)) != name},
        )
        if len(features) <= _SHAPE_NAMES and not shape.renamed:  # names that a client makes up come once
            if len(self._shapes) >= _KEPT_SHAPES:
                self._shapes.clear()
            self._shapes[tuple(features)] = shape
        return shape

    @staticmethod
    def _told(instance: Instance, shape: Shape) -> dict[str, Any]:
        """What is told of the row's texts."""
        told: dict[str, Any] = {}
        for text in shape.texts:
            told |= text.told(instance)
        return told

    def _finish(self, instance: Instance, shape: Shape, told: dict[str, Any]) -> None:
        """Apply the rules to what is no string, then the names."""
        features = instance.features
        for name, rule in shape.ruled:
            if rule == "drop":
                del features[name]
                if name in instance.invalid:
                    instance.invalid = [other for other in instance.invalid if other != name]
            else:
                features[name] = self._ruled(features[name], rule)
        if shape.renamed:
            renamed = shape.renamed
            instance.features = features = {renamed.get(name, name): value for name, value in features.items()}
            if instance.invalid:
                instance.invalid = [renamed.get(name, name) for name in instance.invalid]
        features.update(told)

    def _ruled(self, value: Any, rule: Word | Bucket) -> Any:
        """A number or a boolean under a rule; null stays null, and strings have been seen to."""
        if isinstance(rule, Bucket):
            return bucketed(value, rule.bucket) if type(value) in (int, float) else value
        if rule == "hash" and value is not None and type(value) is not str:
            return self._hash(boolean_category(value) if type(value) is bool else number_category(value))
        return value

    def _hide_prediction(self, instance: Instance) -> None:
        rule, value = self._prediction_rule, instance.prediction
        if rule == "drop":
            instance.prediction = msgspec.UNSET
        elif rule is not None and value is not msgspec.UNSET and type(value) is not list:
            instance.prediction = self._ruled(value, rule)

    def name(self, name: str) -> str:
        """How a feature of this name is called in an event."""
        if name in self._names:
            return name
        shown = self._named.get(name)
        if shown is None:
            shown = name if _NAME.fullmatch(name) and self._patterns.finds(name) is None else self._hash(name)
            if len(name) <= _KEPT_CHARACTERS:
                if len(self._named) >= _KEPT_TEXTS:
                    self._named.clear()
                self._named[name] = shown
        return shown

    def shown(self, column: str, text: str) -> str:
        """What stands in an event for this text of this column."""
        if column in self._rules:
            shown = self._shown(column, text)[0]
        else:
            shown = text if column in self._listed and text in self._listed[column] else self._hash(text)
        if len(text) <= _KEPT_CHARACTERS and len(column) <= _KEPT_CHARACTERS:
            if self._kept >= _KEPT_TEXTS:
                self._known.clear()
                self._kept = 0
            self._known.setdefault(column, {})[text] = shown
            self._kept += 1
        return shown

    def _shown(self, column: str, text: str) -> tuple[str, Reason]:
        rule = self._rules.get(column)
        if rule == "keep":
            return self._patterns.redact(text), "kept"
        if rule is None and text in self._listed.get(column, ()):
            return text, "listed"
        return self._hash(text), "unlisted" if rule is None else "hashed"

    def explained(self, column: str, value: Any) -> tuple[Any, Reason]:
        """What stands in an event for a value, and why; for people, so nothing is remembered of it."""
        rule = self._rules.get(column)
        if rule == "drop":
            return None, "dropped"
        if type(value) is str and value:
            return self._shown(column, value)
        if rule is None or rule == "keep" or value is None or value == "" or type(value) is list:
            return value, "plain"
        return self._ruled(value, rule), "bucketed" if isinstance(rule, Bucket) else "hashed"

    @property
    def key_id(self) -> str:
        """The key that strings are hashed with."""
        return self._key_id

    @property
    def texts(self) -> Mapping[str, TextColumn]:
        """The features that are texts."""
        return self._texts

    @property
    def patterns(self) -> Patterns:
        """What is looked for in texts."""
        return self._patterns


def _text_columns(reference: Profile | None, texts: Texts, key: Former, patterns: Patterns) -> dict[str, TextColumn]:
    known = reference.texts if reference is not None else {}
    fits = reference is None or key.key_id == reference.key_id
    return {
        name: TextColumn(name, known.get(name), key if fits else None, patterns)
        for name in dict.fromkeys([*known, *texts.fields])
    }
