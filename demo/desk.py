"""One of the ticket classifiers behind HTTP, in a process of its own: `python -m demo.desk --model v2 --seed 1`.

`POST /predict` takes `{"note": "…"}` with whatever else a ticket has, and answers `{"prediction": "network"}`. It
announces itself as `demo.serving` does: model, port, accuracy on tickets that it has not seen, rows, train_seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from configuration.units import cannot_listen
from demo.classifier import Classifier
from demo.grammar import accuracy, tickets
from lifecycle.process import run
from lifecycle.refusal import Refusal
from lifecycle.tether import Tether
from logs.lines import log_to_stdout

HOST: Final = "127.0.0.1"
TRAINING_ROWS: Final = 12_000
_TRIED_ROWS: Final = 2_000
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def application(model: Classifier) -> web.Application:
    """The service."""

    async def predict(request: web.Request) -> web.Response:
        try:
            said = model.answer(_decode(await request.read()))
        except (msgspec.DecodeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.Response(body=msgspec.json.encode({"prediction": said}), content_type="application/json")

    made = web.Application()
    made.router.add_post("/predict", predict)
    return made


def prepared(version: Any, seed: int, training: Path | None) -> tuple[Classifier, dict[str, Any]]:
    """A trained model, and what to announce of it; the training tickets go to a file of JSON lines."""
    known = tickets(TRAINING_ROWS, 2 * seed)
    began = time.perf_counter()
    model = Classifier(version, known.notes, known.truths)
    seconds = time.perf_counter() - began
    if training is not None:
        lines = (msgspec.json.encode({**row, "prediction": model.answer(row)}) + b"\n" for row in known.rows)
        training.write_bytes(b"".join(lines))
    fresh = tickets(_TRIED_ROWS, 2 * seed + 1)
    right = accuracy([model.predict(note) for note in fresh.notes], fresh.truths)
    return model, {
        "model": version, "accuracy": round(right, 4), "rows": len(known.rows), "train_seconds": round(seconds, 3),
    }  # fmt: skip


def main() -> int:
    """Train, serve, and stop when told."""
    parser = argparse.ArgumentParser(prog="python -m demo.desk", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("v1", "v2"), required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--training", type=Path, help="write the training tickets here, with the model's predictions")
    options = parser.parse_args()
    log_to_stdout("model")

    async def serve(tether: Tether, stop: asyncio.Event) -> None:
        model, ready = await asyncio.to_thread(prepared, options.model, options.seed, options.training)
        runner = web.AppRunner(application(model), access_log=None, handle_signals=False, keepalive_timeout=75.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            tether.announce({**ready, "port": runner.addresses[0][1]})
            await stop.wait()
        except OSError as error:
            raise Refusal(cannot_listen("demo.desk", HOST, error)) from None
        finally:
            await runner.cleanup()

    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
