"""What the demo runs: two model servers, and `shadowdrift up` in front of them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from configuration.reading import convert
from lifecycle.tether import Child
from up.tree import Tree

MODEL: Final = "flights"
WINDOW: Final = 1000
TOLERANCE: Final = 0.5
"""Two models' scores of a flight always differ a little; half of their range is much."""
HOST: Final = "127.0.0.1"


@contextlib.asynccontextmanager
async def models(seed: int, training_csv: Path, log: BinaryIO) -> AsyncIterator[dict[str, dict[str, Any]]]:
    """Both models, each in a process of its own; what each announced: port, auc, rows, train_seconds.

    v2 writes the training half and its predictions on it to `training_csv`.
    """
    children: dict[str, Child] = {}
    try:
        for version, more in (("v2", ["--training-csv", str(training_csv)]), ("v1", [])):
            arguments = ["--model", version, "--seed", str(seed), *more]
            # One core is enough for a model; the other is for what the demo shows.
            threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            children[version] = await Child.start(
                f"model {version}", "demo.serving", arguments, environment={**os.environ, **threads}, output=log
            )
        yield {version: await child.ready() for version, child in children.items()}
    finally:
        for child in children.values():
            await child.stop(5)


@contextlib.asynccontextmanager
async def everything(
    ports: dict[str, int], reference: Path, state_dir: Path, log: BinaryIO
) -> AsyncIterator[dict[str, str]]:
    """`shadowdrift up` in front of the models; where each part listens."""
    document = {
        "kafka": "embedded",
        "state_dir": str(state_dir),
        "proxy": {"listen": _address(8080), "admin": _address(9101), "workers": 1},
        "exporter": {"listen": _address(9108)},
        "models": [
            {
                "name": MODEL,
                "targets": {version: {"url": f"http://{HOST}:{port}"} for version, port in ports.items()},
                "production": "v2",
                "shadow": "v1",
                "mirror": {"fraction": 0.05},
                "reference": str(reference),
                "window": {"size": WINDOW},
                "pairs": {"tolerance": TOLERANCE},
            }
        ],
    }
    tree = Tree(convert(document, Path.cwd(), "shadowdrift demo"), output=log)
    try:
        await tree.start()
        yield tree.addresses
    finally:
        await tree.stop()


def _address(port: int) -> str:
    """The usual port, or any free one where something has it already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            port = 0
    return f"{HOST}:{port}"
