"""Topics for one test, on a real broker."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.kafka import Kafka


@asynccontextmanager
async def topics(
    broker: Kafka, *names: str, partitions: int = 4, settings: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """Make the topics, and delete them when the context ends; AssertionError if the broker refuses one."""
    await create_topics(broker, *names, partitions=partitions, settings=settings)
    try:
        yield
    finally:
        await delete_topics(broker, *names)


async def create_topics(
    broker: Kafka, *names: str, partitions: int = 4, settings: Mapping[str, str] | None = None
) -> None:
    """Make the topics; they are served when this returns."""
    wanted = [NewTopic(name, partitions, 1, topic_configs=dict(settings or {})) for name in names]
    async with _admin(broker) as admin:
        answer = await admin.create_topics(wanted)
    refused = [error for error in answer.topic_errors if error[1] != 0]
    assert not refused, f"topics not made: {refused}"


async def delete_topics(broker: Kafka, *names: str) -> None:
    """Delete the topics; one that is gone already is no failure."""
    async with _admin(broker) as admin:
        await admin.delete_topics(list(names))


@asynccontextmanager
async def _admin(broker: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, which has no context of its own."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
