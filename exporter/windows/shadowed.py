"""What a shadow is for: both models' answers to the same requests, as pairs and with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from configuration.model import Labels
from events.inference import ROLES, InferenceEvent, Role
from exporter.windows.answers import entering
from exporter.windows.labelled import Labelled
from exporter.windows.pairs import Pairs
from exporter.windows.runs import Run


class Shadowed:
    """The pairs and labels of one model, of one version of each role."""

    def __init__(self, size: int, tenants: Sequence[str], labels: Labels, entries: int | None = None) -> None:
        """`size` is W, `tenants` are those told apart; `entries` in a chunk of the labels' memory, for tests."""
        self.pairs = Pairs(size, tenants)
        self.labels: Final = Labelled(labels, size, entries)
        self._changes = 0
        self._runs: Final[dict[Role, Run]] = {role: Run(size) for role in ROLES}

    def tell_apart(self, tenants: Sequence[str]) -> None:
        """Other tenants from now on: the pairs begin anew, and labels still find theirs."""
        self.pairs = Pairs(self.pairs.size, tenants)

    @property
    def revision(self) -> int:
        """A greater one after each change, 0 before the first."""
        return self._changes + self.labels.revision

    def version(self, role: Role) -> str | None:
        """The version whose answers make pairs; None before the first, and after a switch to one of which none does."""
        return self._runs[role].version

    def take(self, event: InferenceEvent) -> None:
        """Take an event that entered its role's windows; only `ok` makes pairs, of production if it is sampled."""
        instances = len(event.instances)
        if not instances:
            return
        key, run = entering(event), self._runs[event.role]
        others = run.others
        if not run.goes_on(event.version, instances, enters=key is not None):
            self._changes += 1
            self.pairs.restart(event.role)
            self.labels.restart(event.role)
        if key is not None or run.others != others:
            self._changes += 1
        if key is not None:
            self.pairs.take(event, key)
            self.labels.take(event, key)

    def kept(self) -> dict[str, Any]:
        """What survives a restart; nothing may wait. Of its `parts`, those named `<source>.<number>` never change."""
        now, parts = self.labels.kept()
        runs = {role: run.kept() for role, run in self._runs.items()}
        return {"runs": runs, "pairs": self.pairs.kept(), "labels": now, "parts": parts}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave. Raises ValueError, KeyError or TypeError for anything else."""
        self.pairs.restore(kept["pairs"])
        self.labels.restore(kept["labels"], kept["parts"])
        for role, run in self._runs.items():
            run.restore(kept["runs"][role])
