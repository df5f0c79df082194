"""Live traffic at a rate that is kept, from a process of its own (tests/support/told.py).

`python -m tests.support.live_traffic URL --rate 100`. It is told `{"rate": 10}`, `{"shift": 15}` (the feature `amount`
moves by so much, and the answer tells when the `first` such request was sent, in `time.time()`, and how many `before`
it), or `{"stop": true}` (send no more, and wait for the answers that are due). It answers with what became of the
requests so far, and when; to `{"quantile": 0.95, "last": 500}` with so many answers' `latency`, in seconds.
"""

import argparse
import asyncio
import random
import time
from typing import Any

import uvloop

from demo.traffic import Traffic
from tests.support.told import hear

CONNECTIONS = 60
"""Enough for 1,000 requests/s of 60 ms each; few enough that at one a second none is idle until the proxy closes it."""

MADE_UP = 5_000
"""So many requests that it was kept from sending in time it sends late; more are skipped, and counted."""

_ROWS = 20_000
_COUNTRIES = ("DE", "FR", "IT")


def rows(count: int, chance: random.Random, shift: float = 0.0) -> list[dict[str, Any]]:
    """Rows of two features: `amount`, normal with mean 100 and deviation 10, and `country`."""
    return [{"amount": chance.gauss(100 + shift, 10), "country": chance.choice(_COUNTRIES)} for _ in range(count)]


class Live:
    """The traffic, and what it is told."""

    def __init__(self, url: str, rate: float, seed: int) -> None:
        self._chance = random.Random(seed)
        normal = rows(_ROWS, self._chance)
        self.traffic = Traffic(url, normal, rate=rate, connections=CONNECTIONS, burst=MADE_UP)

    async def told(self, what: dict[str, Any]) -> dict[str, Any]:
        """Do it, and tell how things stand."""
        moved: dict[str, Any] = {}
        if "rate" in what:
            self.traffic.rate = float(what["rate"])
        if "shift" in what:
            # In a thread, or what is due meanwhile would come all at once.
            self.traffic.switch(await asyncio.to_thread(rows, _ROWS, self._chance, float(what["shift"])))
            while self.traffic.switched is None:  # noqa: ASYNC110 - its moment announces nothing
                await asyncio.sleep(0.002)
            moved = {"first": self.traffic.switched.wall, "before": self.traffic.switched.sent_before}
        if "quantile" in what:
            return {"latency": self.traffic.latency(what["quantile"], last=what["last"])[0]}
        if "stop" in what:
            await self.traffic.stop()
        counts = self.traffic.counts
        failed = counts.sent - counts.outstanding - counts.answered["2xx"]
        return {"at": time.time(), "sent": counts.sent, "failed": failed, "skipped": counts.skipped, **moved}


async def send(url: str, rate: float, seed: int) -> None:
    """Until nobody can tell it anything."""
    live = Live(url, rate, seed)
    await live.traffic.start()
    await hear({}, live.told)
    await live.traffic.stop()


if __name__ == "__main__":
    made = argparse.ArgumentParser(prog="python -m tests.support.live_traffic")
    made.add_argument("url")
    made.add_argument("--rate", type=float, required=True)
    made.add_argument("--seed", type=int, default=2)
    options = made.parse_args()
    uvloop.run(send(options.url, options.rate, options.seed))
