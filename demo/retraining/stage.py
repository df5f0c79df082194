"""Where the closed loop plays: traffic and labels under way, the parts in front of the models, and looks at them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import aiohttp

from demo.labels import LateLabels
from demo.parts import MODEL
from demo.progress import progress
from demo.readings import Reading, broken_law_at_rest, broken_laws, scrape, unmeasured
from demo.retraining.figures import Asked, Figures
from demo.traffic import Traffic
from demo.view import View
from evidence import document
from evidence.document import Evidence
from lifecycle.refusal import Refusal
from up.tree import Tree

_LOOK_SECONDS: Final = 0.3
_LATENCIES: Final = 500
_CACHE_SECONDS: Final = 1.1
"""The exporter writes its text anew once a second; the last look must be at the last events."""


class MissedError(Exception):
    """Something did not come in time; one line."""


class StoppedError(Exception):
    """The user has asked to stop."""


class Stage:
    """All that a step needs."""

    def __init__(
        self,
        tree: Tree,
        traffic: Traffic,
        labels: LateLabels,
        session: aiohttp.ClientSession,
        view: View,
        of: float,
        window: int,
    ) -> None:
        """`of`: about how many seconds all of it takes; `window`: the windows' size."""
        self.tree, self.traffic, self.labels, self.session, self.view = tree, traffic, labels, session, view
        self.evidence: Evidence | None = None
        self.proxy, self.exporter = Reading(), Reading()
        self.phase = ""
        self._window = window
        self._of, self._began, self._reported = of, time.monotonic(), 0.0
        self._broken: list[str] = []

    async def until(self, condition: Callable[[], bool], within: float, what: str, stop: asyncio.Event) -> None:
        """Look again and again until it holds. Raises `MissedError` after `within` seconds, and `StoppedError`."""
        ends = time.monotonic() + within
        while True:
            await self._look()
            if condition():
                return
            if time.monotonic() >= ends:
                raise MissedError(f"not within {within:g} s: {what}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
            if stop.is_set():
                raise StoppedError

    async def _look(self) -> None:
        addresses = self.tree.addresses
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with self.session.get(f"{addresses['exporter']}/evidence/{MODEL}") as answer:
                self.evidence = document.decode(await answer.read()) if answer.status == 200 else None
        if (seconds := time.monotonic() - self._began) >= self._reported + 1:
            self._reported = seconds
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await self.scrape()
            shown = (self.traffic, self.proxy, self.exporter, self._window, _LATENCIES)
            self.view.show(progress(self.phase, seconds, max(self._of, seconds), *shown))

    async def scrape(self) -> None:
        """Read both parts' metrics. Raises aiohttp.ClientError and TimeoutError."""
        self.proxy = await scrape(self.session, self.tree.addresses["admin"])
        self.exporter = await scrape(self.session, self.tree.addresses["exporter"])
        self._broken += broken_laws(self.proxy)

    async def promote(self, version: str) -> Asked:
        """Order to make the shadow production, as `shadowdrift rollback promote` does."""
        order = {"model": MODEL, "by": "the demo", "reason": f"{version} was retrained"}
        async with self.session.post(f"{self.tree.addresses['rollback']}/promote", json=order) as answer:
            told: dict[str, Any] = await answer.json()
        if answer.status == 503:
            raise MissedError(f"the promotion failed: {told['text']}")
        return Asked(version, answer.status == 200, tuple(told["reasons"]), str(told["text"]))

    async def rest(self, figures: Figures, within: float) -> None:
        """When traffic has ended: wait until every captured answer is measured, or has had its time to be."""
        ends = time.monotonic() + within
        try:
            await self.labels.finish(self.session)
            while time.monotonic() < ends:
                await self.scrape()
                labelled = self.exporter.total("drift_events_total", role="labels") >= self.labels.sent
                if labelled and not unmeasured(self.proxy, self.exporter) and not self.proxy.total("mirror_in_flight"):
                    break
                await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.sleep(_CACHE_SECONDS)
            await self.scrape()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Refusal(f"a part has stopped telling its metrics: {str(error) or 'it does not answer'}") from None
        figures.broken = [*self._broken, *broken_law_at_rest(self.proxy, self.exporter)]
        figures.lost = unmeasured(self.proxy, self.exporter)
        counts = self.traffic.counts
        figures.requests, figures.failed = counts.sent, counts.sent - counts.answered["2xx"]
