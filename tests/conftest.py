"""Fixtures for every test: the real parts, and an end to each test that hangs."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.kafka import Kafka, missing
from tests.support.real_parts import nothing_left_out

# The same examples in every run, however busy the machine: what fails once fails again.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

LONGEST_SECONDS = 300
"""A test that takes longer hangs; nearly all take less than a minute. A module may set its own."""


@pytest.fixture(autouse=True)
def _no_hanging(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that hangs, again and again until it gives up: one that waits for ever would hold up all others."""
    longest = getattr(request.module, "LONGEST_SECONDS", LONGEST_SECONDS)

    def give_up(*_: object) -> None:
        raise TimeoutError(f"the test hangs: {longest} s are over")

    former = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, longest, 10)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The session's real broker. A test makes and deletes its own topics, and leaves it running."""
    yield from _broker(tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Kafka]:
    """A real broker for one test that stops, kills or restarts it: about four seconds dearer than `kafka`."""
    yield from _broker(tmp_path / "kafka")


def _broker(folder: Path) -> Iterator[Kafka]:
    """A running broker."""
    real_kafka_or_skip()
    with Kafka(folder) as broker:
        yield broker


def real_kafka_or_skip() -> None:
    """Without its parts a skip that says why, or a failure where nothing may be left out."""
    reason = missing()
    if reason is not None and nothing_left_out():
        pytest.fail(f"left out: {reason}", pytrace=False)
    if reason is not None:
        pytest.skip(f"no real Kafka: {reason}")
