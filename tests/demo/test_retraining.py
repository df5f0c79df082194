"""The parts of the closed loop: what is trained on, who starts a training, and what is made of the figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from demo.delivery import Alert
from demo.flights import Halves
from demo.labelled import read, turned_round, write
from demo.parts import MODEL
from demo.retraining.figures import Asked, Figures
from demo.retraining.hook import Hook, Training, serve_version
from demo.retraining.plan import LEAST_ROWS, MOST, ROWS, Plan, phases
from demo.retraining.recent import Joined, NotEnoughError, labelled
from demo.retraining.trend import trend
from events.brokers import Brokers
from events.codec import encode
from events.inference import InferenceEvent, Instance
from events.labels import LabelsEvent
from events.partitions import partition_of
from events.topics import LABELS, PRODUCTION
from lifecycle.refusal import Refusal
from tests.support.waiting import until

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def answered(name: str, at: float = 100.0, rows: int = 1, **changes: Any) -> InferenceEvent:
    """Production's answer to a request of so many flights."""
    instances = [Instance(features={"temp": 70 + place, "carrier": "UA"}, prediction=0.5) for place in range(rows)]
    fields: dict[str, Any] = {
        "id": name, "request_id": name, "role": "production", "model": MODEL, "version": "v2", "tenant": None,
        "time": at, "latency_seconds": 0.01, "status": 200, "outcome": "ok",
        "fraction": 0.05, "sampled": False, "truncated": False,
    }  # fmt: skip
    return InferenceEvent(**{**fields, "instances": instances, **changes})


def known(name: str, *labels: Any, at: float = 103.0, model: str = MODEL) -> LabelsEvent:
    """What turned out to be true of it."""
    return LabelsEvent(id=name, model=model, time=at, labels=list(labels))


def test_an_answer_and_its_label_make_a_row_whichever_comes_first() -> None:
    """With the truth beside the features."""
    joined = Joined(MODEL, 100.0)
    joined.answer(answered("one"))
    joined.label(known("two", 0))
    joined.label(known("one", 1))
    joined.answer(answered("two"))
    assert joined.rows == [{"temp": 70, "carrier": "UA", "late": True}, {"temp": 70, "carrier": "UA", "late": False}]


def test_what_is_no_ground_to_train_on_is_left_out() -> None:
    """Too old, another model's, failed, of unequal number, unknown."""
    joined = Joined(MODEL, 100.0)
    joined.answer(answered("old", at=99.0))
    joined.answer(answered("failed", outcome="error"))
    joined.answer(answered("other", model="fraud"))
    joined.answer(answered("unequal", rows=2))
    joined.answer(answered("half", rows=2))
    for name in ("old", "failed", "unequal"):
        joined.label(known(name, 1))
    joined.label(known("other", 1, model="fraud"))
    joined.label(known("half", None, 0))
    assert joined.rows == [{"temp": 71, "carrier": "UA", "late": False}]


def test_what_kafka_holds_twice_counts_once_and_a_word_is_no_truth() -> None:
    """It delivers at least once; the first labels of an answer are those that count."""
    joined = Joined(MODEL, 100.0)
    for label in (1, 1, 0):
        joined.answer(answered("one"))
        joined.label(known("one", label))
    for label in (0, 1):
        joined.label(known("two", label))
    for name in ("two", "two", "three"):
        joined.answer(answered(name))
    joined.label(known("three", "on time"))
    assert [row["late"] for row in joined.rows] == [True, False]


def test_what_waits_is_bounded() -> None:
    """The oldest goes first."""
    joined = Joined(MODEL, 0.0, most=2)
    for name in ("one", "two", "three"):
        joined.answer(answered(name))
    for name in ("one", "two", "three"):
        joined.label(known(name, 1))
    assert len(joined.rows) == 2


async def test_recent_rows_are_read_out_of_kafka(broker: str) -> None:
    """By a consumer without a group, from both topics; it waits for what has yet to come."""
    from aiokafka import AIOKafkaProducer

    now = time.time()
    partition = partition_of(MODEL, 4)
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:

        async def send(topic: str, value: bytes) -> None:
            await producer.send_and_wait(topic, value, key=MODEL.encode(), partition=partition)

        await send(PRODUCTION, b"no event")
        for place in range(5):
            await send(PRODUCTION, encode(answered(f"r{place}", at=now)))
        await send(LABELS, encode(known("r0", 1, at=now)))
        reading = asyncio.create_task(labelled(Brokers(broker), MODEL, now - 1, 2, 60.0))
        await send(LABELS, encode(known("r3", 0, at=now)))
        assert [row["late"] for row in await reading] == [True, False]
    with pytest.raises(NotEnoughError, match="2 labelled rows in 1 s, 3 are needed"):
        await labelled(Brokers(broker), MODEL, now - 1, 3, 1.0)


@pytest.fixture
async def broker() -> AsyncIterator[str]:
    """The development broker's address."""
    from lifecycle.tether import Child

    child = await Child.start("development broker", "up.development_broker")
    try:
        yield str((await child.ready())["bootstrap_servers"])
    finally:
        await child.stop(5)


class Trainer:
    """Trains when it is let."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.fails: Exception | None = None
        self.seen: list[Training] = []

    async def __call__(self, training: Training) -> None:
        self.seen.append(training)
        await self.may.wait()
        if self.fails is not None:
            raise self.fails
        training.state = "serves"


async def test_a_trend_starts_one_training_however_often_it_is_told() -> None:
    """Over HTTP, as Alertmanager tells it; a resolved alert and any other start none."""
    trainer = Trainer()
    hook = Hook(trainer, before=3600.0)
    async with TestClient(TestServer(hook.application())) as client:

        async def post(delivery: dict[str, Any], status: int = 200) -> Any:
            async with client.post("/retraining", json=delivery) as answer:
                assert answer.status == status
                return (await answer.json())["training"]

        assert await post({**trend(NOW), "status": "resolved"}) is None
        assert await post({"status": "firing", "alerts": [{"labels": {"model": MODEL, "action": "rollback"}}]}) is None
        assert await post(trend(NOW)) == "v3"
        assert await post(trend(NOW)) is None
        assert await post(trend(NOW + timedelta(days=1)), 503) is None  # one runs: Alertmanager has to send it again
        await until(lambda: trainer.seen)
        assert trainer.seen[0].since == (NOW - timedelta(hours=1)).timestamp()
        trainer.may.set()

        async def state() -> Any:
            async with client.get("/") as answer:
                return [(each["version"], each["state"]) for each in (await answer.json())["trainings"]]

        await until(lambda: hook.running is not None and hook.running.done())
        assert await post(trend(NOW)) is None  # the same alert, a day later
        assert await post(trend(NOW + timedelta(days=1))) == "v4"
        await until(lambda: hook.running is not None and hook.running.done())
        assert await state() == [("v3", "serves"), ("v4", "serves")]
        await hook.finish()


async def test_a_delivery_of_several_models_is_asked_for_again_until_each_has_had_its_turn() -> None:
    """One training runs at a time, and none of them is forgotten for a day."""
    trainer = Trainer()
    trainer.may.set()
    hook = Hook(trainer, before=0.0)
    both = {"status": "firing", "alerts": [*trend(NOW)["alerts"], *trend(NOW)["alerts"]]}
    both["alerts"][1] = {**both["alerts"][1], "labels": {"model": "another", "action": "retrain"}}
    async with TestClient(TestServer(hook.application())) as client:
        said = []
        for _ in range(3):
            async with client.post("/retraining", json=both) as answer:
                said.append((answer.status, (await answer.json())["training"]))
            await until(lambda: hook.running is not None and hook.running.done())
    assert said == [(503, "v3"), (200, "v4"), (200, None)]
    assert [training.model for training in hook.trainings] == [MODEL, "another"]


@pytest.mark.parametrize(
    "error", [NotEnoughError("3 labelled rows"), Refusal("no"), ValueError("no"), OSError("full"), KeyError("a fault")]
)
async def test_a_training_that_fails_is_told(error: Exception) -> None:
    """And the same alert may try again."""
    trainer = Trainer()
    trainer.fails = error
    trainer.may.set()
    hook = Hook(trainer, before=0.0)
    async with TestClient(TestServer(hook.application())) as client:
        async with client.post("/retraining", json=trend(NOW)) as answer:
            assert answer.status == 200
        await until(lambda: hook.trainings[0].state == "failed")
        assert str(error) in hook.trainings[0].why
        alert = Alert({"model": MODEL, "action": "retrain"}, NOW)  # the same, a day later
        await until(lambda: hook.wanted([alert], NOW.timestamp()) is not None)
        nowhere = trend(NOW)["alerts"][0] | {"startsAt": "0001-01-01T00:00:00"}
        for body in (b"[]", msgspec.json.encode({"status": "firing", "alerts": [nowhere]})):
            async with client.post("/retraining", data=body) as answer:
                assert answer.status == 400


async def test_a_version_is_fitted_on_a_file_of_flights_and_knows_them(tmp_path: Path, halves: Halves) -> None:
    """In a process of its own, which also writes what its reference profile is made of."""
    flights = halves.july.take(np.arange(3000))
    rows = [{**row, "late": late} for row, late in zip(flights.rows(), flights.late.tolist(), strict=True)]
    recent, trained_on = tmp_path / "v3.jsonl", tmp_path / "v3-training.jsonl"
    write(rows, recent)
    with (tmp_path / "log").open("wb") as log:
        child = await serve_version("v3", recent, trained_on, 1, log)
        try:
            told = await child.ready()
            assert (told["model"], told["rows"]) == ("v3", 2400)
            assert told["auc"] > 0.6
            url = f"http://127.0.0.1:{told['port']}/predict"
            asked = flights.rows()[0]
            async with aiohttp.ClientSession() as session, session.post(url, json=asked) as answer:
                said = (await answer.json())["prediction"]
        finally:
            await child.stop(5)
    written = trained_on.read_text().splitlines()
    assert len(written) == 3000
    assert f'"prediction":{said}' in written[0]


async def test_flights_that_are_all_late_train_nothing(tmp_path: Path) -> None:
    """One line says so."""
    write([{"temp": 70, "late": True}] * 100, tmp_path / "v3.jsonl")
    child = await serve_version("v3", tmp_path / "v3.jsonl", tmp_path / "out.jsonl", 1)
    try:
        with pytest.raises(Refusal, match="model v3 cannot start"):
            await child.ready()
    finally:
        await child.stop(5)


def test_labelled_flights_come_back_as_they_were_written(tmp_path: Path) -> None:
    """With types; turned round, only the truth is another. What is no such file is refused in one line."""
    path = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [
        {"hour": 5, "temp": 70.5, "carrier": None},
        {"hour": 6, "temp": None, "carrier": "UA"},
    ]
    write(({**row, "late": late} for row, late in zip(rows, (True, False), strict=True)), path)
    assert read(path) == (rows, [True, False])
    write(turned_round(*read(path)), path)
    assert read(path) == (rows, [False, True])
    path.write_text('{"hour": 5}\n')
    with pytest.raises(ValueError, match="not labelled rows"):
        read(path)


def test_no_version_is_judged_by_flights_that_it_was_trained_on(halves: Halves) -> None:
    """July's halves share none, and are all of July."""
    of = phases(halves, 1)
    assert len(of.july) + len(of.july_unseen) == len(halves.july)
    marks = [each.columns["distance"] * 2 + each.late for each in (of.july, of.july_unseen, halves.july)]
    assert np.array_equal(np.sort(np.concatenate(marks[:2])), np.sort(marks[2]))
    assert len(of.winter) == len(halves.traffic)


def test_the_less_time_the_more_is_cloned() -> None:
    """Within bounds."""
    assert Plan(1, 150.0).fraction == 0.1
    assert Plan(1, 100.0).fraction == 0.15
    assert Plan(1, 20.0).fraction == MOST
    assert (Plan(1, 20.0).rows, Plan(1, 150.0).rows, Plan(1, 1000.0).rows) == (LEAST_ROWS, ROWS, ROWS)


def refused(*rules: str, version: str = "v3") -> Asked:
    """An order that was refused for these."""
    return Asked(version, False, tuple({"rule": rule, "text": rule, "value": 1, "limit": 2} for rule in rules), "")


def good() -> Figures:
    """A run as it should be."""
    figures = Figures(1, 0.1, accuracy={"before": 0.8, "during": 0.72, "after": 0.78}, requests=10)
    for asked in (refused("too_few_pairs", "features"), refused("too_few_labels"), Asked("v3", True, (), "")):
        assert figures.note(asked)
    figures.worse = refused("accuracy", "disagreement", version="v4")
    return figures


def test_a_good_run_has_no_surprises() -> None:
    """And its line holds the reasons with their numbers; the same reasons again are no news."""
    figures = good()
    assert figures.surprises() == []
    assert figures.line()["promotions"][0]["reasons"][0] == {
        "rule": "too_few_pairs", "text": "too_few_pairs", "value": 1, "limit": 2,
    }  # fmt: skip
    assert figures.refused == 2
    assert not Figures(1, 0.1, asked=[refused("latency")]).note(refused("latency"))
    assert "80.0% before, 72.0% during, 78.0% after" in figures.summary()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"accuracy": {"before": 0.7, "during": 0.72, "after": 0.78}}, "the drift cost no accuracy"),
        ({"accuracy": {"before": 0.8, "during": 0.72, "after": 0.71}}, "brought no accuracy back"),
        ({"asked": [Asked("v3", True, (), "")]}, "was not refused for want of evidence"),
        ({"asked": [refused("too_few_pairs")]}, "was never promoted"),
        ({"worse": None}, "the worse version was not refused"),
        ({"worse": refused("too_few_labels", "accuracy")}, "the worse version was not refused"),
        ({"worse": refused("latency")}, "the worse version was not refused"),
        ({"failed": 3}, "3 requests failed"),
        ({"lost": 2}, "2 captured answers"),
        ({"broken": ["a = b"]}, "a conservation law did not hold: a = b"),
        ({"missed": "not within 9 s: pairs"}, "not within 9 s: pairs"),
    ],
)
def test_what_is_not_as_it_should_be_is_told(change: dict[str, Any], line: str) -> None:
    """In one line."""
    figures = good()
    for name, value in change.items():
        setattr(figures, name, value)
    (found,) = figures.surprises()
    assert line in found
