"""From a client's request to a drift gauge, every part a process of its own, on both brokers."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from cli.main import main
from demo.readings import Reading, broken_law_at_rest, broken_laws, scrape, unmeasured
from events.codec import decode_inference
from events.ids import partition_of
from events.topics import PRODUCTION, REJECTED, SHADOW, TOPICS
from lifecycle.tether import Child
from tests.support.kafka import Kafka
from tests.support.topics import delete_topics
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
    servers: str
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


@pytest.fixture
async def model_url() -> AsyncIterator[str]:
    """A model over HTTP; production and shadow may share it, since each version is counted by its own name."""

    async def predict(request: web.Request) -> web.Response:
        return web.json_response({"prediction": score(await request.json())})

    app = web.Application()
    app.router.add_post("/predict", predict)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture(params=["development broker", "Apache Kafka"])
def broker(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The servers of a real Kafka with the topics made by the command, or None for the development broker."""
    if request.param == "development broker":
        yield None
        return
    kafka: Kafka = request.getfixturevalue("kafka")
    yield kafka.bootstrap_servers
    asyncio.run(delete_topics(kafka, *(topic.name for topic in TOPICS)))


@asynccontextmanager
async def running(directory: Path, model_url: str, servers: str | None) -> AsyncIterator[Way]:
    """Reference, topics, exporter, proxy: what a user starts, in the same order."""
    children: list[Child] = []
    try:
        if servers is None:
            development = await Child.start("development broker", "up.development_broker")
            children.append(development)
            servers = str((await development.ready())["bootstrap_servers"])
        config = configure(directory, model_url, servers)
        addresses: dict[str, str] = {}
        for part in ("exporter", "proxy"):
            child = await Child.start(part, "cli.main", [part, "--config", str(config)])
            children.append(child)
            addresses |= await child.ready()
        async with aiohttp.ClientSession() as session:
            way = Way(
                session, addresses["proxy"], addresses["admin"], addresses["exporter"], servers, config, children[-2]
            )
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


def configure(directory: Path, model_url: str, servers: str) -> Path:
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
                "kafka": {"bootstrap_servers": servers},
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


async def test_a_shift_in_the_requests_becomes_a_gauge_and_nothing_is_lost(
    tmp_path: Path, model_url: str, broker: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """Steady requests leave every gauge low; a shifted feature raises its own alone; all is counted once."""
    if broker is not None:
        await asyncio.to_thread(make_topics, tmp_path, broker)
    async with running(tmp_path, model_url, broker) as way:
        await way.send(rows(1_500, mean=0, seed=2))
        proxy, exporter = await way.measured()
        assert exporter.total("drift_window_instances", tenant="_all", role="production") == 1_000
        assert set(exporter.psi()) == {"amount", "country", "prediction"}
        assert max(exporter.psi().values()) < 0.1

        await way.send(rows(1_200, mean=1.5, seed=3))
        await until(lambda: above(way, "amount", 0.5), 20, "the shift is in the gauge")
        proxy, exporter = await way.measured()
        assert exporter.psi()["country"] < 0.1
        assert exporter.psi()["prediction"] > 0.2
        assert broken_laws(proxy) + broken_law_at_rest(proxy, exporter) == []
        assert proxy.total("inference_requests_total", role="production", outcome="ok") == 2_700
        assert exporter.total("drift_events_total", role="production") == 2_700
        clones = exporter.total("drift_events_total", role="shadow")
        assert clones == proxy.total("mirror_completed_total") == proxy.total("mirror_sampled_total")
        assert 600 < clones < 1_000
        against = {labels["against"] for labels, _ in exporter.select("drift_js_divergence", feature="amount")}
        assert against == {"reference", "shadow"}
    assert "Traceback" not in "".join(capfd.readouterr())


async def above(way: Way, feature: str, level: float) -> bool:
    """Whether a feature's gauge has passed a level."""
    return (await way.psi()).get(feature, 0.0) > level


def make_topics(directory: Path, servers: str) -> None:
    """What a user does once."""
    config = directory / "topics.yaml"
    target = {"url": "http://127.0.0.1:1"}
    model = {"name": MODEL, "targets": {"v2": target}, "production": "v2"}
    config.write_text(json.dumps({"kafka": {"bootstrap_servers": servers}, "models": [model]}))
    assert main(["topics", "--create", "--config", str(config)]) == 0


async def test_what_is_in_kafka_pairs_by_id_and_tells_nothing_personal(
    tmp_path: Path, model_url: str, broker: str | None
) -> None:
    """Each clone's event carries its production exchange's id and the same features; strings not listed are hashed."""
    if broker is not None:
        await asyncio.to_thread(make_topics, tmp_path, broker)
    async with running(tmp_path, model_url, broker) as way:
        await way.send(rows(300, mean=0, seed=4))
        proxy, _ = await way.measured()
        production = {event.id: event for event in await read(way.servers, PRODUCTION, 300)}
        clones = proxy.total("mirror_sent_total")
        assert clones > 0
        for clone in await read(way.servers, SHADOW, clones):
            pair = production[clone.id]
            assert pair.sampled
            assert clone.instances[0].features == pair.instances[0].features
            assert clone.version == "v1"
            assert pair.version == "v2"
        assert sum(event.sampled for event in production.values()) == clones
        for event in production.values():
            features = event.instances[0].features
            assert features["country"] in {"DE", "FR", "US"}
            assert features["note"].startswith("#")


async def read(servers: str, topic: str, count: int) -> list[Any]:
    """The first `count` events of a topic, whose bytes hold nothing personal."""
    async with AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        partition = TopicPartition(topic, partition_of(MODEL, 4))
        consumer.assign([partition])
        found: list[Any] = []

        async def enough() -> bool:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    assert SECRET.encode() not in record.value
                    assert record.key == MODEL.encode()
                    found.append(decode_inference(record.value))
            return len(found) >= count

        await until(enough, 20, f"{count} events of {topic}")
    return found


async def test_a_malformed_event_is_counted_and_kept_aside_and_stops_nothing(
    tmp_path: Path, model_url: str, broker: str | None
) -> None:
    """Poison between good events: each is in `inference.rejected` as it was, and the good ones are measured."""
    if broker is not None:
        await asyncio.to_thread(make_topics, tmp_path, broker)
    poison = [b"", b"{", b'{"id": 1}', b"\xff", b"[" * 100_000, b'{"x": 1e999}']
    async with running(tmp_path, model_url, broker) as way:
        async with AIOKafkaProducer(bootstrap_servers=way.servers) as producer:
            for value in poison:
                await producer.send_and_wait(PRODUCTION, value, key=MODEL.encode())
        await way.send(rows(100, mean=0, seed=5))

        async def all_seen() -> bool:
            _, exporter = await way.readings()
            rejected = exporter.total("drift_events_rejected_total")
            return rejected == len(poison) and exporter.total("drift_events_total", role="production") == 100

        await until(all_seen, 20, "poison rejected, good events measured")
        assert sorted(await raw(way.servers, REJECTED, len(poison))) == sorted(poison)


async def raw(servers: str, topic: str, count: int) -> list[bytes]:
    """The first `count` values of a topic, over all partitions."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        found: list[bytes] = []

        async def enough() -> bool:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found.extend(record.value or b"" for record in records)
            return len(found) >= count

        await until(enough, 20, f"{count} messages of {topic}")
    return found


async def test_an_exporter_that_starts_again_says_what_it_said_before(
    tmp_path: Path, model_url: str, kafka: Kafka
) -> None:
    """Its windows come back from Kafka: every gauge has the value that it had."""
    await asyncio.to_thread(make_topics, tmp_path, kafka.bootstrap_servers)
    try:
        async with running(tmp_path, model_url, kafka.bootstrap_servers) as way:
            await way.send(rows(1_400, mean=0.4, seed=6))
            _, before = await way.measured()
            await way.exporter_child.stop(10)
            again = await Child.start("exporter", "cli.main", ["exporter", "--config", str(way.config)])
            try:
                way.exporter = (await again.ready())["exporter"]

                async def as_before() -> bool:
                    return await way.psi() == before.psi() != {}

                await until(as_before, 30, "the gauges are back")
            finally:
                await again.stop(10)
    finally:
        await delete_topics(kafka, *(topic.name for topic in TOPICS))
