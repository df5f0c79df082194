"""The development broker: that aiokafka, as the product uses it, can live on it, and where its limits are."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import OffsetOutOfRangeError

from events.topics import TOPICS
from lifecycle.refusal import REFUSED
from lifecycle.tether import Child
from tests.support.development import development_broker
from tests.support.processes import gone
from tests.support.waiting import until, until_sync
from up.development_broker import WITHOUT_PACKAGE

CHECKOUT = Path(__file__).parents[2]
TOPIC = "inference.production"


@pytest.fixture
async def broker() -> AsyncIterator[str]:
    """A broker of the test's own."""
    async with development_broker() as bootstrap_servers:
        yield bootstrap_servers


@pytest.fixture
async def producer(broker: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer as the emitter has it."""
    async with AIOKafkaProducer(
        bootstrap_servers=broker, enable_idempotence=True, acks="all", max_batch_size=1 << 20
    ) as producer:
        yield producer


async def deliver(producer: AIOKafkaProducer, values: list[bytes], partition: int = 0) -> int:
    """Deliver the values in one batch of our own making, each with a header; its base offset."""
    batch = producer.create_batch()
    for value in values:
        assert batch.append(key=b"flights", value=value, timestamp=None, headers=[("ce_type", b"test")]) is not None
    delivered = await producer.send_batch(batch, TOPIC, partition=partition)
    return int((await delivered).offset)


async def read(consumer: AIOKafkaConsumer, count: int) -> list[bytes]:
    """The next `count` values, or a failure."""
    values: list[bytes] = []

    async def enough() -> bool:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                assert tuple(record.headers) == (("ce_type", b"test"),)
                values.append(record.value)
        return len(values) >= count

    await until(enough, 20, f"{count} records")
    return values


def group_member(broker: str) -> AIOKafkaConsumer:
    """A consumer as the exporter has it, with the shortest session that the mock answers."""
    return AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=broker,
        group_id="drift",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
        heartbeat_interval_ms=1000,
        partition_assignment_strategy=[RangePartitionAssignor],
    )


async def test_every_topic_of_the_product_is_there_with_four_partitions_from_the_first_call(
    broker: str, producer: AIOKafkaProducer
) -> None:
    """A client that has asked for nothing yet sees them all."""
    async with AIOKafkaConsumer(bootstrap_servers=broker) as consumer:
        assert await consumer.topics() >= {topic.name for topic in TOPICS}
    for topic in TOPICS:
        assert await producer.partitions_for(topic.name) == {0, 1, 2, 3}


async def test_a_group_reads_what_idempotent_batches_brought_and_goes_on_where_it_committed(
    broker: str, producer: AIOKafkaProducer
) -> None:
    """Batches with headers in, a committed group out; after a restart of the consumer only what is new."""
    for partition in range(4):
        await deliver(producer, [b"old %d" % partition] * 100, partition)
    async with group_member(broker) as consumer:
        assert sorted(await read(consumer, 400)) == sorted(b"old %d" % (n % 4) for n in range(400))
        assert {partition.partition for partition in consumer.assignment()} == {0, 1, 2, 3}
        await consumer.commit()
    await deliver(producer, [b"new"])
    async with group_member(broker) as consumer:
        assert await read(consumer, 1) == [b"new"]
        assert await consumer.committed(TopicPartition(TOPIC, 0)) == 100


async def test_offsets_are_told_and_can_be_sought(broker: str, producer: AIOKafkaProducer) -> None:
    """Beginning and end as the producer was told; back to the beginning means everything again."""
    partition = TopicPartition(TOPIC, 0)
    assert await deliver(producer, [b"a"] * 3) == 0
    assert await deliver(producer, [b"a"] * 4) == 3
    async with AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest") as consumer:
        consumer.assign([partition])
        assert await consumer.beginning_offsets([partition]) == {partition: 0}
        assert await consumer.end_offsets([partition]) == {partition: 7}
        assert len(await read(consumer, 7)) == 7
        await consumer.seek_to_beginning(partition)
        assert len(await read(consumer, 7)) == 7


async def test_it_keeps_about_five_mebibytes_a_partition_and_says_so_to_a_consumer_that_lags(
    broker: str, producer: AIOKafkaProducer
) -> None:
    """What was dropped is neither offered nor made up: its offset is out of range."""
    partition = TopicPartition(TOPIC, 0)
    for _ in range(30):
        await deliver(producer, [b"x" * 1000] * 500)
    async with AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="none") as consumer:
        consumer.assign([partition])
        begin = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        assert end == 15_000
        assert 4_500 <= end - begin <= 5_500
        consumer.seek(partition, 0)
        with pytest.raises(OffsetOutOfRangeError):
            await consumer.getone()
        consumer.seek(partition, begin)
        assert (await consumer.getone()).offset == begin


async def test_five_thousand_events_take_less_than_a_second_to_read(broker: str, producer: AIOKafkaProducer) -> None:
    """Far more than the demo's traffic, so the broker is not what limits it."""
    for _ in range(10):
        await deliver(producer, [b"x" * 500] * 500)
    async with AIOKafkaConsumer(TOPIC, bootstrap_servers=broker, auto_offset_reset="earliest") as consumer:
        async with asyncio.timeout(1.0):
            assert len(await read(consumer, 5000)) == 5000


async def test_it_ends_on_sigterm_as_every_part_does() -> None:
    """In order, and at once."""
    child = await Child.start("development broker", "up.development_broker")
    await child.ready()
    assert await child.stop(5.0)
    assert await child.ended == 0


def test_it_ends_with_the_process_that_started_it() -> None:
    """Even if that is killed and can clean up nothing."""
    program = (
        "import asyncio; from lifecycle.tether import Child\n"
        "async def main():\n"
        "    child = await Child.start('broker', 'up.development_broker'); await child.ready()\n"
        "    print(child.process.pid, flush=True); await child.ended\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=CHECKOUT) as owner:
        assert owner.stdout is not None
        broker = int(owner.stdout.readline())
        assert not gone(broker)
        owner.send_signal(signal.SIGKILL)
    until_sync(lambda: gone(broker), what="the broker's end")


def test_without_its_package_it_ends_with_one_line_that_names_the_extra(tmp_path: Path) -> None:
    """No traceback, and the exit code of what the user can mend."""
    (tmp_path / "confluent_kafka.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, "-m", "up.development_broker"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (REFUSED, "", f"shadowdrift: {WITHOUT_PACKAGE}\n")
