"""One role of one model: its windows, the ids seen, what it predicted and which patterns its texts held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from events.inference import InferenceEvent
from evidence.document import ALL
from exporter.windows.duplicates import RecentIds, event_key
from exporter.windows.measured import Measured
from exporter.windows.predictions import Predictions
from exporter.windows.text_patterns import TextPatterns
from exporter.windows.window import Answered, Entered, Rows, Window

IN_WINDOWS: Final = frozenset({"ok", "log_only"})
"""The outcomes that enter."""
_REMEMBERED: Final = 4
"""Duplicates are told among the events of so many windows."""


class RoleState:
    """One role of one model: a window of each tenant, and the events of the current batch that wait to enter them."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self.ids: Final = RecentIds(_REMEMBERED * measured.size)
        self.windows = _windows(measured)
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
        """Whether the windows have begun anew in this process, so that none holds more than another."""
        self._led: frozenset[str] | None = None
        """Tenants whose windows began anew after a warm-up, knowing already which versions lead in what is being read
        again; None where windows began anew without a past."""
        self._waiting: list[InferenceEvent] = []
        self._keys: list[int] = []

    def refer(self, measured: Measured) -> None:
        """Begin the windows anew with the columns of another reference; the ids seen stay. Nothing may wait."""
        former, predicted = self.windows, self._measured.prediction
        warmed_up = self._measured.profile is None
        self._led = self.muted if warmed_up else None
        self.muted, self.anew = frozenset(), True
        self._measured = measured
        self.windows = _windows(measured)
        for tenant, window in self.windows.items():
            if tenant in former:  # whoever keeps what was worked out of the former one must see a change
                window.revision = former[tenant].revision + 1
                if warmed_up:  # what it held comes once more, by `pass_again`
                    window.led_as(former[tenant])
        self.patterns.refer(measured.profile)
        if predicted is not None:  # else they have been counted by their own type, and go on like that
            self.predictions = Predictions(measured.prediction)

    def describe(self, measured: Measured) -> None:
        """Go on with the same reference, described otherwise: what its columns see is seen where it is shown."""
        self._measured = measured

    def mute(self, tenants: frozenset[str]) -> None:
        """What is read next has entered the windows of these tenants before."""
        if not self.anew:
            self.muted = tenants
        elif self._led is not None:
            self._led = tenants

    def pass_again(self, events: Sequence[InferenceEvent]) -> None:
        """Let events enter the windows that did so before, under a reference that has been made since."""
        rows = self._measured.columns.rows(events, [event_key(event.id) for event in events], self.left_out)
        if len(rows.times):
            for tenant, answered in self._parts(rows, events):
                self.windows[tenant].enter_again(answered)

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
        if event.outcome in IN_WINDOWS:
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
        entered = Entered(rows, False)
        if len(rows.times):
            for tenant, answered in self._parts(rows, events):
                window = self.windows[tenant]
                if tenant == ALL:
                    entered = window.enter(answered)
                elif self._led and tenant in self._led:
                    window.enter_again(answered)
                else:
                    window.enter(answered)
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

    def _parts(self, rows: Rows, events: Sequence[InferenceEvent]) -> Iterator[tuple[str, Answered]]:
        """What enters which window: all of it that of the whole, and each tenant's rows its own.

        Without a tenant a request counts in `_all` alone.
        """
        versions = [event.version for event in events]
        lengths = [len(event.instances) for event in events]
        yield ALL, Answered(rows, versions, lengths)
        by_tenant = self._by_tenant(events, lengths) if len(self.windows) > 1 else {}
        if not by_tenant:
            return
        ends = np.cumsum(lengths)
        for tenant, positions in by_tenant.items():
            counts = [lengths[position] for position in positions]
            which = np.repeat(ends[positions] - np.cumsum(counts), counts) + np.arange(sum(counts))
            yield tenant, Answered(rows.chosen(which), [versions[position] for position in positions], counts)

    def _by_tenant(self, events: Sequence[InferenceEvent], lengths: Sequence[int]) -> dict[str, list[int]]:
        """The positions of the events that enter each tenant's window."""
        by_tenant: dict[str, list[int]] = {}
        for position, event in enumerate(events):
            if event.tenant is not None:
                name = self._measured.window_of(event.tenant)
                if event.tenant in self._measured.beyond:
                    self.left_out["tenants"] += lengths[position]
                if name not in self.muted:
                    by_tenant.setdefault(name, []).append(position)
        return by_tenant


def _windows(measured: Measured) -> dict[str, Window]:
    columns = measured.columns
    return {tenant: Window(columns.layout, measured.size, columns.predicted) for tenant in measured.tenants}
