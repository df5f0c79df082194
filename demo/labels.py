"""The truth about what was asked, told as late as it is in life: some seconds after the answer, by the answer's id."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import aiohttp

DELAY_SECONDS: Final = 3.0
_EVERY_SECONDS: Final = 0.5
_MOST_WAITING: Final = 100_000
"""An exporter that takes none costs the oldest labels, never memory."""
_BATCH: Final = 1_000
_RETRY_SECONDS: Final = 5.0


class LateLabels:
    """Posts to the exporter's `/labels` what was true of each answered request: a class, or 1 for yes and 0 for no.

    `clock` is in seconds and only ever compared with itself.
    """

    def __init__(self, url: str, model: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.sent = 0
        """Labels that the exporter has taken."""
        self._url, self._model, self._clock = url, model, clock
        self._waiting: deque[tuple[float, str, bool | str]] = deque(maxlen=_MOST_WAITING)

    def learn(self, answer: str, truth: bool | str) -> None:
        """Take note of the truth about an answer, by its id."""
        self._waiting.append((self._clock(), answer, truth))

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Post what is due until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self._post(session, self._clock() - DELAY_SECONDS)

    async def finish(self, session: aiohttp.ClientSession) -> bool:
        """Post the rest, however late it is; whether the exporter has taken it."""
        ends = self._clock() + _RETRY_SECONDS
        while self._waiting and self._clock() < ends:
            await self._post(session, self._clock())
        return not self._waiting

    async def _post(self, session: aiohttp.ClientSession, until: float) -> None:
        """What was learnt until then; what is not taken waits for the next time. To send twice is safe."""
        while batch := self._due(until):
            events = [
                {"id": answer, "model": self._model, "time": time.time(), "labels": [_label(truth)]}
                for _, answer, truth in batch
            ]
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.post(f"{self._url}/labels", json=events) as response:
                    if response.status == 202:
                        for _ in batch:
                            self._waiting.popleft()
                        self.sent += len(batch)
                        continue
            await asyncio.sleep(_EVERY_SECONDS)
            return

    def _due(self, until: float) -> list[tuple[float, str, bool | str]]:
        batch: list[tuple[float, str, bool | str]] = []
        for waiting in self._waiting:
            if waiting[0] > until or len(batch) == _BATCH:
                break
            batch.append(waiting)
        return batch


def _label(truth: bool | str) -> int | str:
    return int(truth) if isinstance(truth, bool) else truth
