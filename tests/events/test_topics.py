"""The topics as `shadowdrift topics` makes and checks them, on a real Kafka."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from cli.main import main
from events.brokers import Brokers
from events.topics import (
    LABELS,
    PRODUCTION,
    REJECTED,
    SHADOW,
    STATE,
    TOPIC_OF_ROLE,
    TOPICS,
    TopicsError,
    check,
    unequal_partitions,
)
from tests.support.kafka import Kafka
from tests.support.topics import create_topics, delete_topics
from tests.support.waiting import until

DAY = 24 * 60 * 60 * 1000
SETTINGS: dict[str, dict[str, str]] = {
    PRODUCTION: {"retention.ms": str(90 * DAY), "cleanup.policy": "delete"},
    SHADOW: {"retention.ms": str(30 * DAY), "cleanup.policy": "delete"},
    LABELS: {"retention.ms": str(90 * DAY), "cleanup.policy": "delete"},
    REJECTED: {"retention.ms": str(30 * DAY), "cleanup.policy": "delete"},
    STATE: {
        "cleanup.policy": "compact",
        "segment.bytes": "16777216",
        "segment.ms": "600000",
        "min.cleanable.dirty.ratio": "0.1",
    },
}


async def described(kafka: Kafka) -> tuple[dict[str, int], dict[str, dict[str, str]]]:
    """Every topic's number of partitions, and its settings, as the broker has them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        topics = await admin.describe_topics([name for name in await admin.list_topics() if name in SETTINGS])
        counts = {entry["topic"]: len(entry["partitions"]) for entry in topics}
        found: dict[str, dict[str, str]] = {}
        for name in counts:
            answers: list[Any] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
            found[name] = {entry[0]: entry[1] for answer in answers for entry in answer.resources[0][4]}
        return counts, found
    finally:
        await admin.close()


def remove(kafka: Kafka) -> None:
    """Delete what is there of our topics, and wait until the broker shows none."""

    async def removed() -> None:
        await delete_topics(kafka, *SETTINGS)

        async def none_left() -> bool:
            return not (await described(kafka))[0]

        await until(none_left, 20, "no topic of ours is left")

    asyncio.run(removed())


@pytest.fixture
def config(kafka: Kafka, tmp_path: Path) -> Iterator[str]:
    """A configuration file for the session's broker, which has none of our topics before and after."""
    remove(kafka)
    yield written(tmp_path, kafka.bootstrap_servers)
    remove(kafka)


def written(directory: Path, servers: str) -> str:
    """A configuration file."""
    path = directory / "shadowdrift.yaml"
    path.write_text(
        f"kafka: {{bootstrap_servers: '{servers}'}}\n"
        "models: [{name: fraud, targets: {v1: {url: 'http://127.0.0.1:1'}}, production: v1}]\n"
    )
    return str(path)


def test_the_topics_are_those_of_the_contract() -> None:
    """Five names; a role's events have a topic of their own."""
    assert {topic.name for topic in TOPICS} == set(SETTINGS)
    assert TOPIC_OF_ROLE == {"production": "inference.production", "shadow": "inference.shadow"}


def test_create_makes_all_topics_with_their_settings_and_again_makes_none(
    kafka: Kafka, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the broker says of them afterwards, not what was asked for."""
    assert main(["topics", "--create", "--config", config]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [*(f"made {topic.name}" for topic in TOPICS), "every topic is as it should be"]
    assert err == ""
    counts, found = asyncio.run(described(kafka))
    assert counts == dict.fromkeys(SETTINGS, 4)
    for name, settings in SETTINGS.items():
        assert {key: found[name][key] for key in settings} == settings
    assert main(["topics", "--create", "--partitions", "7", "--config", config]) == 0
    assert capsys.readouterr().out.splitlines() == ["every topic is there already", "every topic is as it should be"]
    assert main(["topics", "--check", "--config", config]) == 0
    assert capsys.readouterr() == ("every topic is as it should be\n", "")
    assert asyncio.run(described(kafka)) == (counts, found)


def test_create_waits_until_the_broker_tells_of_what_it_made(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broker whose lists lag behind, as under load: the check that follows misses nothing."""
    asked = 0
    ask = AIOKafkaAdminClient.list_topics

    async def lagging(admin: AIOKafkaAdminClient) -> list[str]:
        nonlocal asked
        asked += 1
        topics: list[str] = await ask(admin)
        return [name for name in topics if name != STATE] if asked < 9 else topics

    monkeypatch.setattr(AIOKafkaAdminClient, "list_topics", lagging)
    assert main(["topics", "--create", "--config", config]) == 0
    assert capsys.readouterr().err == ""


def test_check_names_every_missing_topic(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, a line each, and nothing is made."""
    for _ in range(2):
        assert main(["topics", "--check", "--config", config]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines() == [
            f"shadowdrift: topic {topic.name} is missing; `shadowdrift topics --create` makes it" for topic in TOPICS
        ]


def test_unequal_partitions_are_told(kafka: Kafka, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that has all counts; a topic that is there is never changed, by --create neither."""
    asyncio.run(create_topics(kafka, SHADOW, partitions=2, settings={"retention.ms": str(30 * DAY)}))
    line = (
        "shadowdrift: topics must have the same number of partitions, but drift.state has 4, inference.labels has 4, "
        "inference.production has 4, inference.rejected has 4, inference.shadow has 2; make the smaller ones larger\n"
    )
    assert main(["topics", "--create", "--config", config]) == 1
    assert capsys.readouterr().err == line
    assert main(["topics", "--check", "--config", config]) == 1
    assert capsys.readouterr() == ("", line)


def test_another_setting_is_told(kafka: Kafka, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The topic, the setting, what it must be and what it is."""
    asyncio.run(create_topics(kafka, LABELS, partitions=4, settings={"retention.ms": "60000"}))
    asyncio.run(create_topics(kafka, STATE, partitions=4))
    assert main(["topics", "--create", "--config", config]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"shadowdrift: topic inference.labels: retention.ms must be {90 * DAY}, got 60000",
        "shadowdrift: topic drift.state: cleanup.policy must be compact, got delete",
        "shadowdrift: topic drift.state: segment.bytes must be 16777216, got 1073741824",
        "shadowdrift: topic drift.state: segment.ms must be 600000, got 604800000",
        "shadowdrift: topic drift.state: min.cleanable.dirty.ratio must be 0.1, got 0.5",
    ]


def test_more_replicas_than_brokers_are_refused_in_one_line(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The broker's own reason, with the topic."""
    assert main(["topics", "--create", "--replication-factor", "3", "--config", config]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("shadowdrift: topic inference.production could not be made: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("action", ["--create", "--check"])
def test_without_a_broker_there_is_one_line(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the address, and comes by itself."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        servers = f"127.0.0.1:{taken.getsockname()[1]}"
    assert main(["topics", action, "--config", written(tmp_path, servers)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"no broker answers at {servers}" in err


def test_a_broker_that_never_answers_is_as_good_as_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection and says nothing; the deadline is the command's own, here cut from 15 s to 1 s."""

    def impatient(**arguments: Any) -> AIOKafkaAdminClient:
        assert arguments["request_timeout_ms"] <= 15_000
        return AIOKafkaAdminClient(**arguments | {"request_timeout_ms": 1000})

    monkeypatch.setattr("events.topics.AIOKafkaAdminClient", impatient)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        servers = f"127.0.0.1:{mute.getsockname()[1]}"
        assert main(["topics", "--check", "--config", written(tmp_path, servers)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert servers in err


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (["--partitions", "0"], "--partitions must be at least 1, got 0"),
        (["--replication-factor", "0"], "--replication-factor must be at least 1, got 0"),
    ],
)
def test_a_number_out_of_range_is_refused(
    option: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is asked of the broker."""
    assert main(["topics", "--create", *option, "--config", written(tmp_path, "127.0.0.1:1")]) == 2
    assert capsys.readouterr() == ("", f"shadowdrift: {line}\n")


def test_equal_counts_are_no_complaint() -> None:
    """Nor is one topic, or none."""
    assert unequal_partitions({}) is None
    assert unequal_partitions({"a": 3}) is None
    assert unequal_partitions({"a": 3, "b": 3}) is None
    assert unequal_partitions({"b": 3, "a": 4}) == (
        "topics must have the same number of partitions, but a has 4, b has 3; make the smaller ones larger"
    )


async def test_a_broker_whose_name_no_resolver_takes_is_told_in_one_line():
    """An empty label is a ValueError to Python, not an error of the network."""
    with pytest.raises(TopicsError, match=r"^no broker answers at kafka\.\.svc:9092; see kafka\.bootstrap_servers$"):
        await check(Brokers("kafka..svc:9092"))
