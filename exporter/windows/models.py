"""What is known of one model's traffic: its windows, the ids seen, the versions whose predictions they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from configuration.model import Model
from events.inference import ROLES, InferenceEvent, Role
from events.labels import LabelsEvent
from events.topics import TOPIC_OF_ROLE
from evidence.document import ALL, LEVELS, Level
from exporter.windows.duplicates import RecentIds, event_key
from exporter.windows.early_warning import EarlyWarning
from exporter.windows.pairs import Pairs
from exporter.windows.predictions import Predictions
from exporter.windows.rows import Columns
from exporter.windows.shadowed import Shadowed
from exporter.windows.text_patterns import TextPatterns
from exporter.windows.warmup import Recent, WarmUp, decoded, encoded
from exporter.windows.window import Rows, Window
from reference.profile import Column, Profile

Source = Literal["profile", "warmup"]

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

    def __init__(self, model: Model, profile: Profile | None, source: Source = "profile") -> None:
        """`source` tells where the reference is from, or will be."""
        self.model: Final = model
        self.source: Final[Source] = "warmup" if profile is None else source
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

    def window_of(self, tenant: str) -> str:
        """The name under which a tenant's instances have their window."""
        return tenant if tenant in self.named else OTHER

    def _levels(self, tenant: str) -> dict[Level, float]:
        """Levels rise: one that only the model has gives way to what the tenant has beside it."""
        drift = self.model.drift
        own = self.model.tenant.thresholds.get(tenant, {}) if self.model.tenant else {}
        found: dict[Level, float] = {"moderate": drift.moderate, "large": drift.large, "severe": drift.severe, **own}
        for place, level in enumerate(LEVELS):
            if level not in own:
                below = [own[each] for each in LEVELS[:place] if each in own]
                above = [own[each] for each in LEVELS[place:] if each in own]
                found[level] = min([max([found[level], *below]), *above])
        return found


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
        self.taken = 0
        """How many events it has taken since this process has it."""
        self.last_time: float | None = None
        """The event time of the last of them."""
        self.muted: frozenset[str] = frozenset()
        """Tenants whose windows know already what is being read again."""
        self.anew = False
        """Whether the windows have begun anew in this process, so that none knows more than another."""
        self._waiting: list[InferenceEvent] = []
        self._keys: list[int] = []

    def refer(self, measured: Measured) -> None:
        """Begin the windows anew with the columns of another reference; the ids seen stay. Nothing may wait."""
        self.muted, self.anew = frozenset(), True
        former, predicted = self.windows, self._measured.prediction
        self._measured = measured
        self.windows = {tenant: Window(measured.columns.layout, measured.size) for tenant in measured.tenants}
        for tenant, window in self.windows.items():
            if tenant in former:  # whoever keeps what was worked out of the former one must see a change
                window.revision = former[tenant].revision + 1
        self.patterns.refer(measured.profile)
        if predicted is not None:  # else they have been counted by their own type, and go on like that
            self.predictions = Predictions(measured.prediction)

    def describe(self, measured: Measured) -> None:
        """Go on with the same reference, described otherwise: what its columns see is seen where it is shown."""
        self._measured = measured

    def pass_again(self, events: Sequence[InferenceEvent]) -> None:
        """Let events enter the windows that did so before, under a reference that has been made since."""
        self._admit(events, [event_key(event.id) for event in events])

    def hold_back(self, count: int) -> tuple[list[InferenceEvent], list[int]]:
        """Let only so many of those that wait enter at the next `flush`; the rest, for `give_back`."""
        rest = self._waiting[count:], self._keys[count:]
        del self._waiting[count:], self._keys[count:]
        return rest

    def give_back(self, rest: tuple[list[InferenceEvent], list[int]]) -> None:
        """Let those wait again that were held back."""
        self._waiting += rest[0]
        self._keys += rest[1]

    @property
    def waiting(self) -> Sequence[InferenceEvent]:
        """Those that the next `flush` lets enter."""
        return self._waiting

    def take(self, event: InferenceEvent) -> bool:
        """Let an event wait for `flush`, if its outcome enters windows; False, and nothing else, if it came before."""
        key = event_key(event.id)
        if self.ids.seen(key):
            return False
        self.taken += 1
        self.last_time = event.time
        if event.outcome in _IN_WINDOWS:
            self._waiting.append(event)
            self._keys.append(key)
        return True

    def flush(self) -> Entered:
        """Move what waits into the windows; what has entered that of the whole model."""
        events, keys = self._waiting, self._keys
        self._waiting, self._keys = [], []
        entered = self._admit(events, keys)
        self.predictions.take(events, self.left_out)
        self.patterns.take(events)
        return entered

    def _admit(self, events: Sequence[InferenceEvent], keys: Sequence[int]) -> Entered:
        rows = self._measured.columns.rows(events, keys, self.left_out)
        if not len(rows.times):
            return Entered(rows, ())
        lengths = [len(event.instances) for event in events]
        entered = self._enter(ALL, rows, [event.version for event in events], lengths)
        self._share_out(rows, events, lengths)
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
                    name = self._measured.window_of(event.tenant)
                    if event.tenant in self._measured.beyond:
                        self.left_out["tenants"] += lengths[position]
                    if name not in self.muted:
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
        if set(versions) == {window.version}:  # as it nearly always is
            window.add(rows)
            return Entered(rows, restarted)
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
        self.shadowed: Final = Shadowed(measured.size, measured.tenants, measured.model.labels)
        self.labels: Final = self.shadowed.labels
        self.early_warning = EarlyWarning(measured.columns.layout, measured.columns.reference)
        self.warm_up = (
            None if measured.profile is not None else WarmUp(measured.size, measured.window_of, measured.model.drift)
        )
        """What is remembered of production while there is no reference, and of the shadow; None once there is one."""
        self.recent = None if self.warm_up is None else Recent(measured.size, measured.window_of)
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
        if event.outcome in _IN_WINDOWS and TOPIC_OF_ROLE[event.role] not in self._pairs_know:
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
            if TOPIC_OF_ROLE[role] == topic and not state.anew:
                state.muted = frozenset(tenant for tenant in state.windows if f"{tenant}|{role}" in known)

    def flush(self) -> Counter[str]:
        """Move what waits into the windows of both roles; by reason, what became no series of its own."""
        left_out: Counter[str] = Counter()
        if self.warm_up is not None and self.recent is not None:
            left_out = self._warm(self.warm_up, self.recent)
        for role, state in self.roles.items():
            entered = state.flush()
            if role == "production":
                for column in entered.restarted:
                    self.early_warning.restart(column)
                self.early_warning.add(entered.rows.cells.astype(np.int16, copy=False))
            left_out.update(state.left_out)
            state.left_out.clear()
        return left_out

    def _warm(self, warm_up: WarmUp, recent: Recent) -> Counter[str]:
        """Remember what waits; when it is enough for a reference, go over to that with what waits behind it."""
        recent.take(self.roles["shadow"].waiting)
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
        self.warm_up = self.recent = None
        left_out = self.flush()  # they have been answered, whatever they are measured by
        self.refer(Measured(self.measured.model, profile, "warmup"))
        production.pass_again(list(warm_up.latest()))
        self.roles["shadow"].pass_again(list(recent.latest()))
        production.give_back(behind)
        return left_out


def measured_models(models: Sequence[Model], profiles: Sequence[Profile | None]) -> tuple[Measured, ...]:
    """The models of the configuration with their profiles, in its order."""
    return tuple(Measured(model, profile) for model, profile in zip(models, profiles, strict=True))
