"""The active file: who serves each model, as the rollback or a person has decided it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from active import file as active_file
from active.file import ActiveFile, Entry, Mode
from configuration import Model
from configuration.shown import cut, one_line

_TOLERANCE: Final = 0.001
"""How far from 1 the weights may add up: 0.333 three times is meant to be a whole."""

_log = logging.getLogger("shadowdrift.proxy")


@dataclass(frozen=True)
class Order:
    """Who serves a model, and why. The weights add up to 1."""

    weights: Mapping[str, float]
    mode: Mode
    reason: str
    generation: int

    @property
    def asked(self) -> frozenset[str]:
        """The versions that get requests."""
        if self.mode == "paused":
            return frozenset()
        return frozenset(version for version, weight in self.weights.items() if weight > 0)

    def told(self) -> dict[str, Any]:
        """As the workers are told."""
        return {"weights": dict(self.weights), "mode": self.mode, "generation": self.generation}


class Active:
    """Who serves each model now, and what to make of a new file. Decisions alone.

    A wish that moves traffic to a version which has none now has to be tried first: `look` returns such wishes, and
    `take` or `refuse` says what came of each. All others are in force at once.
    """

    def __init__(self, models: Iterable[Model], former: Active | None = None) -> None:
        """`former`: who served under the configuration before, for models whose file turns out to be unusable."""
        self.models = {model.name: model for model in models}
        self.in_force = {name: _of_configuration(model) for name, model in self.models.items()}
        if former is not None:
            self.in_force |= {name: order for name, order in former.in_force.items() if self._goes_on(name, former)}
        self.refused: dict[str, str] = {}
        """Why a model's wish is not in force, for those where that is so."""
        self._by_configuration: dict[str, tuple[str, Entry | None]] = {}
        """Why the configuration decides, and what is passed over for it: told when either changes."""

    def _goes_on(self, name: str, former: Active) -> bool:
        """Whether what was in force can be so under this configuration, too."""
        model, before = self.models.get(name), former.models[name]
        if model is None or model.production != before.production:
            return False
        return former.in_force[name].weights.keys() <= model.targets.keys()

    def begin(self, content: bytes | None) -> None:
        """Take the file as it is at the start, for what was in force before: nobody has to be tried."""
        for name, order in self.look(content).items():
            self.take(name, order)

    def look(self, content: bytes | None) -> dict[str, Order]:
        """The wishes of a new content (None: no file) that move traffic, by model; the others are settled."""
        try:
            file: ActiveFile | None = None if content is None else active_file.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            for name in self.models:
                self.refuse(name, f"the file cannot be read: {one_line(str(error))}")
            return {}
        return self._wishes({} if file is None else file.models, there=file is not None)

    def unreadable(self, why: str) -> None:
        """There is a file, but nobody can read it."""
        for name in self.models:
            self.refuse(name, f"the file cannot be read: {why}")

    def _wishes(self, entries: Mapping[str, msgspec.Raw], *, there: bool) -> dict[str, Order]:
        unknown = [name for name in entries if name not in self.models]
        if unknown and self.models.keys() <= entries.keys():  # else it is told of those that the file does not name
            fields = {"models": [cut(name) for name in unknown[:10]]}
            _log.warning("the active file names models that the configuration lacks", extra={"fields": fields})
        moving: dict[str, Order] = {}
        for name, model in self.models.items():
            wish = self._wish(model, entries.get(name), there=there, unknown=unknown)
            if isinstance(wish, str):
                self.refuse(name, wish)
            elif wish.asked <= self.in_force[name].asked:
                self.take(name, wish)
            else:
                moving[name] = wish
        return moving

    def _wish(self, model: Model, raw: msgspec.Raw | None, *, there: bool, unknown: list[str]) -> Order | str:
        """What is to be in force for a model, or why that cannot be."""
        if raw is None:
            if unknown:  # perhaps this one's name, misspelt
                return f"the file names a model that the configuration lacks: {cut(unknown[0])}"
            self._say(model, "the active file does not name the model" if there else "there is no active file")
            return _of_configuration(model)
        try:
            entry = active_file.entry(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return f"its entry cannot be read: {one_line(str(error))}"
        if entry.config_production != model.production:
            why = f"the active file was made for production {cut(entry.config_production)}; "
            self._say(model, f"{why}production is {model.production} here: it is passed over", entry)
            return _of_configuration(model)
        self._by_configuration.pop(model.name, None)
        for version, weight in entry.weights.items():
            if version not in model.targets:
                return f"the file names a version that the configuration lacks: {cut(version)}"
            if not 0 <= weight <= 1:
                return f"a weight must be between 0 and 1, got {weight:g} for {version}"
        whole = math.fsum(entry.weights.values())
        if abs(whole - 1) > _TOLERANCE + 1e-12:
            return f"the weights must add up to 1, got {whole:g}"
        weights = {version: weight / whole for version, weight in entry.weights.items()}
        return Order(weights, entry.mode, cut(entry.reason), entry.generation)

    def take(self, name: str, order: Order) -> None:
        """It is in force from now on."""
        self.refused.pop(name, None)
        before, self.in_force[name] = self.in_force[name], order
        if order != before:
            fields = {"model": name, "weights": dict(order.weights), "mode": order.mode, "reason": order.reason}
            _log.info("who serves has changed", extra={"fields": fields})

    def refuse(self, name: str, why: str) -> None:
        """What is in force stays so."""
        self.refused[name] = why
        fields = {"model": name, "why": why, "weights": dict(self.in_force[name].weights)}
        _log.error("the active file is refused; what was in force stays", extra={"fields": fields})

    def told(self) -> dict[str, Any]:
        """What the workers need to know."""
        return {name: order.told() for name, order in self.in_force.items()}

    def _say(self, model: Model, why: str, passed_over: Entry | None = None) -> None:
        """A warning where somebody has decided otherwise: they may believe that it is in force."""
        if self._by_configuration.get(model.name) == (why, passed_over):
            return
        self._by_configuration[model.name] = why, passed_over
        fields = {"model": model.name, "production": model.production, "why": why}
        level = logging.INFO if passed_over is None else logging.WARNING
        _log.log(level, "the configuration decides who serves", extra={"fields": fields})


def _of_configuration(model: Model) -> Order:
    return Order({model.production: 1.0}, "serve", "configuration", 0)
