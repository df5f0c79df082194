"""One model as the configuration and its reference describe it: its columns, its tenants, and when a level begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from configuration.model import Model
from evidence.document import ALL, LEVELS, Level
from exporter.windows.rows import Columns
from reference.profile import Column, Profile

Source = Literal["profile", "warmup"]

OTHER: Final = "_other"
"""The tenant that stands for all that the configuration does not name."""

MAX_TENANTS: Final = 200
MAX_TENANT_COLUMNS: Final = 20_000
"""Tenants by columns, of one model: what memory and a scrape can carry. Tenants beyond it count as `_other`."""


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


def measured_models(models: Sequence[Model], profiles: Sequence[Profile | None]) -> tuple[Measured, ...]:
    """The models of the configuration with their profiles, in its order."""
    return tuple(Measured(model, profile) for model, profile in zip(models, profiles, strict=True))
