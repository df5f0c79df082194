"""The models' profiles while the emitter runs: a changed file decides within seconds which strings leave in clear."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from configuration import Configuration
from proxy.counters import Counters
from proxy.emitter.intake import Intake
from reference.profile import Profile
from reference.watch import Found, follow, watched_of

_log = logging.getLogger("shadowdrift.emitter")


class References:
    """The profiles that the configuration names, each as its file was last found usable."""

    def __init__(self, configuration: Configuration, counters: Counters) -> None:
        """Load them. Raises `Refusal` for one that cannot be used."""
        self._watched: Final = watched_of(configuration.models)
        self._counters = counters

    def profiles(self) -> dict[str, Profile]:
        """Those in force, by model."""
        return {name: watched.profile for name, watched in self._watched.items()}

    async def run(self, intake: Intake) -> None:
        """Look at the files until cancelled."""
        await follow(self._watched, partial(self._take, intake))

    def _take(self, intake: Intake, name: str, found: Found) -> None:
        counters = self._counters
        counters.cells[counters.layout.place("proxy_reference_refused", name)] = int(found.profile is None)
        counters.changed()
        if found.profile is None:
            _log.error(
                f"the changed profile is refused, and the former one stays in force: {found.refused}",
                extra={"fields": {"model": name}},
            )
            return
        intake.refer(name, found.profile)
        _log.info("the profile is in force", extra={"fields": {"model": name, "hash": found.profile.hash}})
