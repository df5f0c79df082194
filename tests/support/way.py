"""The whole way, as a user starts it: reference, topics, exporter, proxy, each a process, and a client in front."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from cli.main import main
from demo.readings import Reading, scrape, unmeasured
from lifecycle.tether import Child
from tests.support.waiting import until

MODEL = "fraud"
SECRET = "Jane Roe, 12 Elm Street"


@dataclass
class Way:
    """The running parts, and a client's session."""

    session: aiohttp.ClientSession
    proxy: str
    admin: str
    exporter: str
    kafka: str
    config: Path
    exporter_child: Child

    async def send(self, rows: list[dict[str, Any]]) -> None:
        """Post the rows one after the other on a few connections; every one must be answered."""
        waiting = iter(rows)

        async def client() -> None:
            for row in waiting:
                async with self.session.post(f"{self.proxy}/predict", json=row) as response:
                    assert response.status == 200
                    assert (await response.json())["prediction"] == score(row)

        await asyncio.gather(*(client() for _ in range(8)))

    async def psi(self) -> dict[str, float]:
        """PSI against the reference, by column."""
        return (await scrape(self.session, self.exporter)).psi()

    async def readings(self) -> tuple[Reading, Reading]:
        """Both parts' metrics."""
        return await scrape(self.session, self.admin), await scrape(self.session, self.exporter)

    async def measured(self) -> tuple[Reading, Reading]:
        """Both parts' metrics, once everything captured is measured."""

        async def settled() -> tuple[Reading, Reading] | None:
            proxy, exporter = await self.readings()
            at_rest = proxy.total("mirror_in_flight") == 0 and unmeasured(proxy, exporter) == 0
            return (proxy, exporter) if at_rest else None

        found = await until(settled, 30, "every captured answer is measured")
        assert found is not None
        return found


def score(row: dict[str, Any]) -> float:
    """What both models say."""
    return 0.9 if row["amount"] > 1 else 0.1


def rows(count: int, *, mean: float, seed: int) -> list[dict[str, Any]]:
    """Requests whose amount is normal around `mean`; the note is personal, and in no reference."""
    draw = random.Random(seed)
    return [
        {"amount": draw.gauss(mean, 1), "country": draw.choice(["DE", "FR", "US"]), "note": SECRET}
        for _ in range(count)
    ]


@asynccontextmanager
async def running(
    directory: Path, model_url: str, kafka: Mapping[str, Any] | None, *, exporter_ready: bool = True
) -> AsyncIterator[Way]:
    """Reference, exporter, proxy: what a user starts, in the same order.

    `kafka` is that section of the configuration; without one a development broker is started beside. An exporter that
    cannot reach Kafka is not waited for where `exporter_ready` is false.
    """
    children: list[Child] = []
    try:
        if kafka is None:
            development = await Child.start("development broker", "up.development_broker")
            children.append(development)
            kafka = await development.ready()
        config = configure(directory, model_url, kafka)
        addresses: dict[str, str] = {}
        for part in ("exporter", "proxy"):
            child = await Child.start(part, "cli.main", [part, "--config", str(config)])
            children.append(child)
            addresses |= await child.ready()
        async with aiohttp.ClientSession() as session:
            way = Way(
                session,
                addresses["proxy"],
                addresses["admin"],
                addresses["exporter"],
                kafka=str(kafka["bootstrap_servers"]),
                config=config,
                exporter_child=children[-2],
            )
            if exporter_ready:
                await until(lambda: ready(session, way.exporter), 40, "the exporter is ready")
            await until(lambda: ready(session, way.admin), 10, "the proxy is ready")
            yield way
    finally:
        for child in reversed(children):
            await child.stop(15)


async def ready(session: aiohttp.ClientSession, base: str) -> bool:
    """Whether a part says that it is ready."""
    async with session.get(f"{base}/-/ready") as response:
        return response.status == 200


def configure(directory: Path, model_url: str, kafka: Mapping[str, Any]) -> Path:
    """The reference profile by its command, and a configuration that names it."""
    training = directory / "train.csv"
    lines = ["amount,country,prediction"]
    lines += [f"{row['amount']},{row['country']},{score(row)}" for row in rows(12_000, mean=0, seed=1)]
    training.write_text("\n".join(lines) + "\n")
    assert main(["profile", str(training), "--output", str(directory / "fraud.json")]) == 0
    config = directory / "shadowdrift.yaml"
    config.write_text(
        json.dumps(
            {
                "kafka": dict(kafka),
                "proxy": {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "workers": 2},
                "exporter": {"listen": "127.0.0.1:0"},
                "models": [
                    {
                        "name": MODEL,
                        "targets": {"v2": {"url": model_url}, "v1": {"url": model_url}},
                        "production": "v2",
                        "shadow": "v1",
                        "mirror": {"fraction": 0.3},
                        "reference": "fraud.json",
                    }
                ],
            }
        )
    )
    return config


@asynccontextmanager
async def model() -> AsyncIterator[str]:
    """A model over HTTP; production and shadow may share it, since each version is counted by its own name."""

    async def predict(request: web.Request) -> web.Response:
        return web.json_response({"prediction": score(await request.json())})

    app = web.Application()
    app.router.add_post("/predict", predict)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def topics(directory: Path, kafka: Mapping[str, Any], action: str = "--create") -> int:
    """`shadowdrift topics`, which a user runs once; its exit code."""
    config = directory / "topics.yaml"
    entry = {"name": MODEL, "targets": {"v2": {"url": "http://127.0.0.1:1"}}, "production": "v2"}
    config.write_text(json.dumps({"kafka": dict(kafka), "models": [entry]}))
    return main(["topics", action, "--config", str(config)])
