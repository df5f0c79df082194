"""Training data under the rules of `privacy.fields`: what the emitter will do to live values, done to those before."""

from __future__ import annotations

from typing import Any

from configuration.model import Model
from configuration.privacy import Bucket, Word
from privacy.buckets import bucketed
from privacy.keyed import HASHED, PURPOSE, KeyedHash
from privacy.keys import Keys
from privacy.patterns import Patterns
from privacy.text import VOCABULARY
from reference.categories import boolean_category, number_category
from reference.profile import Categorical, Column
from reference.tally import Kind, Tally


class Treatment:
    """One model's rules, and the key that its proxy hashes with."""

    def __init__(self, model: Model, keys: Keys) -> None:
        self.key_id = keys.key_id
        self.vocabulary_key = keys.derived(VOCABULARY)
        self.texts = frozenset(model.text.fields)
        self._rules = model.privacy.fields
        self._patterns = Patterns(model.privacy.patterns)
        self._hash = KeyedHash(keys.derived(PURPOSE))

    @property
    def kinds(self) -> dict[str, Kind]:
        """How columns have to be read: a number that is hashed must keep its last digit."""
        hashed: dict[str, Kind] = {name: "categorical" for name, rule in self._rules.items() if rule == "hash"}
        return hashed | dict.fromkeys(self.texts, "text")

    def rules(self, name: str) -> Word | Bucket | None:
        """What is said of a column."""
        return self._rules.get(name)

    def drops(self, name: str) -> bool:
        """Whether the column is in no event."""
        return self._rules.get(name) == "drop"

    def hashes(self, name: str, column: Column) -> bool:
        """Whether the column's categories are hashes now."""
        rule = self._rules.get(name)
        return isinstance(column, Categorical) and (
            rule == "hash" or (isinstance(rule, Bucket) and holds_hashes(column))
        )

    def treated(self, name: str, tally: Tally) -> Tally:
        """The values as they would leave the proxy; without a rule, as they are: they are listed from now on."""
        rule = self._rules.get(name)
        if rule is None:
            return tally
        if rule == "hash":
            return tally.changed("categorical", self._hash, self._number, self._boolean)
        if isinstance(rule, Bucket):
            width = rule.bucket
            kind = tally.kind if tally.kind != "text" else None
            return tally.changed(kind, self._hash, lambda value: bucketed(value, width), _as_it_is)
        return tally.changed(tally.kind, self._patterns.redact, _as_it_is, _as_it_is)

    def _number(self, value: float) -> str:
        return self._hash(number_category(value))

    def _boolean(self, value: bool) -> str:
        return self._hash(boolean_category(value))


def _as_it_is(value: Any) -> Any:
    return value


def holds_hashes(column: Column) -> bool:
    """Whether a column lists hashes instead of texts."""
    return (
        isinstance(column, Categorical)
        and column.type == "string"
        and any(HASHED.fullmatch(name) for name in column.categories)
    )
