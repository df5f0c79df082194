"""`shadowdrift up`: all parts at once, on a laptop or a small machine."""

from __future__ import annotations

import asyncio
import signal
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from configuration import Configuration, load
from configuration.option import DEFAULT_FILE, parser
from configuration.reading import convert
from lifecycle.process import run
from lifecycle.refusal import Refusal
from lifecycle.tether import Tether
from reference.profile import load_for
from up.tree import Tree


def main(arguments: list[str]) -> int:
    """Run every part until SIGTERM or Ctrl-C; SIGHUP reads the file again."""
    made = parser("up", "Run proxy, exporter, rollback and, with `kafka: embedded`, a broker as one process tree.")
    made.add_argument("--production", metavar="URL", help="the model that serves; needs no configuration file")
    made.add_argument("--shadow", metavar="URL", help="the model that gets the clones, beside --production")
    made.add_argument("--reference", metavar="FILE", help="the reference profile, beside --production")
    made.add_argument("--listen", metavar="HOST:PORT", help="where clients connect, beside --production (0.0.0.0:8080)")
    made.add_argument("--fraction", type=float, metavar="SHARE", help="of the requests to clone, beside --production (0.05)")  # fmt: skip # noqa: E501
    made.set_defaults(config=None)
    options = made.parse_args(arguments)
    configuration = _from_options(options) if options.production else _from_file(options)
    for line in _notices(configuration):
        sys.stderr.write(f"shadowdrift: {line}\n")

    async def serve(_: Tether, stop: asyncio.Event) -> None:
        await _up(configuration, None if options.production else partial(_from_file, options), stop)

    return run(serve)


def _from_file(options: Namespace) -> Configuration:
    file = options.config or Path(DEFAULT_FILE)
    for name in ("shadow", "reference", "listen", "fraction"):
        if getattr(options, name) is not None:
            raise Refusal(f"--{name} goes with --production; without it, {file} holds that setting")
    return load(file)


def _from_options(options: Namespace) -> Configuration:
    if options.config is not None:
        raise Refusal(f"--production goes without a file; leave out --config {options.config} or --production")
    targets: dict[str, Any] = {"production": {"url": options.production}}
    model: dict[str, Any] = {"name": "model", "targets": targets, "production": "production"}
    if options.shadow:
        targets["shadow"] = {"url": options.shadow}
        model["shadow"] = "shadow"
    if options.reference:
        model["reference"] = options.reference
    if options.fraction is not None:
        model["mirror"] = {"fraction": options.fraction}
    document: dict[str, Any] = {"kafka": "embedded", "models": [model]}
    if options.listen:
        document["proxy"] = {"listen": options.listen}
    return convert(document, Path.cwd(), "shadowdrift up")


def _notices(configuration: Configuration) -> list[str]:
    lines = []
    if configuration.kafka == "embedded":
        lines.append("the embedded broker keeps about 5 MiB a partition, in memory: it is for development")
    for index, model in enumerate(configuration.models):
        if load_for(model, index) is None:
            lines.append(
                f"models[{index}] ({model.name}) has no `reference:`, so its first ten windows become one, and no "
                "drift is judged before; `shadowdrift profile train.csv --output reference.json` makes one of training "
                "data"
            )
    return lines


async def _up(configuration: Configuration, read: Callable[[], Configuration] | None, stop: asyncio.Event) -> None:
    """`read` reads the file again, where there is one."""
    tree, hangup = Tree(configuration), asyncio.Event()
    if read is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)
    try:
        await tree.start()
        addresses = tree.addresses
        sys.stderr.write(
            f"shadowdrift: serves at {addresses['proxy']}; metrics at {addresses['admin']}/metrics and "
            f"{addresses['exporter']}/metrics; Kafka at {addresses['kafka']}; "
            + (f"rollback at {addresses['rollback']}; " if "rollback" in addresses else "")
            + "Ctrl-C stops it\n"
        )
        ended = asyncio.create_task(tree.until_one_ends())
        stopping = asyncio.create_task(stop.wait())
        reloading = asyncio.create_task(_follow(tree, read, hangup))
        endless = {ended, stopping} if read is None else {ended, stopping, reloading}
        await asyncio.wait(endless, return_when=asyncio.FIRST_COMPLETED)
        if reloading.done():  # of a fault of ours: or every later hangup would be without an answer
            reloading.result()
        stopping.cancel()
        reloading.cancel()
        await asyncio.gather(reloading, return_exceptions=True)
        if ended.done():
            child = ended.result()
            raise Refusal(f"the {child.name} ended unexpectedly (exit code {child.ended.result()}); all parts stop")
        ended.cancel()
    finally:
        await tree.stop()


async def _follow(tree: Tree, read: Callable[[], Configuration] | None, hangup: asyncio.Event) -> None:
    """At each hangup, let the parts take the file as it is now, or leave everything as it is."""
    while read is not None:
        await hangup.wait()
        hangup.clear()
        try:
            await tree.reload(read())
        except Refusal as error:
            sys.stderr.write(f"shadowdrift: the configuration was not taken; nothing changes: {error}\n")
        else:
            sys.stderr.write("shadowdrift: the configuration was taken\n")
