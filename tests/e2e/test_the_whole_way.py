"""From a client's request to a drift gauge, every part a process of its own, on both brokers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from demo.readings import broken_law_at_rest, broken_laws
from events.codec import decode_inference
from events.partitions import partition_of
from events.topics import PRODUCTION, REJECTED, SHADOW, TOPICS
from lifecycle.tether import Child
from tests.support.kafka import Kafka
from tests.support.topics import delete_topics
from tests.support.waiting import until
from tests.support.way import MODEL, SECRET, Way, model, rows, running, topics


@pytest.fixture
async def model_url() -> AsyncIterator[str]:
    """The model behind the proxy."""
    async with model() as url:
        yield url


@pytest.fixture(params=["development broker", "Apache Kafka"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str] | None]:
    """The `kafka` section for a real Kafka with the topics made by the command; None for the development broker."""
    if request.param == "development broker":
        yield None
        return
    kafka: Kafka = request.getfixturevalue("kafka")
    section = {"bootstrap_servers": kafka.bootstrap_servers}
    assert topics(tmp_path, section) == 0
    yield section
    asyncio.run(delete_topics(kafka, *(topic.name for topic in TOPICS)))


async def test_a_shift_in_the_requests_becomes_a_gauge_and_nothing_is_lost(
    tmp_path: Path, model_url: str, broker: dict[str, str] | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """Steady requests leave every gauge low; a shifted feature raises its own alone; all is counted once."""
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


async def test_what_is_in_kafka_pairs_by_id_and_tells_nothing_personal(
    tmp_path: Path, model_url: str, broker: dict[str, str] | None
) -> None:
    """Each clone's event carries its production exchange's id and the same features; strings not listed are hashed."""
    async with running(tmp_path, model_url, broker) as way:
        await way.send(rows(300, mean=0, seed=4))
        proxy, _ = await way.measured()
        production = {event.id: event for event in await read(way.kafka, PRODUCTION, 300)}
        clones = proxy.total("mirror_sent_total")
        assert clones > 0
        for clone in await read(way.kafka, SHADOW, clones):
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
        await the_truth_comes(way, production, clones)


async def the_truth_comes(way: Way, production: dict[str, Any], clones: int) -> None:
    """Each clone is a pair, in which the two agree; labels of all requests join those that were cloned."""
    _, exporter = await way.readings()
    pairs = {name: exporter.total(f"drift_pair{name}") for name in ("s", "s_mismatched_total", "s_unequal_total")}
    assert pairs == {"s": clones, "s_mismatched_total": 0, "s_unequal_total": 0}
    assert list(exporter.select("drift_pair_completeness_ratio")) == [({"model": MODEL}, 1.0)]
    assert list(exporter.select("drift_disagreement_ratio", tenant="_all")) == [
        ({"model": MODEL, "tenant": "_all"}, 0.0)
    ]
    truth = [
        {"id": key, "model": MODEL, "time": 1.0, "labels": [event.instances[0].features["amount"] > 1]}
        for key, event in production.items()
    ]
    async with way.session.post(f"{way.exporter}/labels", json=truth) as response:
        assert response.status == 202
    await until(lambda: labelled(way, clones), 20, "every clone has its label")
    _, exporter = await way.readings()
    assert exporter.total("drift_labels_total", result="waiting") == len(truth) - clones
    accuracy = {labels["role"]: value for labels, value in exporter.select("drift_accuracy_ratio")}
    assert accuracy == {"production": 1.0, "shadow": 1.0}
    assert list(exporter.select("drift_accuracy_pvalue")) == [({"model": MODEL}, 1.0)]


async def labelled(way: Way, count: int) -> bool:
    """Whether so many labels have joined."""
    _, exporter = await way.readings()
    return exporter.total("drift_labels_total", result="joined") == count


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
    tmp_path: Path, model_url: str, broker: dict[str, str] | None
) -> None:
    """Poison between good events: each is in `inference.rejected` as it was, and the good ones are measured."""
    poison = [b"", b"{", b'{"id": 1}', b"\xff", b"[" * 100_000, b'{"x": 1e999}']
    async with running(tmp_path, model_url, broker) as way:
        async with AIOKafkaProducer(bootstrap_servers=way.kafka) as producer:
            for value in poison:
                await producer.send_and_wait(PRODUCTION, value, key=MODEL.encode())
        await way.send(rows(100, mean=0, seed=5))

        async def all_seen() -> bool:
            _, exporter = await way.readings()
            rejected = exporter.total("drift_events_rejected_total")
            return rejected == len(poison) and exporter.total("drift_events_total", role="production") == 100

        await until(all_seen, 20, "poison rejected, good events measured")
        assert sorted(await raw(way.kafka, REJECTED, len(poison))) == sorted(poison)


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
    section = {"bootstrap_servers": kafka.bootstrap_servers}
    assert await asyncio.to_thread(topics, tmp_path, section) == 0
    try:
        async with running(tmp_path, model_url, section) as way:
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
