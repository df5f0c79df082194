"""The models' profiles while the exporter runs: a changed file is in force within seconds, without a restart."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from configuration.sections import Configuration
from exporter.reading.intake import Intake
from exporter.windows.measured import Measured, measured_models
from reference.watch import Found, follow, watched_of

_log = logging.getLogger("shadowdrift.exporter")


class References:
    """The profiles that the configuration names, each as its file was last found usable."""

    def __init__(self, configuration: Configuration) -> None:
        """Load them. Raises `Refusal` for one that cannot be used."""
        self._models = configuration.models
        self._watched: Final = watched_of(configuration.models)

    def measured(self) -> tuple[Measured, ...]:
        """The models of the configuration with the profiles in force."""
        watched = [self._watched.get(model.name) for model in self._models]
        return measured_models(self._models, [None if each is None else each.profile for each in watched])

    async def run(self, intake: Intake) -> None:
        """Look at the files until cancelled."""
        await follow(self._watched, partial(_take, intake))


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
