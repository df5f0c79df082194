"""Captured exchanges to Kafka, on a real broker: in order, once Kafka is there, and nothing lost unseen."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import proxy.emitter.link
from events.codec import decode_inference
from events.partitions import partition_of
from events.topics import PRODUCTION, SHADOW, create
from proxy.emitter.intake import Source
from proxy.frames import Captured, encode_frame, encode_hello
from proxy.layout import LOSS_REASONS
from tests.proxy.lines import LABELS, Line, line, numbered, order, read, remove_ours
from tests.proxy.test_extract import captured
from tests.support.kafka import Kafka
from tests.support.topics import delete_topics
from tests.support.waiting import until


async def test_events_arrive_in_order_with_key_headers_and_time(topics: Kafka, tmp_path: Path) -> None:
    """All of a model on its own partition, as every other client's partitioner has it."""
    async with line(topics.bootstrap_servers, tmp_path) as sent:
        for first in range(0, 3000, 100):
            sent.take(first, 100)
            await asyncio.sleep(0)
        sent.take(0, 50, role="shadow", version="v1")
        await sent.delivers(3000)
        await until(lambda: sent.number("events_delivered_total", "fraud", "shadow") == 50, what="the shadow's")
    records = await read(topics, PRODUCTION, 3000)
    assert order(records) == list(range(3000))
    assert {record.partition for record in records} == {partition_of("fraud", 4)}
    record = records[7]
    assert record.key == b"fraud"
    assert record.timestamp == 1_790_000_007_000
    assert tuple(record.headers) == (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"id-7"),
        ("ce_type", b"shadowdrift.inference.v1"),
        ("ce_source", b"/shadowdrift/fraud/production"),
        ("ce_time", datetime.fromtimestamp(1_790_000_007, UTC).isoformat(timespec="microseconds").encode()),
        ("content-type", b"application/json"),
    )
    event = decode_inference(record.value)
    assert event.instances[0].features == {"n": 7}
    assert event.key_id == "k1"
    assert order(await read(topics, SHADOW, 50)) == list(range(50))


async def test_an_event_too_large_for_the_broker_is_lost_alone(topics: Kafka, tmp_path: Path) -> None:
    """It is found among the others of its batch, counted, and they arrive in their order."""
    big = msgspec.json.encode({f"feature-{index}-{'x' * 45}": index for index in range(25_000)})
    async with line(topics.bootstrap_servers, tmp_path) as sent:
        sent.take(0, 20)
        sent.intake.take([captured(big, id="id-20")])
        sent.take(21, 20)
        await sent.delivers(40)
        assert sent.number("events_lost_total", *LABELS, "too_large") == 1
    assert order(await read(topics, PRODUCTION, 40)) == [*range(20), *range(21, 41)]


async def test_a_clock_that_is_ahead_of_the_brokers_holds_nothing_back(
    topics: Kafka, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By two days: the broker refuses the timestamps, so events go without; their own time is in them."""
    caplog.set_level(logging.INFO, "shadowdrift")
    ahead = time.time() + 2 * 86_400
    async with line(topics.bootstrap_servers, tmp_path) as sent:
        for first in (0, 20):
            sent.intake.take([captured(b"{}", id=f"id-{n}", time=ahead + n) for n in range(first, first + 20)])
            await sent.delivers(first + 20)
    records = await read(topics, PRODUCTION, 40)
    assert order(records) == list(range(40))
    assert {record.timestamp for record in records} == {-1}
    assert decode_inference(records[7].value).time == ahead + 7
    assert caplog.text.count("Kafka refuses the times of events") == 1


async def test_an_event_that_cannot_be_made_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with one exchange, its worker's stream goes on."""
    sent = Line("127.0.0.1:1", tmp_path)
    take = Source.take

    def sometimes(source: Source, one: Captured) -> bool:
        if one.id == "id-1":
            raise RuntimeError("a fault of our own")
        return take(source, one)

    monkeypatch.setattr(Source, "take", sometimes)
    sent.stream().data_received(encode_hello(0) + encode_frame([numbered(index) for index in range(3)]))
    assert sent.number("events_waiting") == 2
    assert sent.number("events_lost_total", *LABELS, "unencodable") == 1
    sent.check_law()


async def test_each_workers_stream_is_counted_for_itself(tmp_path: Path) -> None:
    """Open from its first frame to its end; a frame that its death tore is not there, those before it are."""
    sent = Line("127.0.0.1:1", tmp_path)
    streams = [sent.stream() for _ in range(2)]
    torn = encode_frame([numbered(2), numbered(3)])[:-1]
    for worker, stream in enumerate(streams):
        stream.data_received(encode_hello(worker))
        assert sent.number("emitter_streams", str(worker)) == 1
    streams[1].data_received(encode_frame([numbered(0), numbered(1)]) + torn)
    streams[1].connection_lost(None)
    assert [sent.number("events_received", worker, *LABELS) for worker in "01"] == [0, 2]
    assert [sent.number("emitter_streams", worker) for worker in "01"] == [1, 0]
    sent.check_law()


@pytest.mark.parametrize("beginning", [encode_hello(999), encode_hello(-1), encode_frame([numbered(0)])])
async def test_a_stream_that_does_not_begin_with_a_worker_is_closed(beginning: bytes, tmp_path: Path) -> None:
    """One that the configuration does not have, or none at all."""
    sent = Line("127.0.0.1:1", tmp_path)
    stream, transport = sent.stream(), Mock(spec=asyncio.Transport)
    stream.connection_made(transport)
    stream.data_received(beginning + encode_frame([numbered(0)]))
    transport.close.assert_called_once()
    assert sum(sent.number("events_received", worker, *LABELS) for worker in "01") == 0
    stream.connection_lost(None)
    assert [sent.number("emitter_streams", worker) for worker in "01"] == [0, 0]


async def test_hostile_bodies_become_events_all_the_same(tmp_path: Path) -> None:
    """No body may end the stream of its worker."""
    sent = Line("127.0.0.1:1", tmp_path)
    bodies = [
        b'{"\\ud800": 1}',
        b'{"a": "\\udfff"}',
        b"[" * 60_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\xff",
        b"",
        b"NaN",
    ]
    sent.stream().data_received(encode_hello(0) + encode_frame([captured(body, body) for body in bodies]))
    assert sent.number("events_waiting") == len(bodies)
    assert all(sent.number("events_lost_total", *LABELS, reason) == 0 for reason in LOSS_REASONS)


async def test_what_the_queue_has_no_room_for_is_lost_and_counted(tmp_path: Path) -> None:
    """The newest; what was there stays; the bound is over all queues together."""
    sent = Line("127.0.0.1:1", tmp_path, limit=20_000)
    sent.take(0, 100)
    held = sent.number("events_waiting")
    assert 30 < held < 50
    assert sent.number("events_lost_total", *LABELS, "queue_full") == 100 - held
    sent.take(0, 1, role="shadow")
    assert sent.number("events_lost_total", "fraud", "shadow", "queue_full") == 1
    await sent.delivery.stop(within=0)
    assert sent.number("events_lost_total", *LABELS, "shutdown") == held


async def test_a_stop_with_kafka_and_disk_away_has_an_end_and_counts_what_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody answers at the address; the log says once what is in the way, and what was lost."""
    caplog.set_level(logging.INFO, "shadowdrift")
    (tmp_path / "spool").write_text("no directory")
    sent = Line("127.0.0.1:1", tmp_path)
    sent.delivery.start()
    sent.take(0, 10)
    await until(lambda: "Kafka does not take events; they wait" in caplog.text, what="a line that tells")
    async with asyncio.timeout(20):
        await sent.delivery.stop(within=1.5)
    assert sent.number("events_lost_total", *LABELS, "shutdown") == 10
    assert caplog.text.count("Kafka does not take events") == 1
    assert caplog.text.count("the spool cannot be used") == 1
    assert sent.number("shadowdrift_spool_obstacle", "disk") == 1
    assert sent.number("spool_read") == 0


async def test_events_wait_for_topics_that_do_not_exist_yet(
    kafka: Kafka, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are told, and made, and then they get everything in order."""
    monkeypatch.setattr(proxy.emitter.link, "REQUEST_TIMEOUT_MS", 1000)
    caplog.set_level(logging.INFO, "shadowdrift")
    async with line(kafka.bootstrap_servers, tmp_path) as sent:
        sent.take(0, 50)
        await until(lambda: "Kafka does not take events" in caplog.text, 40, "a line that tells")
        await create(sent.brokers, 4, 1)
        sent.take(50, 50)
        await sent.delivers(100, 60)
    assert order(await read(kafka, PRODUCTION, 100)) == list(range(100))
    await remove_ours(kafka)


async def test_unequal_partitions_hold_events_back_and_say_so(
    kafka: Kafka, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A model's production and shadow would not meet; once the counts are equal everything goes."""
    caplog.set_level(logging.INFO, "shadowdrift")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(PRODUCTION, 4, 1), NewTopic(SHADOW, 2, 1)])
        async with line(kafka.bootstrap_servers, tmp_path) as sent:
            sent.take(0, 10)
            await until(lambda: "same number of partitions" in str([record.__dict__ for record in caplog.records]), 30)
            assert sent.number("events_delivered_total") == 0
            await delete_topics(kafka, SHADOW)
            await until(lambda: _made(admin), 20, "the topic anew")
            await sent.delivers(10, 60)
    finally:
        await admin.close()
        await remove_ours(kafka)


async def _made(admin: AIOKafkaAdminClient) -> bool:
    answer = await admin.create_topics([NewTopic(SHADOW, 4, 1)])
    return bool(answer.topic_errors[0][1] == 0)


async def test_kafka_away_at_the_start_and_killed_in_between_costs_nothing(own_kafka: Kafka, tmp_path: Path) -> None:
    """Everything arrives, each at least once, in order but for what was sent again; the stop is clean."""
    loop = asyncio.get_running_loop()
    await create(own_kafka.brokers, 4, 1)
    await loop.run_in_executor(None, own_kafka.stop)
    async with line(own_kafka.bootstrap_servers, tmp_path) as sent:
        sent.take(0, 500)
        assert sent.number("events_delivered_total") == 0
        await loop.run_in_executor(None, own_kafka.start)
        await sent.delivers(500, 60)
        sent.take(500, 500)
        await loop.run_in_executor(None, own_kafka.kill)
        sent.take(1000, 500)
        await loop.run_in_executor(None, own_kafka.start)
        await sent.delivers(1500, 60)
        assert sum(sent.number("events_lost_total", *LABELS, reason) for reason in LOSS_REASONS) == 0
    seen = order(await read(own_kafka, PRODUCTION, 1500))
    assert list(dict.fromkeys(seen)) == list(range(1500))


async def test_two_topics_with_troubles_of_their_own_are_each_told_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """One topic that goes well again leaves the other's trouble on the gauge, and no line comes twice."""
    line = Line("127.0.0.1:1", tmp_path)
    caplog.set_level(logging.INFO, "shadowdrift.emitter")

    def shown() -> list[int]:
        return [line.number("shadowdrift_kafka_obstacle", "emitter", word) for word in ("unreachable", "topics")]

    for _ in range(3):
        line.delivery._tell(PRODUCTION, "waits", "unreachable", "silent")
        line.delivery._tell(SHADOW, "waits", "topics", "missing")
    assert shown() == [1, 1]
    line.delivery._clear(PRODUCTION)
    assert shown() == [0, 1]
    line.delivery._clear(SHADOW)
    assert shown() == [0, 0]
    assert [record.message for record in caplog.records].count("waits") == 2
    assert len(caplog.records) == 4
