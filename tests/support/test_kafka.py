"""The tests' own Kafka: real enough to rely on, and gone when it should be."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from tests.support.kafka import Kafka, KafkaEndedError, free_ports
from tests.support.processes import gone
from tests.support.topics import create_topics, topics
from tests.support.waiting import until, until_sync

CHECKOUT = Path(__file__).parents[2]


async def produce(broker: Kafka, topic: str, values: list[bytes], partition: int = 0) -> None:
    """The values as one batch, as the product delivers them."""
    async with AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, enable_idempotence=True, acks="all"
    ) as producer:
        batch = producer.create_batch()
        for value in values:
            assert batch.append(key=None, value=value, timestamp=None, headers=[("n", b"1")]) is not None
        await (await producer.send_batch(batch, topic, partition=partition))


async def consume(broker: Kafka, topic: str, count: int, partition: int = 0) -> list[bytes]:
    """The first `count` values of a partition."""
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, partition)])
        values: list[bytes] = []

        async def enough() -> bool:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                values.extend(record.value for record in records)
            return len(values) >= count

        await until(enough, 20, f"{count} records of {topic}")
        return values


async def test_what_is_produced_is_consumed(kafka: Kafka) -> None:
    """The session's broker, through the client that the product uses."""
    async with topics(kafka, "support.produced"):
        await produce(kafka, "support.produced", [b"a", b"b"], partition=3)
        assert await consume(kafka, "support.produced", 2, partition=3) == [b"a", b"b"]


async def test_two_members_of_a_group_share_its_partitions(kafka: Kafka) -> None:
    """What the development broker cannot do; in a new group two members may come at once."""

    def member() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            "support.shared",
            bootstrap_servers=kafka.bootstrap_servers,
            group_id="support",
            heartbeat_interval_ms=200,
            session_timeout_ms=2000,
            partition_assignment_strategy=[RangePartitionAssignor],
        )

    async with topics(kafka, "support.shared"), member() as first, member() as second:
        await until(lambda: len(first.assignment()) == len(second.assignment()) == 2, what="two partitions each")
        assert first.assignment().isdisjoint(second.assignment())


async def test_a_restart_and_a_crash_keep_address_and_data(own_kafka: Kafka) -> None:
    """Both SIGTERM and SIGKILL: what was acknowledged is there, where it was."""
    address = own_kafka.bootstrap_servers
    await create_topics(own_kafka, "support.kept")
    await produce(own_kafka, "support.kept", [b"before"])
    own_kafka.restart()
    await produce(own_kafka, "support.kept", [b"between"])
    own_kafka.kill()
    assert not own_kafka.running
    own_kafka.start()
    assert own_kafka.bootstrap_servers == address
    assert await consume(own_kafka, "support.kept", 2) == [b"before", b"between"]


@pytest.mark.usefixtures("kafka")  # for its reason to skip
def test_a_broker_that_cannot_start_says_why_from_its_log(tmp_path: Path) -> None:
    """One line with the reason, instead of a deadline passed in silence."""
    other = Kafka(tmp_path / "other", {"log.retention.bytes": "much"})
    with pytest.raises(KafkaEndedError, match=r"Invalid value much for configuration log\.retention\.bytes"):
        other.start()
    assert not other.running


@pytest.mark.usefixtures("kafka")  # for its reason to skip
def test_the_broker_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Even if that is killed and can clean up nothing."""
    program = (
        "import sys, signal; from pathlib import Path; from tests.support.kafka import Kafka\n"
        "kafka = Kafka(Path(sys.argv[1])); kafka.start(); print(kafka._broker.pid, flush=True); signal.pause()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "kafka")],
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    with owner:
        assert owner.stdout is not None
        broker = int(owner.stdout.readline())
        os.kill(broker, 0)
        owner.send_signal(signal.SIGKILL)
    until_sync(lambda: gone(broker), what="the broker's end")


def test_no_port_is_handed_out_twice() -> None:
    """Nobody listens on the first ones yet, so the system would call them free again."""
    ports = [port for _ in range(300) for port in free_ports(2)]
    assert len(set(ports)) == len(ports)
