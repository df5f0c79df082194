"""What the demo runs: two model servers, and `shadowdrift up` in front of them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from configuration import Configuration
from configuration.reading import convert
from lifecycle.tether import Child
from up.tree import Tree

MODEL: Final = "flights"
WINDOW: Final = 1000
TOLERANCE: Final = 0.5
"""Two models' scores of a flight always differ a little; half of their range is much."""
HOST: Final = "127.0.0.1"


@contextlib.asynccontextmanager
async def models(
    seed: int, training: Path, log: BinaryIO, module: str = "demo.serving", option: str = "--training-csv"
) -> AsyncIterator[dict[str, dict[str, Any]]]:
    """Both models, each in a process of its own; what each announced: port, how good it is, rows, train_seconds.

    v2 writes what it was trained on, and its predictions on it, to `training`.
    """
    children: dict[str, Child] = {}
    try:
        for version, more in (("v2", [option, str(training)]), ("v1", [])):
            arguments = ["--model", version, "--seed", str(seed), *more]
            # One core is enough for a model; the other is for what the demo shows.
            threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            children[version] = await Child.start(
                f"model {version}", module, arguments, environment={**os.environ, **threads}, output=log
            )
        yield {version: await child.ready() for version, child in children.items()}
    finally:
        for child in children.values():
            await child.stop(5)


def document_of(
    ports: dict[str, int], reference: Path, state_dir: Path, name: str = MODEL, sections: Mapping[str, Any] = {}
) -> dict[str, Any]:
    """What `shadowdrift.yaml` would say of the models. `sections` are further ones of the model."""
    return {
        "kafka": "embedded",
        "state_dir": str(state_dir),
        "proxy": {"listen": address(8080), "admin": address(9101), "workers": 1},
        "exporter": {"listen": address(9108)},
        "models": [
            {
                "name": name,
                "targets": {version: {"url": f"http://{HOST}:{port}"} for version, port in ports.items()},
                "production": "v2",
                "shadow": "v1",
                "mirror": {"fraction": 0.05},
                "reference": str(reference),
                "window": {"size": WINDOW},
                "pairs": {"tolerance": TOLERANCE},
                **sections,
            }
        ],
    }


def configured(document: dict[str, Any]) -> Configuration:
    """That document, as the parts read it."""
    return convert(document, Path.cwd(), "shadowdrift demo")


@contextlib.asynccontextmanager
async def running(document: dict[str, Any], log: BinaryIO) -> AsyncIterator[Tree]:
    """`shadowdrift up` by that document."""
    tree = Tree(configured(document), output=log)
    try:
        await tree.start()
        yield tree
    finally:
        await tree.stop()


def address(port: int) -> str:
    """The usual port, or any free one where something has it already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            port = 0
    return f"{HOST}:{port}"
