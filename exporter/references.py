"""The models' profiles while the exporter runs: a changed file is in force within seconds, without a restart."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from configuration.sections import Configuration
from exporter.reading.intake import Intake
from exporter.windows.measured import Measured, measured_models
from lifecycle.refusal import Refusal
from reference.watch import Found, follow, watched_of

MEASURED_BY: Final = ("tenant", "reference", "window", "drift", "pairs", "labels", "privacy", "text")
"""What of a model decides how it is measured. All else, such as which version is the shadow, may change meanwhile."""

_log = logging.getLogger("shadowdrift.exporter")


class References:
    """The profiles that the configuration names, each as its file was last found usable."""

    def __init__(self, configuration: Configuration) -> None:
        """Load them. Raises `Refusal` for one that cannot be used."""
        self._configuration = configuration
        self._models = configuration.models
        self._watched: Final = watched_of(configuration.models)

    def measured(self) -> tuple[Measured, ...]:
        """The models of the configuration with the profiles in force."""
        watched = [self._watched.get(model.name) for model in self._models]
        return measured_models(self._models, [None if each is None else each.profile for each in watched])

    def rename(self, configuration: Configuration, intake: Intake) -> None:
        """Go over to a configuration that names other versions. Raises `Refusal` where more of ours would change."""
        _check_what_stays(self._configuration, configuration)
        self._configuration = configuration
        self._models = configuration.models
        for model in configuration.models:
            intake.rename(model)

    async def run(self, intake: Intake) -> None:
        """Look at the files until cancelled."""
        await follow(self._watched, partial(_take, intake))


def _check_what_stays(now: Configuration, wanted: Configuration) -> None:
    if [model.name for model in now.models] != [model.name for model in wanted.models]:
        raise Refusal("models: others, or in another order, are measured after a new start only")
    pairs = [("kafka", now.kafka, wanted.kafka), ("exporter", now.exporter, wanted.exporter)]
    for index, (ours, theirs) in enumerate(zip(now.models, wanted.models, strict=True)):
        pairs += [(f"models[{index}].{name}", getattr(ours, name), getattr(theirs, name)) for name in MEASURED_BY]
    for setting, value, other in pairs:
        if value != other:
            raise Refusal(f"{setting} must stay as it is while the exporter runs; start it anew to change it")


def _take(intake: Intake, name: str, found: Found) -> None:
    """One log line for each change."""
    if found.profile is None:
        intake.refused.add(name)
        _log.error(
            f"the changed profile is refused, and the former one stays in force: {found.refused}",
            extra={"fields": {"model": name}},
        )
        return
    former = intake.models[name].reference_hash
    intake.refer(name, found.profile)
    restarts = former != found.profile.hash
    _log.info(
        "the profile has changed, and its windows begin anew" if restarts else "the profile is in force",
        extra={"fields": {"model": name, "hash": found.profile.hash}},
    )
