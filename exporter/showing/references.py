"""What production is compared with: which reference is in force, in which state, and the thresholds beside it."""

from __future__ import annotations

from collections.abc import Iterator

from evidence import document
from exporter.reading.intake import Intake
from exporter.showing.exposition import Family, Sample
from exporter.windows.measured import Measured


def reference_of(intake: Intake, measured: Measured) -> document.Reference:
    """A model's reference. `refused`: that one stays in force, because its file has become unusable.

    `key_mismatch`: the last events were hashed under another key, so what the reference has hashed is not compared.
    """
    profile = measured.profile
    if profile is None:
        return document.Reference(source="warmup", state="collecting")
    return document.Reference(
        source=measured.source,
        state=_state(intake, measured),
        hash=profile.hash,
        rows=profile.rows,
        description=profile.description,
    )


def _state(intake: Intake, measured: Measured) -> document.ReferenceState:
    if measured.name in intake.refused:
        return "refused"
    return "key_mismatch" if measured.columns.foreign_key else "ready"


def reference_families(intake: Intake) -> Iterator[Family]:
    """The families of the configured models."""
    info: list[Sample] = []
    thresholds: list[Sample] = []
    for name, measured in intake.models.items():
        named = ("model", name)
        if name in intake.owned:
            measured = intake.owned[name].measured
        if measured.source == "profile" or name in intake.owned:  # of a warm-up, only its owner knows
            reference = reference_of(intake, measured)
            labels = (("source", reference.source), ("hash", reference.hash or ""), ("state", reference.state))
            info.append(((named, *labels), 1))
        for tenant, levels in measured.thresholds.items():
            thresholds += [((named, ("tenant", tenant), ("level", level)), at) for level, at in levels.items()]
    yield Family("drift_reference_info", "gauge", "The reference in use, by its hash, and its state.", info)
    yield Family("drift_psi_threshold", "gauge", "The PSI above which a level begins.", thresholds)
