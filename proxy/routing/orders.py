"""The supervisor's side of routing, for one configuration: who serves each model, and whether they can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from active.file import FILE
from configuration import Configuration
from lifecycle.refusal import Refusal
from proxy.routing.active import Active
from proxy.routing.active_file import ActiveFileWatch
from proxy.routing.probe import Probes

READY_SECONDS: Final = 0.5
"""How long to wait before a version that could not serve is asked again."""

PROVE_SECONDS: Final = 10.0
"""How long a probe may hold a new configuration up."""


class Routing:
    """What is in force from the start, what changes it, and what readiness waits for."""

    def __init__(
        self, configuration: Configuration, tell: Callable[[dict[str, Any]], None], former: Routing | None = None
    ) -> None:
        """Raises `Refusal` for a probe that cannot be used. `tell` hands the workers what `Active.told` says."""
        self.active: Active = Active(configuration.models, None if former is None else former.active)
        self._probes = {
            model.name: Probes(model, f"models[{index}]") for index, model in enumerate(configuration.models)
        }
        self._watch = ActiveFileWatch(Path(configuration.state_dir) / FILE, self.active, self._probes, tell)
        self._watch.begin()

    async def run(self) -> None:
        """Follow the active file until cancelled."""
        await self._watch.run()

    async def prove(self, former: Active) -> None:
        """Let every version that has no requests now, and would get some, show that it can serve. Raises `Refusal`."""
        version = name = ""
        try:
            async with asyncio.timeout(PROVE_SECONDS):
                for name, version in self._newcomers(former):
                    why = await self._probes[name].failure(version)
                    if why is not None:
                        raise Refusal(f"{version} of {name} {self._probes[name].fault(version)}: {why}")
        except TimeoutError:
            fault = self._probes[name].fault(version)
            raise Refusal(f"{version} of {name} {fault}: no answer in {PROVE_SECONDS:g} s") from None

    def _newcomers(self, former: Active) -> Iterator[tuple[str, str]]:
        for name, order in self.active.in_force.items():
            before = former.in_force.get(name)  # a new model has no traffic yet that could move
            for version in sorted(order.asked - before.asked) if before is not None else ():
                yield name, version

    async def until_ready(self, waits_for: Callable[[str | None], None]) -> None:
        """Return when the versions that serve each model have passed their probe once; requests are served meanwhile.

        `waits_for` is told what is missing, and None at the end.
        """
        for name in self.active.models:
            while (obstacle := await self._obstacle(name)) is not None:
                waits_for(f"production of {name}: {obstacle}")
                await asyncio.sleep(READY_SECONDS)
        waits_for(None)

    async def _obstacle(self, name: str) -> str | None:
        for version in sorted(self.active.in_force[name].asked):
            why = await self._probes[name].failure(version)
            if why is not None:
                return f"{version}: {why}"
        return None
