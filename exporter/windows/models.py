"""What is known of one model's traffic: its windows, the ids seen, the versions whose predictions they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from configuration.model import Model
from events.inference import ROLES, InferenceEvent, Role
from exporter.windows.answers import entering
from exporter.windows.duplicates import RecentIds, event_key
from exporter.windows.early_warning import EarlyWarning
from exporter.windows.labelled import Labelled
from exporter.windows.pairs import Pairs
from exporter.windows.predictions import Predictions
from exporter.windows.rows import Columns
from exporter.windows.text_patterns import TextPatterns
from exporter.windows.window import Rows, Window
from reference.profile import Column, Profile

Level = Literal["moderate", "large", "severe"]
LEVELS: Final[tuple[Level, ...]] = ("moderate", "large", "severe")
"""In the order in which they rise."""

ALL: Final = "_all"
"""The tenant that stands for the whole model."""
OTHER: Final = "_other"
"""The tenant that stands for all that the configuration does not name."""

MAX_TENANTS: Final = 200
MAX_TENANT_COLUMNS: Final = 20_000
"""Tenants by columns, of one model: what memory and a scrape can carry. Tenants beyond it count as `_other`."""

_IN_WINDOWS: Final = frozenset({"ok", "log_only"})
_REMEMBERED: Final = 4
"""Duplicates are told among the events of so many windows."""


class Measured:
    """One model as the configuration and its reference describe it. Another reference makes another one of these."""

    def __init__(self, model: Model, profile: Profile | None) -> None:
        self.model: Final = model
        self.name: Final = model.name
        self.profile: Final = profile
        self.reference_hash: Final = "" if profile is None else profile.hash
        self.columns: Final = Columns(profile)
        self.prediction: Final[Column | None] = None if profile is None else profile.prediction
        allowed = tuple(dict.fromkeys(model.tenant.allow if model.tenant else ()))
        most = min(MAX_TENANTS, MAX_TENANT_COLUMNS // max(1, len(self.columns.names)))
        self.named: Final = frozenset(allowed[:most])
        """The tenants that have windows of their own."""
        self.beyond: Final = frozenset(allowed[most:])
        """Those that the configuration names and that would be too many."""
        self.tenants: Final = (ALL, *allowed[:most], OTHER) if model.tenant else (ALL,)
        self.size: Final = model.window.size
        self.thresholds: Final[dict[str, Mapping[Level, float]]] = {
            tenant: self._levels(tenant) for tenant in self.tenants
        }
        """By tenant the PSI from which on a level begins."""

    def _levels(self, tenant: str) -> dict[Level, float]:
        drift = self.model.drift
        own = self.model.tenant.thresholds.get(tenant, {}) if self.model.tenant else {}
        return {"moderate": drift.moderate, "large": drift.large, "severe": drift.severe, **own}


class Entered(NamedTuple):
    """What a batch has brought into a window."""

    rows: Rows
    restarted: Sequence[int]
    """Columns that have started again before these rows came: those of the prediction, at a switch of versions."""


class RoleState:
    """One role of one model: a window of each tenant, and the events of the current batch that wait to enter them."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self.ids: Final = RecentIds(_REMEMBERED * measured.size)
        self.windows = {tenant: Window(measured.columns.layout, measured.size) for tenant in measured.tenants}
        self.predictions = Predictions(measured.prediction)
        self.patterns: Final = TextPatterns(measured.model, measured.profile)
        self.left_out: Final[Counter[str]] = Counter()
        """By reason, what has become no series of its own."""
        self._waiting: list[InferenceEvent] = []
        self._keys: list[int] = []

    def refer(self, measured: Measured) -> None:
        """Begin the windows anew with the columns of another reference; the ids seen stay. Nothing may wait."""
        former, self._measured = self.windows, measured
        self.windows = {tenant: Window(measured.columns.layout, measured.size) for tenant in measured.tenants}
        for tenant, window in self.windows.items():
            if tenant in former:  # whoever keeps what was worked out of the former one must see a change
                window.revision = former[tenant].revision + 1
        self.predictions = Predictions(measured.prediction)
        self.patterns.refer(measured.profile)

    def take(self, event: InferenceEvent) -> bool:
        """Let an event wait for `flush`, if its outcome enters windows; False, and nothing else, if it came before."""
        key = event_key(event.id)
        if self.ids.seen(key):
            return False
        if event.outcome in _IN_WINDOWS:
            self._waiting.append(event)
            self._keys.append(key)
        return True

    def flush(self) -> Entered:
        """Move what waits into the windows; what has entered that of the whole model."""
        events, keys = self._waiting, self._keys
        self._waiting, self._keys = [], []
        rows = self._measured.columns.rows(events, keys, self.left_out)
        if not len(rows.times):
            return Entered(rows, ())
        lengths = [len(event.instances) for event in events]
        entered = self._enter(ALL, rows, [event.version for event in events], lengths)
        self._share_out(rows, events, lengths)
        self.patterns.take(events)
        self.predictions.take(events, self.left_out)
        return entered

    def kept(self) -> dict[str, Any]:
        """What survives a restart; nothing may wait. `windows` by tenant, each apart, and the `ids`."""
        windows = {tenant: window.kept() for tenant, window in self.windows.items()}
        return {"ids": self.ids.kept(), "windows": windows}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave; a tenant that is not there begins anew. Raises ValueError for anything else."""
        self.ids.restore(kept["ids"])
        for tenant, window in kept["windows"].items():
            if tenant in self.windows:
                self.windows[tenant].restore(window)

    def _share_out(self, rows: Rows, events: Sequence[InferenceEvent], lengths: Sequence[int]) -> None:
        """Each tenant's rows into its own window; without a tenant a request counts in `_all` alone."""
        by_tenant: dict[str, list[int]] = {}
        if len(self.windows) > 1:
            for position, event in enumerate(events):
                if event.tenant is not None:
                    name = event.tenant if event.tenant in self._measured.named else OTHER
                    if event.tenant in self._measured.beyond:
                        self.left_out["tenants"] += lengths[position]
                    by_tenant.setdefault(name, []).append(position)
        if not by_tenant:
            return
        ends = np.cumsum(lengths)
        for tenant, positions in by_tenant.items():
            counts = [lengths[position] for position in positions]
            which = np.repeat(ends[positions] - np.cumsum(counts), counts) + np.arange(sum(counts))
            self._enter(tenant, rows.chosen(which), [events[position].version for position in positions], counts)

    def _enter(self, tenant: str, rows: Rows, versions: Sequence[str], lengths: Sequence[int]) -> Entered:
        """Predictions are those of one version: at a switch their columns start again."""
        window, predicted = self.windows[tenant], self._measured.columns.predicted
        restarted: Sequence[int] = ()
        entering = [(version, length) for version, length in zip(versions, lengths, strict=True) if length]
        if not entering:
            return Entered(rows, restarted)
        last = entering[-1][0]
        if window.version != last or any(version != last for version, _ in entering):
            current = next((n for n, (version, _) in enumerate(reversed(entering)) if version != last), len(entering))
            former = sum(length for _, length in entering[: len(entering) - current])
            if former or window.version is not None:
                cells = rows.cells.copy()
                cells[:former, predicted] = self._measured.columns.absent[predicted]
                rows = rows._replace(cells=cells)
                restarted = predicted
                for column in predicted:
                    window.restart(column)
            window.version = last
        window.add(rows)
        return Entered(rows, restarted)


class ModelState:
    """The changing part of a model: it comes with the model's partition and goes with it."""

    def __init__(self, measured: Measured) -> None:
        self.measured = measured
        self.roles: Final[dict[Role, RoleState]] = {role: RoleState(measured) for role in ROLES}
        self.pairs = Pairs(measured.size, measured.tenants)
        self.labels: Final = Labelled(measured.model.labels, measured.size)
        self.early_warning = EarlyWarning(measured.columns.layout, measured.columns.reference)

    def refer(self, measured: Measured) -> None:
        """Go over to another reference. Windows begin anew unless only its description differs; nothing may wait."""
        former, self.measured = self.measured, measured
        if former.tenants != measured.tenants:  # there is room for fewer, or for more
            self.pairs = Pairs(measured.size, measured.tenants)
        if former.reference_hash != measured.reference_hash:
            for state in self.roles.values():
                state.refer(measured)
            self.early_warning = EarlyWarning(measured.columns.layout, measured.columns.reference)

    def take(self, event: InferenceEvent) -> bool:
        """Take an event of this model; False, and nothing else, if it came before."""
        if not self.roles[event.role].take(event):
            return False
        if event.outcome in _IN_WINDOWS:
            key = entering(event)
            self.pairs.take(event, key)
            self.labels.take(event, key)
        return True

    def flush(self) -> Counter[str]:
        """Move what waits into the windows of both roles; by reason, what became no series of its own."""
        left_out: Counter[str] = Counter()
        for role, state in self.roles.items():
            entered = state.flush()
            if role == "production":
                for column in entered.restarted:
                    self.early_warning.restart(column)
                self.early_warning.add(entered.rows.cells.astype(np.int16, copy=False))
            left_out.update(state.left_out)
            state.left_out.clear()
        return left_out


def measured_models(models: Sequence[Model], profiles: Sequence[Profile | None]) -> tuple[Measured, ...]:
    """The models of the configuration with their profiles, in its order."""
    return tuple(Measured(model, profile) for model, profile in zip(models, profiles, strict=True))
