"""Processes that are told things, and the live model and traffic that are such processes."""

import json
import random
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.live_model import predict
from tests.support.live_traffic import rows
from tests.support.told import Told
from tests.support.waiting import until_sync


@contextmanager
def started(module: str, *arguments: str) -> Iterator[tuple[Told, dict[str, object]]]:
    """Such a process, and what it has announced."""
    told = Told(f"tests.support.{module}", *arguments)
    try:
        yield told, told.announced()
    finally:
        told.stop()


@pytest.fixture
def model() -> Iterator[tuple[Told, str]]:
    """One that looks at the amount, and is off by 0.5; and its address."""
    with started("live_model", "--looks-at", "amount", "--bias", "0.5") as (told, announced):
        yield told, f"http://127.0.0.1:{announced['port']}"


def ask(url: str, row: dict[str, object], headers: dict[str, str]) -> float:
    """The model's prediction."""
    sent = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"{url}/predict", json.dumps(row).encode(), sent)  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return float(json.load(answer)["prediction"])


def test_a_model_tells_who_asked_it_and_when_and_clones_are_nobody(model: tuple[Told, str]) -> None:
    """The first and the last time, by the clock that everybody has."""
    told, url = model
    assert told.ask() == {"count": 0, "first": None, "last": None}
    row = {"amount": 90.0, "country": "DE"}
    assert ask(url, row, {"X-Shadowdrift-Clone": "1"}) == ask(url, row, {}) == predict(row, "amount", 0.5) == 0.95
    ask(url, row, {})
    asked = told.ask()
    assert asked["count"] == 2
    assert asked["first"] < asked["last"]


def test_traffic_goes_over_to_other_rows_and_rates_and_ends_with_every_answer(model: tuple[Told, str]) -> None:
    """What was sent was asked: no request is lost, and none is told of that was not sent."""
    told, url = model
    with started("live_traffic", url, "--rate", "500") as (traffic, _):
        until_sync(lambda: told.ask()["count"] >= 100, 30, "some requests")
        before = traffic.ask()
        moved = traffic.ask(shift=30.0)
        assert before["at"] < moved["first"] <= moved["at"]
        assert before["sent"] <= moved["before"] < moved["sent"]
        traffic.ask(rate=5.0)
        until_sync(lambda: traffic.ask()["sent"] > before["sent"] + 2, 30, "more of them")
        ended = traffic.ask(stop=True)
        assert (ended["failed"], ended["sent"]) == (0, told.ask()["count"])


def test_a_process_that_cannot_start_is_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    """With its exit code; why stands on standard error."""
    told = Told("tests.support.live_model", "--looks-at", "the moon", "--bias", "0")
    with pytest.raises(RuntimeError, match=r"tests\.support\.live_model has ended with exit code 2"):
        told.announced()
    told.stop()
    assert "the moon" in capfd.readouterr().err


def test_rows_move_by_what_was_asked() -> None:
    """The mean, and nothing else of them."""
    normal, moved = (rows(5000, random.Random(1), shift) for shift in (0.0, 15.0))
    assert {row["country"] for row in moved} == {"DE", "FR", "IT"}
    for before, after in zip(normal, moved, strict=True):
        assert after["amount"] - before["amount"] == pytest.approx(15.0)
