"""What is known of one model's traffic: both roles, their pairs and labels, the early warning, and how it began."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np

from events.inference import ROLES, InferenceEvent, Role
from events.labels import LabelsEvent
from events.topics import TOPIC_OF_ROLE
from exporter.windows.early_warning import EarlyWarning
from exporter.windows.measured import Measured
from exporter.windows.pairs import Pairs
from exporter.windows.roles import IN_WINDOWS, RoleState
from exporter.windows.shadowed import Shadowed
from exporter.windows.warmup import Recent, WarmUp, decoded, encoded


class ModelState:
    """The changing part of a model: it comes with the model's partition and goes with it."""

    def __init__(self, measured: Measured) -> None:
        self.measured = measured
        self.roles: Final[dict[Role, RoleState]] = {role: RoleState(measured) for role in ROLES}
        self.shadowed: Final = Shadowed(measured.size, measured.tenants, measured.model.labels)
        self.labels: Final = self.shadowed.labels
        self.early_warning = EarlyWarning(measured.columns.layout, measured.columns.reference)
        self.warm_up = (
            None if measured.profile is not None else WarmUp(measured.size, measured.window_of, measured.model.drift)
        )
        """What is remembered of production while there is no reference; None once there is one."""
        self.recent = None if self.warm_up is None else Recent(measured.size, measured.window_of)
        """What is remembered of the shadow, until the reference is kept: a kill just before that makes it once more."""
        self._pairs_know: set[str] = set()
        """Topics that are being read again and whose next messages pairs and labels know."""

    @property
    def pairs(self) -> Pairs:
        """The pairs of both roles' answers."""
        return self.shadowed.pairs

    def refer(self, measured: Measured) -> None:
        """Go over to another reference. Windows begin anew unless only its description differs; nothing may wait."""
        former, self.measured = self.measured, measured
        if former.tenants != measured.tenants:  # there is room for fewer, or for more
            self.shadowed.tell_apart(measured.tenants)
        if former.reference_hash != measured.reference_hash:
            for state in self.roles.values():
                state.refer(measured)
            self.early_warning = EarlyWarning(measured.columns.layout, measured.columns.reference)
        else:
            for state in self.roles.values():
                state.describe(measured)

    def reference_kept(self) -> dict[str, Any]:
        """What survives a restart of a reference that was made of the traffic, or is to be; nothing of a profile's.

        For `restore_reference`, which comes before all else: windows have its columns.
        """
        if self.measured.source == "profile":
            return {}
        if self.warm_up is not None:
            return {"warm_up": self.warm_up.kept()}
        return {} if self.measured.profile is None else {"profile": encoded(self.measured.profile)}

    def reference_is_kept(self, of: str) -> None:
        """The reference with this hash is written, with the state that it stands for."""
        if self.warm_up is None and of == self.measured.reference_hash:
            self.recent = None

    def restore_reference(self, kept: dict[str, Any]) -> None:
        """Go on from what `reference_kept` gave. Raises ValueError for anything else."""
        if self.warm_up is None:
            return
        if "profile" in kept:
            self.refer(Measured(self.measured.model, decoded(kept["profile"]), "warmup"))
            self.warm_up = self.recent = None
            for state in self.roles.values():
                state.anew = False
        elif "warm_up" in kept:
            self.warm_up.restore(kept["warm_up"])

    def take(self, event: InferenceEvent) -> bool:
        """Take an event of this model; False, and nothing else, if it came before."""
        if not self.roles[event.role].take(event):
            return False
        if event.outcome in IN_WINDOWS and TOPIC_OF_ROLE[event.role] not in self._pairs_know:
            self.shadowed.take(event)
        return True

    def take_labels(self, event: LabelsEvent) -> None:
        """Take a label event of this model; `labels.flush` tells what has become of it."""
        self.labels.take_labels(event)

    def mute(self, topic: str, known: frozenset[str]) -> None:
        """Read a topic again without the sections that have seen its next messages; for the next ones, that is.

        Their names are `tenant|role` and `pairs` (`sections`).
        """
        self._pairs_know.discard(topic)
        if "pairs" in known:
            self._pairs_know.add(topic)
        for role, state in self.roles.items():
            if TOPIC_OF_ROLE[role] == topic:
                state.mute(frozenset(tenant for tenant in state.windows if f"{tenant}|{role}" in known))

    def flush(self) -> Counter[str]:
        """Move what waits into the windows of both roles; by reason, what became no series of its own."""
        left_out: Counter[str] = Counter()
        if self.recent is not None:
            self.recent.take(self.roles["shadow"].waiting)
            left_out = self._warm(self.recent)
        for role, state in self.roles.items():
            entered = state.flush()
            if role == "production":
                for column in self.measured.columns.predicted if entered.taken_over else ():
                    self.early_warning.restart(column)
                self.early_warning.add(entered.rows.cells.astype(np.int16, copy=False))
            left_out.update(state.left_out)
            state.left_out.clear()
        return left_out

    def _warm(self, recent: Recent) -> Counter[str]:
        """Remember what waits; when it is enough for a reference, go over to that with what waits behind it."""
        warm_up = self.warm_up
        if warm_up is None:
            return Counter()
        production = self.roles["production"]
        taken, profile = 0, None
        while profile is None:  # what has said nothing is forgotten, wherever a poll was cut
            taken += warm_up.take(production.waiting[taken:])
            if not warm_up.complete:
                return Counter()
            profile = warm_up.profile()
            if profile is None:
                warm_up.restart()
        behind = production.hold_back(taken)
        self.warm_up, self.recent = None, None
        left_out = self.flush()  # they have been answered, whatever they are measured by
        self.refer(Measured(self.measured.model, profile, "warmup"))
        production.pass_again(list(warm_up.latest()))
        self.roles["shadow"].pass_again(list(recent.latest()))
        production.give_back(behind)
        self.recent = recent
        return left_out
