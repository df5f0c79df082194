"""An exporter that kills itself with SIGKILL: `python -m tests.support.mortal_exporter CONFIG POINT PASSES [armed]`.

The kill comes when the point has been passed so many times since SIGUSR1, or, `armed`, since the start. The real
exporter runs; only its functions are wrapped, in this process.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from configuration.option import load_for_part
from exporter.main import serve
from exporter.reading import intake, state
from exporter.reading.intake import Intake
from exporter.reading.membership import Membership
from exporter.reading.outbox import Outbox
from exporter.reading.placing import Placing
from exporter.reading.state import StateStore
from exporter.reading.stepping import Stepping
from exporter.showing.collect import Collector
from lifecycle.process import run
from logs.lines import log_to_stdout

ROUND_SECONDS = 1.0
"""Of writing state, so that a kill during one does not have to be waited for long."""

POINTS = (
    "before poll",
    "after poll",
    "decode",
    "before state",
    "during state",
    "after state",
    "rebalance",
    "scrape",
    "reload",
)
AT_START = ("restore", "first state")
"""Points that are passed while a process begins."""


class Fuse:
    """Counts down to the end."""

    def __init__(self, passes: int, armed: bool) -> None:
        self._left = passes
        self._armed = armed
        signal.signal(signal.SIGUSR1, self._arm)

    def burn(self) -> None:
        """The point is passed."""
        if self._armed:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def _arm(self, *_: object) -> None:
        self._armed = True


def before(owner: Any, name: str, fuse: Fuse) -> None:
    """Burn before each call."""
    real = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        fuse.burn()
        return real(*arguments, **named)

    setattr(owner, name, wrapped)


def after(owner: Any, name: str, fuse: Fuse, burns: Callable[[Any], bool] = lambda _: True) -> None:
    """Burn after each call of an async method whose answer `burns`."""
    real = getattr(owner, name)

    async def wrapped(*arguments: Any, **named: Any) -> Any:
        answer = await real(*arguments, **named)
        if burns(answer):
            fuse.burn()
        return answer

    setattr(owner, name, wrapped)


def during_scrape(fuse: Fuse) -> None:
    """Burn when a scrape is half made."""
    real = Collector.families

    def wrapped(self: Collector) -> Iterator[Any]:
        for number, family in enumerate(real(self)):
            if number == 3:
                fuse.burn()
            yield family

    Collector.families = wrapped  # type: ignore[method-assign]


def unsent(_: Fuse) -> None:
    """What is to be sent on is never acknowledged, and rounds of writing state do not wait for it for long."""

    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    Outbox._send = hang  # type: ignore[method-assign, assignment]
    state._SENT_ON_SECONDS = ROUND_SECONDS  # type: ignore[misc]
    state._PATIENCE = 1_000  # type: ignore[misc]


RIGS: dict[str, Callable[[Fuse], None]] = {
    "never": lambda _: None,
    "random": lambda _: None,
    "unsent": unsent,
    "before poll": partial(before, Stepping, "poll"),
    "after poll": partial(after, Stepping, "poll", burns=bool),
    "decode": partial(before, intake, "decode_inference"),
    "before state": partial(before, StateStore, "_write"),
    "during state": partial(after, StateStore, "_send"),
    "after state": partial(after, StateStore, "_write"),
    "rebalance": partial(before, Membership, "on_partitions_revoked"),
    "scrape": during_scrape,
    "reload": partial(before, Intake, "refer"),
    "restore": partial(before, Placing, "begin"),
    "first state": partial(after, StateStore, "_send"),
}
"""How the fuse is laid at each point."""


def main(path: str, point: str, passes: str, armed: str = "") -> int:
    """Run until the end."""
    RIGS[point](Fuse(int(passes), bool(armed)))
    StateStore.run.__defaults__ = (ROUND_SECONDS,)
    configuration = load_for_part("exporter", Path(path))
    log_to_stdout("exporter")
    return run(partial(serve, configuration))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
