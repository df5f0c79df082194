"""One of the demo's models behind HTTP, in a process of its own: `python -m demo.serving --model v2 --seed 1 --port 0`.

It trains, warms up, listens, and then announces itself to its parent:
`{"model": "v2", "port": 40123, "auc": 0.74, "rows": 38955, "train_seconds": 0.8}`. It stops when the requests at hand
are answered: with its parent, if it has one, on SIGTERM and on SIGINT. `--host 0.0.0.0` is for a container.

`POST /predict` takes a flat JSON object of features and answers `{"prediction": 0.42}`, or `{"instances": [...]}` and
answers `{"predictions": [...]}`; `GET /health` asks the model once.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from aiohttp import web
from sklearn.metrics import roc_auc_score

from configuration.units import cannot_listen
from demo.flights import DataMissingError, Row, load
from demo.labelled import read, write
from demo.models import VERSIONS, BoostedModel, Model, auc, train
from lifecycle.process import run
from lifecycle.refusal import Refusal
from lifecycle.tether import Tether
from logs.lines import log_to_stdout

HOST: Final = "127.0.0.1"
_KEEP_ALIVE_SECONDS: Final = 75.0
_STOP_SECONDS: Final = 5.0
_WARM_UP_REQUESTS: Final = 200

_log = logging.getLogger("shadowdrift.demo")


class BadRequestError(Exception):
    """A body that is no row of features; the text is one line for the client."""


class Service:
    """The two endpoints of one model. `sample` is a row that the health check asks about."""

    def __init__(self, version: str, model: Model, sample: Row) -> None:
        self._version = version
        self._model = model
        self._sample = sample

    def application(self) -> web.Application:
        """The service as an aiohttp application."""
        application = web.Application()
        application.router.add_post("/predict", self.predict)
        application.router.add_get("/health", self.health)
        return application

    async def predict(self, request: web.Request) -> web.Response:
        """Answer one row or several; 400 with one JSON line for a body that holds neither."""
        try:
            return _json(self.answer(await request.read()))
        except BadRequestError as error:
            return _json({"error": str(error)}, status=400)
        except web.HTTPRequestEntityTooLarge:
            return _json({"error": "the body is too large"}, status=413)

    async def health(self, _: web.Request) -> web.Response:
        """Run one inference: a model that cannot answer is not healthy."""
        prediction = float(self._model.predict([self._sample])[0])
        return _json({"status": "ok", "model": self._version, "prediction": prediction})

    def answer(self, body: bytes) -> dict[str, Any]:
        """What the model says of a request's body. Raises `BadRequestError` for one that cannot be taken."""
        try:
            value = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            raise BadRequestError("the body is not JSON") from None
        if not isinstance(value, dict):
            raise BadRequestError("the body must be a JSON object")
        if "instances" not in value:
            return {"prediction": self._predict([value])[0]}
        instances = value["instances"]
        if not isinstance(instances, list) or not all(isinstance(row, dict) for row in instances):
            raise BadRequestError("instances must be a list of objects")
        return {"predictions": self._predict(instances)}

    def _predict(self, rows: list[dict[str, Any]]) -> list[float]:
        try:
            return list(self._model.predict(rows).tolist())
        except ValueError as error:
            raise BadRequestError(str(error)) from None


def _json(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value) + b"\n", status=status, content_type="application/json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, serve, and stop when told; the exit code."""
    options = _options(arguments)
    log_to_stdout("model")

    async def serve(tether: Tether, stop: asyncio.Event) -> None:
        service, ready = await asyncio.to_thread(_prepare, options)
        await _serve(service, options.host, options.port, ready, tether, stop)

    return run(serve)


def _prepare(options: argparse.Namespace) -> tuple[Service, dict[str, Any]]:
    """Train and warm up; the service, and what to announce. Raises `Refusal`."""
    try:
        start = time.perf_counter()
        fitted = _of_winter(options) if options.labelled is None else _of_labelled(options)
        seconds = time.perf_counter() - start
    except (DataMissingError, OSError, ValueError) as error:
        raise Refusal(f"demo model {options.model}: {error}") from None
    service = Service(options.model, fitted.model, fitted.sample[0])
    for row in fitted.sample:
        service.answer(msgspec.json.encode(row))
    return service, {
        "model": options.model,
        "auc": round(fitted.auc, 4),
        "rows": fitted.rows,
        "train_seconds": round(seconds, 3),
    }


class _Fitted(NamedTuple):
    """A model, how good it is on flights that it has not seen, on how many it was fitted, and some to warm up with."""

    model: Model
    auc: float
    rows: int
    sample: list[Any]


def _of_winter(options: argparse.Namespace) -> _Fitted:
    """One of the demo's two, on half of the flights of January to March."""
    halves = load(options.seed)
    model = train(options.model, halves.training, options.seed)
    if options.training is not None:
        halves.training.write_csv(options.training, model.predict(halves.training.rows()))
    sample = halves.traffic.take(np.arange(_WARM_UP_REQUESTS)).rows()
    return _Fitted(model, auc(model, halves.traffic), len(halves.training), sample)


def _of_labelled(options: argparse.Namespace) -> _Fitted:
    """A later version, on four fifths of a file's flights. Raises ValueError for a file that does not do for it."""
    rows, truths = read(options.labelled)
    late, kept = np.array(truths), len(rows) * 4 // 5
    if len(set(truths[:kept])) < 2 or len(set(truths[kept:])) < 2:
        raise ValueError(f"{options.labelled} needs flights that were late, and some that were not")
    model = BoostedModel(rows[:kept], late[:kept], options.seed)
    if options.training is not None:
        predictions = model.predict(rows).tolist()
        write(({**row, "prediction": said} for row, said in zip(rows, predictions, strict=True)), options.training)
    quality = float(roc_auc_score(late[kept:], model.predict(rows[kept:])))
    return _Fitted(model, quality, kept, rows[:_WARM_UP_REQUESTS])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.serving", description="Serve one of the demo's models.")
    parser.add_argument("--model", required=True, help=f"{', '.join(VERSIONS)}; any other name with --labelled")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--host", default=HOST, help="the address to listen at; %(default)s")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--training", "--training-csv", type=Path, dest="training", metavar="FILE",
        help="write what it knows here, with a column `prediction` of its own: CSV, of --labelled JSON lines",
    )  # fmt: skip
    parser.add_argument(
        "--labelled", type=Path, metavar="FILE", help="fit a boosted model on these flights instead (JSON lines)"
    )
    options = parser.parse_args(arguments)
    if options.labelled is None and options.model not in VERSIONS:
        parser.error(f"--model must be one of {', '.join(VERSIONS)} without --labelled, got {options.model}")
    return options


async def _serve(
    service: Service, host: str, port: int, ready: dict[str, Any], tether: Tether, stop: asyncio.Event
) -> None:
    """Listen, say so, and serve until told to stop. Raises `Refusal` when the port cannot be had."""
    runner = web.AppRunner(
        service.application(),
        access_log=None,
        handle_signals=False,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        shutdown_timeout=_STOP_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        ready = {**ready, "port": runner.addresses[0][1]}
        tether.announce(ready)
        _log.info("serves", extra={"fields": ready})
        await stop.wait()
    except OSError as error:
        raise Refusal(cannot_listen("--port", f"{host}:{port}", error)) from None
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
