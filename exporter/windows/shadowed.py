"""What a shadow is for: both models' answers to the same requests, as pairs and with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from configuration.model import Labels
from events.inference import ROLES, InferenceEvent, Role
from exporter.windows.answers import entering
from exporter.windows.labelled import Labelled
from exporter.windows.leading import Leading
from exporter.windows.pairs import Pairs


class Shadowed:
    """The pairs and labels of one model; what is shown of them is of one version of each role."""

    def __init__(self, size: int, tenants: Sequence[str], labels: Labels, entries: int | None = None) -> None:
        """`size` is W, `tenants` are those told apart; `entries` in a chunk of the labels' memory, for tests."""
        self.pairs = Pairs(size, tenants)
        self.labels: Final = Labelled(labels, size, entries)
        self._changes = 0
        self._leading: Final[dict[Role, Leading]] = {role: Leading(size) for role in ROLES}

    def tell_apart(self, tenants: Sequence[str]) -> None:
        """Other tenants from now on: the pairs begin anew, and labels still find theirs."""
        self.pairs = Pairs(self.pairs.size, tenants)
        self._show()

    @property
    def revision(self) -> int:
        """A greater one after each change, 0 before the first."""
        return self._changes + self.labels.revision

    def version(self, role: Role) -> str | None:
        """The version whose answers make pairs; None before the first, and after a switch to one of which none does."""
        return self._leading[role].version

    def take(self, event: InferenceEvent) -> None:
        """Take an event that entered its role's windows; only `ok` makes pairs, of production if it is sampled."""
        instances = len(event.instances)
        if not instances:
            return
        key, leading = entering(event), self._leading[event.role]
        if key is None and leading.steady(event.version):
            return
        self._changes += 1
        if leading.take(event.version, instances, enters=key is not None):
            self._show()
        if key is not None:
            period = leading.period_of(event.version)
            self.pairs.take(event, key, period)
            self.labels.take(event, key, period)

    def kept(self) -> dict[str, Any]:
        """What survives a restart; nothing may wait. Of its `parts`, those named `<source>.<number>` never change."""
        now, parts = self.labels.kept()
        leading = {role: each.kept() for role, each in self._leading.items()}
        return {"leading": leading, "pairs": self.pairs.kept(), "labels": now, "parts": parts}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave. Raises ValueError, KeyError or TypeError for anything else."""
        self.pairs.restore(kept["pairs"])
        self.labels.restore(kept["labels"], kept["parts"])
        for role, each in self._leading.items():
            each.restore(kept["leading"][role])
        self._show()

    def _show(self) -> None:
        for role, leading in self._leading.items():
            self.pairs.shown[role] = self.labels.shown[role] = leading.period
