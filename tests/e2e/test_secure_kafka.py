"""The whole way over a Kafka that requires TLS, a certificate or a login, and what is said when it refuses."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from events.topics import TOPICS
from tests.conftest import real_kafka_or_skip
from tests.support.secure_kafka import USER, SecureKafka
from tests.support.topics import delete_topics
from tests.support.waiting import until
from tests.support.way import Way, model, rows, running, topics


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """One broker with a listener for each way in."""
    real_kafka_or_skip()
    secure = SecureKafka(tmp_path_factory.mktemp("secure"))
    with secure.kafka:
        yield secure


@pytest.fixture
async def model_url() -> AsyncIterator[str]:
    """The model behind the proxy."""
    async with model() as url:
        yield url


def ways(secure: SecureKafka) -> dict[str, dict[str, Any]]:
    """The configuration's `kafka` for each way in."""
    tls = {"ca_file": str(secure.ca)}
    certificate = {"certificate_file": str(secure.certificate)}

    def login(mechanism: str) -> dict[str, str]:
        return {"mechanism": mechanism, "username": USER, "password_file": str(secure.password_file)}

    return {
        "TLS": secure.section("TLS", tls=tls),
        "mutual TLS": secure.section("MTLS", tls=tls | certificate),
        "PLAIN": secure.section("LOGIN", sasl=login("PLAIN")),
        "SCRAM-SHA-256": secure.section("LOGIN", sasl=login("SCRAM-SHA-256")),
        "SCRAM-SHA-512 over TLS": secure.section("SECURE", tls=tls, sasl=login("SCRAM-SHA-512")),
    }


@pytest.mark.parametrize("way_in", ["TLS", "mutual TLS", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512 over TLS"])
async def test_every_part_takes_each_way_in(way_in: str, secure: SecureKafka, tmp_path: Path, model_url: str) -> None:
    """The command makes the topics, the emitter delivers, the exporter measures."""
    kafka = ways(secure)[way_in]
    assert await asyncio.to_thread(topics, tmp_path, kafka) == 0
    try:
        async with running(tmp_path, model_url, kafka) as way:
            await way.send(rows(50, mean=0, seed=1))
            proxy, exporter = await way.measured()
            assert exporter.total("drift_events_total", role="production") == 50
            assert proxy.total("shadowdrift_kafka_obstacle") == exporter.total("shadowdrift_kafka_obstacle") == 0
    finally:
        await delete_topics(secure.kafka, *(topic.name for topic in TOPICS))


def refused(secure: SecureKafka) -> dict[str, tuple[dict[str, Any], str, str]]:
    """Ways that are refused: the section, the word on the gauge, and what the line says."""
    good = ways(secure)
    wrong = {"mechanism": "PLAIN", "username": USER, "password_file": str(secure.wrong_password_file)}
    wrong_scram = {**wrong, "mechanism": "SCRAM-SHA-512"}
    other = {"ca_file": str(secure.other_ca)}
    return {
        "a wrong password": (secure.section("LOGIN", sasl=wrong), "login", "refuses the login of 'alice' with PLAIN"),
        "a wrong SCRAM password": (
            secure.section("LOGIN", sasl=wrong_scram),
            "login",
            "refuses the login of 'alice' with SCRAM-SHA-512",
        ),
        "another authority": (secure.section("TLS", tls=other), "tls", "the TLS handshake failed"),
        "no broker": ({**good["TLS"], "bootstrap_servers": "127.0.0.1:1"}, "unreachable", "no broker answers at"),
    }


@pytest.mark.parametrize("case", ["a wrong password", "a wrong SCRAM password", "another authority", "no broker"])
async def test_a_refusal_is_one_line_and_a_gauge_and_the_requests_go_on(
    case: str,
    secure: SecureKafka,
    tmp_path: Path,
    model_url: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The command says it; emitter and exporter log it once, show it, and wait; clients are answered all the same."""
    kafka, word, line = refused(secure)[case]
    assert await asyncio.to_thread(topics, tmp_path, kafka, "--check") == 2
    said = capfd.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    async with running(tmp_path, model_url, kafka, exporter_ready=False) as way:
        await way.send(rows(5, mean=0, seed=1))
        await until(lambda: shown(way, word), 30, f"both parts show {word}")
    out, error = capfd.readouterr()
    assert "Traceback" not in out + error
    for part in ("emitter", "exporter"):
        lines = [found for found in out.splitlines() if f'"part":"{part}"' in found and line in found]
        assert len(lines) == 1, out
    for secret in (secure.password_file, secure.wrong_password_file):
        assert secret.read_text() not in out + error


async def shown(way: Way, word: str) -> bool:
    """Whether both parts' gauges say what stands in the way."""
    return all(reading.total("shadowdrift_kafka_obstacle", reason=word) == 1 for reading in await way.readings())


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"sasl": {"mechanism": "PLAIN", "username": "a", "password_file": "nowhere"}}, "password_file: "),
        ({"tls": {"ca_file": "nowhere.pem"}}, "kafka.tls.ca_file: "),
        ({"tls": {"certificate_file": "nowhere.pem"}}, "kafka.tls.certificate_file: "),
    ],
)
def test_a_file_that_is_missing_is_told_with_its_setting(
    section: dict[str, Any], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is tried."""
    assert topics(tmp_path, {"bootstrap_servers": "127.0.0.1:1", **section}, "--check") == 2
    said = capsys.readouterr().err
    assert line in said
    assert "nowhere" in said
    assert said.count("\n") == 1
