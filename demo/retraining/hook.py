"""The retraining hook: takes Alertmanager's webhook, and trains.

`python -m demo.retraining.hook --kafka HOST:PORT --folder DIR`. `POST /retraining` takes the alerts of the route
`action: retrain` and answers at once; one training runs at a time: what has to wait for that is answered with 503, so
that it is sent again. The same alert (model, start) that is sent again starts none unless its training failed. A
training takes the labelled flights that production was asked since the drift began, out of Kafka, fits the next
version on them and serves it. `GET /` tells of each training:

    {"model": "flights", "version": "v3", "state": "serves", "rows": 10000, "auc": 0.79, "url": "http://127.0.0.1:40123",
     "recent": "DIR/v3.jsonl", "training": "DIR/v3-training.jsonl", "why": ""}

`state` is `gathers`, `trains`, `serves` or `failed`. Nothing here makes the version the shadow: that is a change of the
configuration, which a person or a pipeline makes when the training has come out well.

It announces `{"hook": "http://127.0.0.1:8067"}` to its parent and ends with it, on SIGTERM and on SIGINT, and so do the
versions that it serves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec
from aiohttp import web

from demo.delivery import Alert, delivered
from demo.labelled import write
from demo.listening import listening
from demo.retraining.recent import NotEnoughError, labelled
from events.brokers import Brokers
from lifecycle.process import run
from lifecycle.refusal import Refusal
from lifecycle.tether import Child, Tether
from logs.lines import log_to_stdout

_log = logging.getLogger("shadowdrift.retraining")

FIRST_VERSION: Final = 3
MODEL_THREADS: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""One core is enough for a model; the other is for what is shown of it."""
_REMEMBERED: Final = 1_000
_KEPT: Final = 50
_LARGEST: Final = 16 * 1024 * 1024
_STOP_SECONDS: Final = 5.0


@dataclass
class Training:
    """One training, from the alert to a version that serves."""

    model: str
    version: str
    since: float
    """From when on flights count, in seconds since 1970."""
    alert: tuple[str, float]
    """What asked for it: the model, and when the alert began."""
    state: Literal["gathers", "trains", "serves", "failed"] = "gathers"
    rows: int = 0
    auc: float | None = None
    url: str = ""
    recent: str = ""
    """The file of the flights with the truth about each."""
    training: str = ""
    """The file of what it was trained on, with its own predictions: what a reference profile is made of."""
    why: str = ""


class Hook:
    """Decides which delivery starts a training, and runs one at a time."""

    def __init__(self, train: Callable[[Training], Awaitable[None]], before: float) -> None:
        """`train` carries a training out and tells its state in it.

        `before`: the drift is that many seconds older than the alert, whose rule waits so long.
        """
        self.trainings: deque[Training] = deque(maxlen=_KEPT)
        self._train, self._before = train, before
        self._answered: OrderedDict[tuple[str, float], None] = OrderedDict()
        self._next = FIRST_VERSION
        self.running: asyncio.Task[None] | None = None

    def application(self) -> web.Application:
        """The service."""
        application = web.Application(client_max_size=_LARGEST)
        application.router.add_get("/", self.show)
        application.router.add_post("/retraining", self.retraining)
        return application

    def wanted(self, alerts: Sequence[Alert], now: float) -> Training | None:
        """The training that these alerts ask for; None where nothing new asks, or one runs."""
        new = self._new(alerts, now)
        if not new or (self.running is not None and not self.running.done()):
            return None
        model, began = new[0]
        self._answered[new[0]] = None
        if len(self._answered) > _REMEMBERED:
            self._answered.popitem(last=False)
        made = Training(model, f"v{self._next}", began - self._before, new[0])
        self._next += 1
        return made

    def _new(self, alerts: Sequence[Alert], now: float) -> list[tuple[str, float]]:
        """Which of them ask for a training that they have not had."""
        began = (
            (alert.labels.get("model", ""), now if alert.starts_at is None else alert.starts_at.timestamp())
            for alert in alerts
            if alert.labels.get("action") == "retrain"
        )
        return [which for which in began if which[0] and which not in self._answered]

    async def retraining(self, request: web.Request) -> web.Response:
        """Start what the delivery asks for; the answer says which version that will be, null for none.

        503 while something of it has to wait for its turn: what is answered with 200 comes again after a day.
        """
        delivery, now = await delivered(request), time.time()
        alerts = delivery.alerts if delivery.status == "firing" else ()
        training = self.wanted(alerts, now)
        if training is not None:
            self.trainings.append(training)
            self.running = asyncio.create_task(self._run(training))
        told = {"training": None if training is None else training.version}
        return _json(told, 503 if self._new(alerts, now) else 200)

    async def _run(self, training: Training) -> None:
        try:
            await self._train(training)
        except (NotEnoughError, Refusal, OSError, ValueError) as error:
            self._failed(training, str(error))
            _log.error("a training failed", extra={"fields": asdict(training)})
        except Exception as error:
            self._failed(training, f"a fault: {error!r}")
            _log.exception("a training failed by a fault", extra={"fields": asdict(training)})

    def _failed(self, training: Training, why: str) -> None:
        training.state, training.why = "failed", why
        self._answered.pop(training.alert, None)  # the same alert may try again

    async def show(self, _: web.Request) -> web.Response:
        """All that was trained, the latest last."""
        return _json({"trainings": [asdict(each) for each in self.trainings]})

    async def finish(self) -> None:
        """End the training that runs."""
        if self.running is not None:
            self.running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.running


class Flights:
    """How the demo's model is trained: gathered out of Kafka, fitted and served by a process of its own."""

    def __init__(self, brokers: Brokers, folder: Path, rows: int, within: float, seed: int) -> None:
        self._brokers, self._folder = brokers, folder
        self._rows, self._within, self._seed = rows, within, seed
        self._serving: list[Child] = []

    async def train(self, training: Training) -> None:
        """Until it serves. Raises `NotEnoughError`, `Refusal`, OSError, ValueError, one line each."""
        rows = await labelled(self._brokers, training.model, training.since, self._rows, self._within)
        recent = self._folder / f"{training.version}.jsonl"
        trained_on = self._folder / f"{training.version}-training.jsonl"
        await asyncio.to_thread(write, rows, recent)
        training.rows, training.recent, training.training = len(rows), str(recent), str(trained_on)
        training.state = "trains"
        child = await serve_version(training.version, recent, trained_on, self._seed)
        self._serving.append(child)
        told = await child.ready()
        training.auc, training.url = told["auc"], f"http://127.0.0.1:{told['port']}"
        training.state = "serves"

    async def stop(self) -> None:
        """End the versions."""
        for child in self._serving:
            await child.stop(_STOP_SECONDS)


async def serve_version(
    version: str, recent: Path, trained_on: Path, seed: int, output: BinaryIO | None = None
) -> Child:
    """A process that fits a model on a file of labelled flights, and serves it; `output` takes its log lines."""
    arguments = ["--model", version, "--seed", str(seed), "--labelled", str(recent), "--training", str(trained_on)]
    environment = {**os.environ, **MODEL_THREADS}
    return await Child.start(f"model {version}", "demo.serving", arguments, environment=environment, output=output)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value) + b"\n", status=status, content_type="application/json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.retraining.hook", description="Trains when an alert asks.")
    parser.add_argument("--listen", default="127.0.0.1:8067", metavar="HOST:PORT", help="%(default)s; port 0: any")
    parser.add_argument("--kafka", required=True, metavar="HOST:PORT", help="bootstrap servers")
    parser.add_argument("--folder", type=Path, required=True, help="for the flights that are trained on")
    parser.add_argument("--rows", type=int, default=10_000, help="labelled flights that a training takes; %(default)s")
    parser.add_argument(
        "--within", type=float, default=3600.0, metavar="SECONDS", help="they must have come; %(default)g"
    )
    parser.add_argument(
        "--before", type=float, default=3600.0, metavar="SECONDS",
        help="flights count from so long before the alert: DriftTrend has waited for an hour (%(default)g)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    log_to_stdout("retraining")

    async def serve(tether: Tether, stop: asyncio.Event) -> None:
        await _serve(options, tether, stop)

    return run(serve)


async def _serve(options: argparse.Namespace, tether: Tether, stop: asyncio.Event) -> None:
    """Listen, say so, and serve until told to stop. Raises `Refusal` for an address that cannot be had."""
    flights = Flights(Brokers(options.kafka), options.folder, options.rows, options.within, options.seed)
    hook = Hook(flights.train, options.before)
    try:
        async with listening(hook.application(), options.listen) as url:
            _log.info("the retraining hook listens", extra={"fields": {"url": f"{url}/retraining"}})
            tether.announce({"hook": url})
            await stop.wait()
    finally:
        await hook.finish()
        await flights.stop()


if __name__ == "__main__":
    sys.exit(main())
