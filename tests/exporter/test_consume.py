"""The exporter on a real broker: assignment, restart, rebalance, absence."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from prometheus_client.parser import text_string_to_metric_families

from configuration.sections import Configuration, Exporter, Kafka
from events.brokers import Brokers
from events.codec import encode
from events.headers import header, inference_headers
from events.partitions import partition_of
from events.topics import PRODUCTION, REJECTED, SHADOW, STATE, TOPIC_OF_ROLE, create
from exporter.main import serve
from exporter.reading.shedding import Shedding
from lifecycle.refusal import Refusal
from lifecycle.tether import Tether
from tests.exporter.making import PARTITIONS, event, model, profile
from tests.support.development import development_broker
from tests.support.waiting import until

GOOD = {"amount": 0.5, "country": "DE"}
NAMES = ("fraud", "churn", "spam", "price")
NOBODY = "127.0.0.1:9"


class Announced(Tether):
    """A tether that keeps what is announced."""

    def __init__(self):
        super().__init__(None, b"")
        self.what = {}

    def announce(self, what):
        """Keep it."""
        self.what.update(what)


class Running:
    """An exporter in this process, seen from outside."""

    def __init__(self, task, stop, tether, http):
        self.task, self._stop, self._tether, self._http = task, stop, tether, http

    async def get(self, path):
        """Status and text of an endpoint."""
        async with self._http.get(self._tether.what["exporter"] + path) as response:
            return response.status, await response.text()

    async def values(self, name, **labels):
        """The samples of a metric whose labels include these, summed up by the labels asked for."""
        _, text = await self.get("/metrics")
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return [each.value for each in samples if each.name == name and labels.items() <= each.labels.items()]

    async def ready(self, within=30.0):
        """Wait until it is."""

        async def answers():
            return (await self.get("/-/ready"))[0] == 200

        await until(answers, within, "readiness")

    async def sees(self, name, *values, within=20.0, **labels):
        """Wait until a metric has these values."""
        found = []

        async def shown():
            found[:] = sorted(await self.values(name, **labels))
            return found == sorted(values)

        try:
            await until(shown, within)
        except AssertionError:
            raise AssertionError(f"{name}{labels} should be {values}, and is {found}") from None

    async def stop(self):
        """Ask it to end, and wait."""
        self._stop.set()
        await asyncio.wait_for(self.task, 10)


@pytest.fixture
async def exporter(tmp_path):
    """Start exporters; what is left of them ends with the test."""
    path = tmp_path / "reference.json"
    path.write_bytes(msgspec.json.encode(profile()))
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def start(servers, size=50, names=NAMES):
            models = tuple(model(name, size=size, path_prefix=f"/{name}", reference=str(path)) for name in names)
            configuration = Configuration(kafka=Kafka(servers), models=models, exporter=Exporter(listen="127.0.0.1:0"))
            stop, tether = asyncio.Event(), Announced()
            task = asyncio.create_task(serve(configuration, tether, stop))
            running = Running(task, stop, tether, http)
            stack.push_async_callback(_end, running)
            await until(lambda: tether.what or task.done(), what="its address")
            return running

        yield start


async def _end(running):
    if not running.task.done():
        await running.stop()


@contextlib.asynccontextmanager
async def topics_of(servers, **counts) -> AsyncIterator[AIOKafkaAdminClient]:
    """All topics, or those given with their counts; gone afterwards."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        if counts:
            await admin.create_topics([NewTopic(name.replace("_", "."), count, 1) for name, count in counts.items()])
        else:
            await create(Brokers(servers), PARTITIONS, 1)
        yield admin
    finally:
        names = [name for name in await admin.list_topics() if not name.startswith("__")]
        await admin.delete_topics(names)

        async def gone():
            return not set(names) & set(await admin.list_topics())

        await until(gone, what="the topics' end")
        await admin.close()


@pytest.fixture
async def topics(kafka):
    """Every topic with four partitions."""
    async with topics_of(kafka.bootstrap_servers):
        yield kafka.bootstrap_servers


async def send(servers, *made, values=(), compression=None):
    """Send events as the emitter does, and raw (topic, partition, value, headers)."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", compression_type=compression)
    await producer.start()
    try:
        for each in made:
            await producer.send(
                TOPIC_OF_ROLE[each.role], encode(each), each.model.encode(), headers=inference_headers(each)
            )
        for topic, partition, value, headers in values:
            await producer.send(topic, value, b"key", partition, headers=headers)
        await producer.flush()
    finally:
        await producer.stop()


async def rejected(servers, count):
    """The messages of `inference.rejected`, when there are so many."""
    consumer = AIOKafkaConsumer(REJECTED, bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    found = []

    async def all_there():
        for records in (await consumer.getmany(timeout_ms=100)).values():
            found.extend(records)
        return len(found) >= count

    try:
        await until(all_there, what=f"{count} rejected messages, got {found}")
        return found
    finally:
        await consumer.stop()


def traffic(count, names=NAMES):
    """So many events of each model and role."""
    return [
        event(GOOD, model=name, role=role) for name in names for role in ("production", "shadow") for _ in range(count)
    ]


async def test_events_become_gauges_and_every_message_is_accounted_for(topics, exporter):
    """Good ones, poison, a duplicate and a foreign one; what is rejected is kept aside with its reason."""
    running = await exporter(topics)
    await running.ready()
    again = event(GOOD)
    foreign = event(GOOD)
    wrong = (partition_of("fraud", PARTITIONS) + 1) % PARTITIONS
    values = [(PRODUCTION, 0, b"{", []), (PRODUCTION, wrong, encode(foreign), inference_headers(foreign))]
    await send(topics, *traffic(30), again, again, values=values)
    await running.sees("drift_events_total", 32.0, model="fraud", role="production")
    await running.sees("drift_events_total", 30.0, model="churn", role="shadow")
    await running.sees("drift_window_instances", 32.0, model="fraud", role="production", tenant="_all")
    await running.sees("drift_consumer_lag_events", *[0.0] * 12)
    total = {name: sum(await running.values(f"drift_events{name}_total")) for name in
             ("_consumed", "", "_rejected", "_duplicate", "_foreign")}  # fmt: skip
    assert total == {"_consumed": 245.0, "": 242.0, "_rejected": 1.0, "_duplicate": 1.0, "_foreign": 1.0}
    assert len(await running.values("drift_psi", model="price", against="reference")) == 3
    (kept,) = await rejected(topics, 1)
    assert (kept.value, kept.key, header(kept.headers, "shadowdrift_reason")) == (b"{", b"key", "json")
    assert sum(await running.values("drift_events_unkept_total")) == 0


async def test_windows_come_back_after_a_restart_and_nothing_is_sent_on_twice(topics, exporter):
    """As they were, without reading anything twice; where their state has gone, from ten windows before the end."""
    first = await exporter(topics, size=10, names=("fraud",))
    await first.ready()
    await send(topics, *traffic(130, ["fraud"]), values=[(PRODUCTION, partition_of("fraud", PARTITIONS), b"{", [])])
    await first.sees("drift_events_total", 130.0, 130.0)
    before = await first.values("drift_psi")
    (offset,) = [each.offset for each in await rejected(topics, 1)]
    assert offset == 0
    await first.stop()
    assert await group_offset(topics, partition_of("fraud", PARTITIONS)) == 131
    second = await exporter(topics, size=10, names=("fraud",))
    await second.ready()
    await second.sees("drift_consumer_lag_events", *[0.0] * 12)
    await second.sees("drift_events_total", 0.0, 0.0)
    assert await second.values("drift_psi") == before
    await second.stop()
    await forget_state(topics)
    third = await exporter(topics, size=10, names=("fraud",))
    await third.ready()
    await third.sees("drift_consumer_lag_events", *[0.0] * 12)
    await third.sees("drift_events_total", 99.0, 100.0)
    assert await third.values("drift_psi") == before
    await send(topics, values=[(PRODUCTION, 0, b"[", [])])
    assert [kept.value for kept in await rejected(topics, 2)] == [b"{", b"["]


async def forget_state(servers):
    """Delete `drift.state`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.delete_topics([STATE])

        async def gone():
            return STATE not in await admin.list_topics()

        await until(gone, what="the topic's end")
    finally:
        await admin.close()


async def group_offset(servers, partition):
    """What the exporter's group has committed of production's topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets("shadowdrift-exporter")
        return next((found.offset for at, found in offsets.items() if at == (PRODUCTION, partition)), None)
    finally:
        await admin.close()


async def test_batches_are_read_whatever_compresses_them(topics, exporter):
    """A topic's `compression.type`, or another producer's choice, is none of the exporter's business."""
    running = await exporter(topics)
    await running.ready()
    sent = traffic(8)
    for index, compression in enumerate(("gzip", "snappy", "lz4", "zstd")):
        await send(topics, *sent[index::4], compression=compression)
    await running.sees("drift_events_total", *[8.0] * 8)


async def test_a_second_exporter_takes_its_share_and_gives_it_back(topics, exporter):
    """One to two to one: each model has one owner, whose windows are those of the log."""
    first = await exporter(topics)
    await first.ready()
    await send(topics, *traffic(60))
    await first.sees("drift_window_instances", *[50.0] * 8)
    whole = sorted(await first.values("drift_psi"))
    second = await exporter(topics)

    async def shared():
        owners = [{name for name in NAMES if await each.values("drift_psi", model=name)} for each in (first, second)]
        return owners[0] ^ owners[1] == set(NAMES) and all(owners)

    await until(shared, 30, "one owner of each model")
    await first.sees(
        "drift_window_instances", *[50.0] * (2 * sum([bool(await first.values("drift_psi", model=n)) for n in NAMES]))
    )
    parts = [*await first.values("drift_psi"), *await second.values("drift_psi")]
    assert sorted(parts) == whole
    await second.stop()
    await first.sees("drift_window_instances", *[50.0] * 8, within=30)
    assert sorted(await first.values("drift_psi")) == whole


async def test_unequal_partition_counts_refuse_the_start_in_one_line(kafka, exporter):
    """A model's events of both topics could not meet in one process."""
    async with topics_of(kafka.bootstrap_servers, inference_production=4, inference_shadow=3):
        running = await exporter(kafka.bootstrap_servers)
        with pytest.raises(Refusal, match=r"inference.production has 4, inference.shadow has 3") as refusal:
            await asyncio.wait_for(asyncio.shield(running.task), 20)
        assert "\n" not in str(refusal.value)


async def test_missing_topics_are_waited_for(kafka, exporter):
    """Alive and not ready until they exist."""
    async with topics_of(kafka.bootstrap_servers, inference_rejected=4):
        running = await exporter(kafka.bootstrap_servers)

        async def waits():
            status, text = await running.get("/-/ready")
            return status == 503 and text.startswith("waits for the topic ")

        await until(waits, what="its waiting for the topic")
        assert await running.get("/-/healthy") == (200, "ok\n")
        await create(kafka.brokers, PARTITIONS, 1)
        await running.ready()
        await send(kafka.bootstrap_servers, *traffic(5))
        await running.sees("drift_window_instances", *[5.0] * 8)


async def test_topics_that_go_and_come_again_are_read_from_their_new_beginning(kafka, exporter):
    """As when a cluster is set up afresh under a running exporter."""
    servers = kafka.bootstrap_servers
    async with topics_of(servers):
        running = await exporter(servers)
        await running.ready()
        await send(servers, *traffic(8))
        await running.sees("drift_events_total", *[8.0] * 8)
    async with topics_of(servers):
        await send(servers, *traffic(3))
        await running.sees("drift_events_total", *[11.0] * 8, within=60)


async def test_a_kafka_that_is_away_at_the_start_is_waited_for(exporter):
    """Alive at once, not ready, valid metrics, and a stop within seconds."""
    running = await exporter(NOBODY)
    assert await running.get("/-/healthy") == (200, "ok\n")
    assert await running.get("/-/ready") == (503, "waits for Kafka\n")
    assert await running.values("drift_events_total", model="fraud") == [0.0, 0.0]
    await running.stop()


async def test_a_broker_that_dies_and_comes_back_is_read_on(own_kafka, exporter):
    """Windows go on as they were, and nothing is counted twice; it stops in seconds while the broker is away."""
    servers = own_kafka.bootstrap_servers
    await create(Brokers(servers), PARTITIONS, 1)
    running = await exporter(servers)
    await running.ready()
    await send(servers, *traffic(20))
    await running.sees("drift_events_total", *[20.0] * 8)
    own_kafka.kill()
    await running.sees("shadowdrift_kafka_obstacle", 1.0, reason="unreachable")
    await running.sees("drift_window_instances")  # after so long somebody else may have our partitions
    await asyncio.to_thread(own_kafka.start)
    await send(servers, *traffic(5))
    await running.sees("drift_events_total", *[25.0] * 8, within=60)
    await running.sees("shadowdrift_kafka_obstacle", 0.0, reason="unreachable")
    own_kafka.kill()
    await running.stop()


async def test_the_development_broker_is_read_like_a_real_one(exporter):
    """librdkafka's mock, on which `up` and `demo` stand."""
    async with development_broker() as servers:
        running = await exporter(servers)
        await running.ready()
        await send(servers, *traffic(10), values=[(SHADOW, 1, b"", [])])
        await running.sees("drift_window_instances", *[10.0] * 8)
        await running.sees("drift_events_rejected_total", 1.0, reason="json")
        await rejected(servers, 1)
        await running.stop()


class NotUtf8(str):
    """A header's name as a client in another language may write it."""

    __slots__ = ()

    def encode(self, *_):
        """Two bytes that no text begins with."""
        return b"\xff\xfe"


async def test_a_message_that_the_client_cannot_decode_is_left_out(exporter, monkeypatch):
    """It names no place and would come again with every start; what lies before and behind it is measured."""
    async with development_broker() as servers:
        running = await exporter(servers, names=("fraud",))
        await running.ready()
        await send(servers, *traffic(10, ["fraud"]))
        with monkeypatch.context() as patched:
            for module in ("message_accumulator", "producer"):
                patched.setattr(f"aiokafka.producer.{module}.DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
            fraud = partition_of("fraud", PARTITIONS)
            await send(servers, values=[(PRODUCTION, fraud, b"{", [(NotUtf8(), b"")])])
        await send(servers, *traffic(10, ["fraud"]))
        await running.sees("drift_events_total", 20.0, 20.0)
        await running.sees("drift_events_rejected_total", 1.0, reason="unreadable")
        await running.sees("drift_consumer_lag_events", *[0.0] * 12)
        (kept,) = await rejected(servers, 1)
        assert header(kept.headers, "shadowdrift_source") == f"{PRODUCTION}/{fraud}/10"
        await send(servers, *traffic(10, ["fraud"]))
        await running.sees("drift_events_total", 30.0, 30.0)


async def test_a_message_read_just_before_the_stop_is_kept_aside(exporter):
    """Its offset is committed, so the next run will not send it."""
    async with development_broker() as servers:
        running = await exporter(servers)
        await running.ready()
        await send(servers, values=[(PRODUCTION, 0, b"{", [])])
        await running.sees("drift_events_rejected_total", 1.0, reason="json")
        await running.stop()
        assert [kept.value for kept in await rejected(servers, 1)] == [b"{"]


async def test_a_broker_whose_name_no_resolver_takes_is_waited_for(exporter):
    """An empty label is a ValueError to Python, not an error of the network."""
    running = await exporter("kafka..svc:9092")
    await running.sees("shadowdrift_kafka_obstacle", 1.0, reason="unreachable")
    assert await running.get("/-/ready") == (503, "waits for Kafka\n")
    await running.stop()


async def test_a_missing_profile_refuses_the_start(tmp_path):
    """Before anything listens."""
    models = (model(reference=str(tmp_path / "none.json")),)
    configuration = Configuration(kafka=Kafka(NOBODY), models=models, exporter=Exporter(listen="127.0.0.1:0"))
    with pytest.raises(Refusal, match=r"models\[0\].reference: .*none.json cannot be read"):
        await serve(configuration, Announced(), asyncio.Event())


async def test_a_port_in_use_refuses_the_start(exporter):
    """With the setting's name."""
    running = await exporter(NOBODY)
    address = running._tether.what["exporter"].removeprefix("http://")
    configuration = Configuration(kafka=Kafka(NOBODY), models=(model(),), exporter=Exporter(listen=address))
    with pytest.raises(Refusal, match=r"exporter.listen: cannot listen at"):
        await serve(configuration, Announced(), asyncio.Event())


async def test_what_cannot_be_read_in_time_is_passed_over_and_counted(topics, exporter, monkeypatch):
    """The window of the whole model is that of the log all the same."""
    await send(topics, *traffic(1, ["fraud"]))
    running = await exporter(topics, size=10, names=("fraud",))
    await running.ready()
    monkeypatch.setattr("exporter.reading.consume.Shedding.skipped", Shedding(windows=20, seconds=0.0).skipped)
    monkeypatch.setattr("exporter.reading.stepping._POLL_RECORDS", 5)
    await send(topics, *(event({"amount": number / 1500, "country": "DE"}) for number in range(3_000)))

    async def done():
        (skipped,) = await running.values("drift_events_skipped_total", topic=PRODUCTION)
        (taken,) = await running.values("drift_events_total", role="production")
        return skipped > 0 and skipped + taken == 3_001

    await until(done, 30, "every message read or passed over")
    shown = await running.values("drift_psi", feature="amount", against="reference")
    await running.stop()
    monkeypatch.undo()
    await forget_state(topics)
    again = await exporter(topics, size=10, names=("fraud",))
    await again.ready()
    await again.sees("drift_consumer_lag_events", *[0.0] * 12)
    assert await again.values("drift_psi", feature="amount", against="reference") == shown
