"""What is known of one model's traffic: its windows, the ids seen, the versions whose predictions they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from configuration.model import Model
from events.inference import ROLES, InferenceEvent, Role
from exporter.windows.duplicates import RecentIds
from exporter.windows.rows import Columns
from exporter.windows.window import Window
from reference.binning import Cells, absent_cell
from reference.profile import Profile

Level = Literal["moderate", "large", "severe"]

ALL: Final = "_all"
"""The tenant that stands for the whole model."""

_IN_WINDOWS: Final = frozenset({"ok", "log_only"})
_REMEMBERED: Final = 4
"""Duplicates are told among the events of so many windows."""


class Measured:
    """One model as the configuration and its profile describe it: what does not change while the process runs."""

    def __init__(self, model: Model, profile: Profile | None) -> None:
        self.model: Final = model
        self.name: Final = model.name
        self.profile: Final = profile
        self.columns: Final = Columns(profile)
        self.tenants: Final = (ALL, *(model.tenant.allow if model.tenant else ()))
        self.size: Final = model.window.size
        self.thresholds: Final[dict[str, Mapping[Level, float]]] = {
            tenant: self._levels(tenant) for tenant in self.tenants
        }
        """By tenant the PSI from which on a level begins."""

    def _levels(self, tenant: str) -> dict[Level, float]:
        drift = self.model.drift
        own = self.model.tenant.thresholds.get(tenant, {}) if self.model.tenant else {}
        return {"moderate": drift.moderate, "large": drift.large, "severe": drift.severe, **own}


class RoleState:
    """One role of one model: a window of each tenant, and the events of the current batch that wait to enter them."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self.ids: Final = RecentIds(_REMEMBERED * measured.size)
        self.windows: Final = {tenant: Window(measured.columns.layout, measured.size) for tenant in measured.tenants}
        self._versions: dict[str, str] = {}
        self._waiting: list[InferenceEvent] = []

    def take(self, event: InferenceEvent) -> None:
        """Let an event that is no duplicate wait for `flush`, if its outcome is one that enters windows."""
        if event.outcome in _IN_WINDOWS:
            self._waiting.append(event)

    def flush(self) -> int:
        """Move what waits into the windows; how many feature values had a name that the profile lacks."""
        events, self._waiting = self._waiting, []
        instances = [instance for event in events for instance in event.instances]
        if not instances:
            return 0
        lengths = [len(event.instances) for event in events]
        asked = np.repeat([event.outcome == "ok" for event in events], lengths)
        cells, dropped = self._measured.columns.cells(instances, asked.tolist())
        times = np.repeat([event.time for event in events], lengths)
        versions = np.repeat(np.array([event.version for event in events], object), lengths)
        self._add(ALL, cells, times, versions)
        for tenant in {event.tenant for event in events} & self.windows.keys() - {ALL}:
            mine = np.repeat([event.tenant == tenant for event in events], lengths)
            self._add(str(tenant), cells[mine], times[mine], versions[mine])
        return dropped

    def _add(self, tenant: str, cells: Cells, times: NDArray[np.float64], versions: NDArray[np.object_]) -> None:
        """Predictions are those of one version: at a switch their column starts again."""
        column, window = self._measured.columns.prediction, self.windows[tenant]
        if column is not None and len(versions):
            last = versions[-1]
            others = np.flatnonzero(versions != last)
            if len(others):
                cells = cells.copy()
                cells[: others[-1] + 1, column] = absent_cell(self._measured.columns.bins[column].size)
            if len(others) or self._versions.get(tenant, last) != last:
                window.restart(column)
            self._versions[tenant] = last
        window.add(cells, times)


class ModelState:
    """The changing part of a model: it comes with the model's partition and goes with it."""

    def __init__(self, measured: Measured) -> None:
        self.measured: Final = measured
        self.roles: Final[dict[Role, RoleState]] = {role: RoleState(measured) for role in ROLES}

    def flush(self) -> int:
        """Move what waits into the windows of both roles; see `RoleState.flush`."""
        return sum(state.flush() for state in self.roles.values())


def measured_models(models: Sequence[Model], profiles: Sequence[Profile | None]) -> tuple[Measured, ...]:
    """The models of the configuration with their profiles, in its order."""
    return tuple(Measured(model, profile) for model, profile in zip(models, profiles, strict=True))
