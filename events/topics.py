"""The topics: their names and settings, how they are made, and whether a cluster has them as they should be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from events.brokers import Brokers, in_words
from events.obstacles import Obstacle

PRODUCTION: Final = "inference.production"
SHADOW: Final = "inference.shadow"
LABELS: Final = "inference.labels"
STATE: Final = "drift.state"
REJECTED: Final = "inference.rejected"

TOPIC_OF_ROLE: Final[Mapping[str, str]] = {"production": PRODUCTION, "shadow": SHADOW}

_DAY_MS: Final = 24 * 60 * 60 * 1000
_LISTED_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Topic:
    """One topic with the settings that it must have; all else is the cluster's own default."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)


TOPICS: Final[tuple[Topic, ...]] = (
    Topic(PRODUCTION, {"retention.ms": str(90 * _DAY_MS)}),
    Topic(SHADOW, {"retention.ms": str(30 * _DAY_MS)}),
    Topic(LABELS, {"retention.ms": str(90 * _DAY_MS)}),
    # Small segments that are cleaned early: a restart reads the whole topic.
    Topic(
        STATE,
        {
            "cleanup.policy": "compact",
            "segment.bytes": str(16 * 1024 * 1024),
            "segment.ms": str(10 * 60 * 1000),
            "min.cleanable.dirty.ratio": "0.1",
        },
    ),
    Topic(REJECTED, {"retention.ms": str(30 * _DAY_MS)}),
)


class TopicsError(Exception):
    """The cluster could not be asked, or refused; the text is one line for the user, `obstacle` a word for a gauge."""

    def __init__(self, obstacle: Obstacle, line: str) -> None:
        super().__init__(line)
        self.obstacle: Obstacle = obstacle


def unequal_partitions(partitions: Mapping[str, int]) -> str | None:
    """One line when topics differ in their number of partitions, else None.

    `partitions` maps a topic's name to its count. A model's events of every topic must meet in one process, and the
    partition is its key's hash modulo the count, so the counts have to be equal.
    """
    if len(set(partitions.values())) <= 1:
        return None
    counts = ", ".join(f"{name} has {count}" for name, count in sorted(partitions.items()))
    return f"topics must have the same number of partitions, but {counts}; make the smaller ones larger"


async def create(brokers: Brokers, partitions: int, replication_factor: int | None = None) -> list[str]:
    """Make the topics that are missing, and return their names. Existing ones stay as they are.

    Without a replication factor each partition has three replicas, or as many as there are brokers.
    """
    admin = await _admin(brokers)
    try:
        if replication_factor is None:
            replication_factor = min(3, len((await admin.describe_cluster())["brokers"]))
        missing = [topic for topic in TOPICS if topic.name not in await admin.list_topics()]
        for topic in missing:
            await _create_one(admin, topic, partitions, replication_factor)
        names = [topic.name for topic in missing]
        await _until_listed(admin, set(names))
        return names
    except KafkaError as error:
        raise TopicsError("topics", f"{brokers} refused to make the topics: {in_words(error)}") from None
    finally:
        await admin.close()


async def _until_listed(admin: AIOKafkaAdminClient, names: Set[str]) -> None:
    """A broker tells of a topic a moment after the controller has made it; without this a check would miss it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LISTED_SECONDS):
            while not names <= set(await admin.list_topics()):  # noqa: ASYNC110 - the cluster's state, not ours
                await asyncio.sleep(0.1)


async def _create_one(admin: AIOKafkaAdminClient, topic: Topic, partitions: int, replication_factor: int) -> None:
    new = NewTopic(topic.name, partitions, replication_factor, topic_configs=dict(topic.settings))
    try:
        response = await admin.create_topics([new])
    except TopicAlreadyExistsError:
        return
    for name, code, *message in response.topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            why = message[0] if message and message[0] else in_words(for_code(code)())
            raise TopicsError("topics", f"topic {name} could not be made: {why}")


async def check(brokers: Brokers) -> list[str]:
    """One line for each thing that is not as it should be: a missing topic, unequal partitions, another setting."""
    admin = await _admin(brokers)
    try:
        partitions = await _partitions(admin)
        lines = [
            f"topic {topic.name} is missing; `shadowdrift topics --create` makes it"
            for topic in TOPICS
            if topic.name not in partitions
        ]
        unequal = unequal_partitions(partitions)
        if unequal:
            lines.append(unequal)
        for topic in TOPICS:
            if topic.name in partitions:
                lines += await _differing_settings(admin, topic)
        return lines
    except KafkaError as error:
        raise TopicsError("topics", f"{brokers} refused to tell of the topics: {in_words(error)}") from None
    finally:
        await admin.close()


async def partitions(brokers: Brokers, needed: Set[str] = frozenset()) -> dict[str, int]:
    """How many partitions each existing topic of ours has.

    The `needed` ones are asked for by name, at which a cluster that makes topics by itself makes them. Raises
    `TopicsError` when no broker answers.
    """
    admin = await _admin(brokers)
    try:
        found = await _partitions(admin)
        if needed - found.keys():
            described = await admin.describe_topics(sorted(needed - found.keys()))
            found |= {entry["topic"]: len(entry["partitions"]) for entry in described if entry["partitions"]}
        return found
    except KafkaError as error:
        raise TopicsError("topics", f"{brokers} refused to tell of the topics: {in_words(error)}") from None
    finally:
        await admin.close()


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    existing = await admin.list_topics()
    wanted = [topic.name for topic in TOPICS if topic.name in existing]
    described = await admin.describe_topics(wanted) if wanted else []
    return {entry["topic"]: len(entry["partitions"]) for entry in described}


async def _differing_settings(admin: AIOKafkaAdminClient, topic: Topic) -> list[str]:
    responses: list[Any] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
    found = {entry[0]: entry[1] for response in responses for resource in response.resources for entry in resource[4]}
    return [
        f"topic {topic.name}: {key} must be {wanted}, got {found.get(key)}"
        for key, wanted in topic.settings.items()
        if found.get(key) != wanted
    ]


async def _admin(brokers: Brokers) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(request_timeout_ms=15_000, **brokers.arguments())
    try:
        await admin.start()
    except (KafkaError, OSError, UnicodeError):
        await admin.close()
        raise TopicsError(*await brokers.obstacle()) from None
    return admin
