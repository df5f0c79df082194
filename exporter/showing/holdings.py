"""The families of windows: what they hold, how far they reach back, and the quality of their data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from events.inference import ROLES, Role
from exporter.showing.exposition import Family, Sample, label_texts, lines, numbers
from exporter.showing.quality import shares
from exporter.windows.measured import Measured
from exporter.windows.models import ModelState
from exporter.windows.window import Window

_QUALITY: Final = {
    "drift_feature_missing_ratio": "null, empty or not there",
    "drift_feature_invalid_ratio": "of the wrong type or not finite",
    "drift_feature_out_of_range_ratio": "outside the reference's minimum and maximum",
    "drift_feature_unseen_ratio": "not among the reference's categories",
}


def window_families(owned: Sequence[ModelState], now: float) -> Iterator[Family]:
    """Size, age and warming; `now` is in seconds since 1970."""
    instances: list[Sample] = []
    ages: list[Sample] = []
    warming: list[Sample] = []
    for state, tenant, role, window in windows_of(owned):
        labels = (("model", state.measured.name), ("tenant", tenant), ("role", role))
        instances.append((labels, window.filled))
        warming.append((labels, int(window.filled < window.size)))
        oldest = window.oldest_time()
        if oldest is not None:
            ages.append((labels, round(now - oldest, 3)))
    yield Family("drift_window_instances", "gauge", "Instances in the window.", instances)
    yield Family(
        "drift_window_age_seconds", "gauge", "How far the window reaches back: the age of its oldest instance.", ages
    )
    yield Family("drift_window_warming", "gauge", "1 while the window holds fewer than its size.", warming)


def windows_of(owned: Sequence[ModelState]) -> Iterator[tuple[ModelState, str, Role, Window]]:
    """Every window that is shown: the shadow's only where there is one."""
    for state in owned:
        for role in ROLES if state.measured.model.shadow is not None else ROLES[:1]:
            for tenant, window in state.roles[role].windows.items():
                yield state, tenant, role, window


class QualityFamilies:
    """The quality of every window as text, made anew only for windows that changed."""

    def __init__(self) -> None:
        self._labels: WeakKeyDictionary[Measured, dict[tuple[str, str], list[str]]] = WeakKeyDictionary()
        self._made: WeakKeyDictionary[Window, tuple[int, dict[str, str]]] = WeakKeyDictionary()

    def of(self, owned: Sequence[ModelState]) -> Iterator[Family]:
        """Every family, of this instant."""
        blocks = [self._block(state.measured, tenant, role, held) for state, tenant, role, held in windows_of(owned)]
        for name, what in _QUALITY.items():
            text = f"Share of the window's instances whose value is {what}."
            yield Family(name, "gauge", text, text=[block[name] for block in blocks])

    def _block(self, measured: Measured, tenant: str, role: Role, window: Window) -> dict[str, str]:
        if window not in self._made or self._made[window][0] != window.revision:
            self._made[window] = (window.revision, self._texts(measured, tenant, role, window))
        return self._made[window][1]

    def _texts(self, measured: Measured, tenant: str, role: Role, window: Window) -> dict[str, str]:
        found = shares(window)
        labels = self._labels_of(measured, tenant, role)
        numeric = measured.columns.numeric[found.columns]
        parts: tuple[tuple[NDArray[np.float64], NDArray[np.bool_] | None], ...]
        parts = ((found.missing, None), (found.invalid, None), (found.odd, numeric), (found.odd, ~numeric))
        texts = {}
        for name, (values, which) in zip(_QUALITY, parts, strict=True):
            columns = found.columns if which is None else found.columns[which]
            chosen = labels if len(columns) == len(labels) else [labels[column] for column in columns]
            texts[name] = lines(name, chosen, numbers(values if which is None else values[which]))
        return texts

    def _labels_of(self, measured: Measured, tenant: str, role: Role) -> list[str]:
        made = self._labels.setdefault(measured, {})
        if (tenant, role) not in made:
            fixed = (("model", measured.name), ("tenant", tenant), ("role", role))
            made[tenant, role] = label_texts(fixed, "feature", measured.columns.names)
        return made[tenant, role]
