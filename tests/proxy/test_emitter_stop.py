"""The emitter comes to its end at whatever point it is asked to, and what Kafka did not take is on disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection

import proxy.emitter.deliver
import proxy.emitter.link
from events.topics import PRODUCTION
from proxy.emitter.link import Link
from tests.proxy.lines import Line, order, read
from tests.support.kafka import Kafka
from tests.support.played_worker import PlayedWorker
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that is missing is found missing soon, and asked for again soon."""
    monkeypatch.setattr(proxy.emitter.link, "REQUEST_TIMEOUT_MS", 100)
    monkeypatch.setattr(proxy.emitter.deliver, "RETRY_SECONDS", 0.05)


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, asyncio.Event]]:
    """Set when a link begins to start, and when it begins to end."""
    seen = {"start": asyncio.Event(), "close": asyncio.Event()}
    start, close = Link.start, Link.close

    async def starting(link: Link) -> Any:
        seen["start"].set()
        return await start(link)

    def closing(link: Link) -> asyncio.Task[None]:
        seen["close"].set()
        return close(link)

    monkeypatch.setattr(Link, "start", starting)
    monkeypatch.setattr(Link, "close", closing)
    return seen


async def stopped(made: Line) -> None:
    """Stop it; what waited is on disk, nothing is lost, and no task of a link is left."""
    stop = asyncio.create_task(made.stop())
    await asyncio.wait({stop}, timeout=30)
    assert stop.done(), f"the stop hangs: {made.delivery._tasks}"
    stop.result()
    made.check_law()
    assert made.number("events_waiting") == made.number("events_spooled") == 10
    left = [task for task in asyncio.all_tasks() if "aiokafka" in task.get_coro().cr_code.co_filename]  # type: ignore[union-attr]
    await until(lambda: all(task.done() for task in left), what="aiokafka's tasks to end")


POINTS = [*(("close", turns) for turns in range(12)), *(("start", turns) for turns in range(0, 10, 2))]


@pytest.mark.parametrize(("moment", "turns"), POINTS)
async def test_a_stop_at_any_turn_of_a_links_end_is_heard(
    kafka: Kafka, tmp_path: Path, moments: dict[str, asyncio.Event], moment: str, turns: int
) -> None:
    """Topics are missing, so that links come and go. aiokafka swallows a cancellation in two turns of its own end,
    and the delivery would go on for ever while the stop waited for it."""
    made = Line(kafka.bootstrap_servers, tmp_path)
    made.delivery.start()
    made.take(0, 10)
    await asyncio.wait_for(moments[moment].wait(), 60)
    for _ in range(turns):
        await asyncio.sleep(0)
    await stopped(made)


async def test_a_connection_that_does_not_close_neither_ends_the_delivery_nor_holds_up_the_stop(
    topics: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a broker no longer reads: what is written to it cannot leave. aiokafka's second attempt to close would
    end as if the delivery itself had been cancelled."""
    monkeypatch.setattr(proxy.emitter.link, "CLOSE_SECONDS", 0.1)
    close = AIOKafkaConnection.close
    never: list[asyncio.Future[None]] = []

    def closes_never(connection: AIOKafkaConnection, *arguments: Any, **named: Any) -> asyncio.Future[None]:
        close(connection, *arguments, **named)
        if not never:
            never.append(asyncio.get_running_loop().create_future())
        return never[0]

    made = Line(topics.bootstrap_servers, tmp_path)
    made.delivery.start()
    with monkeypatch.context() as patched:
        patched.setattr(AIOKafkaConnection, "close", closes_never)
        made.take(0, 10)
        await made.delivers(10)
        assert made.delivery._link is not None
        await made.delivery._unlink(made.delivery._link)
        assert never[0].cancelled()
        made.take(10, 10)
        await made.delivers(20)
        stop = asyncio.create_task(made.stop())
        await asyncio.wait({stop}, timeout=30)
        assert stop.done()
    assert order(await read(topics, PRODUCTION, 20)) == list(range(20))


async def test_an_emitter_whose_disk_hangs_is_gone_within_its_bound(tmp_path: Path) -> None:
    """By itself, whoever started it is still there or not: the supervisor counts what a process leaves."""
    emitter = PlayedWorker(tmp_path, "127.0.0.1:1", drain_timeout="1.5s")
    segments = tmp_path / "state" / "spool" / "production.fraud"
    segments.mkdir(parents=True)
    os.mkfifo(segments / "1.segment")
    async with emitter:
        # It opens what has no end; then it fails, since that is no file, and opens it again a second later, for good.
        await until(
            lambda: os.close(os.open(segments / "1.segment", os.O_WRONLY | os.O_NONBLOCK)) is None,
            60,
            "the emitter to read its spool",
            tolerating=(OSError,),
        )
        await until(lambda: emitter.total("shadowdrift_spool_obstacle") == 1, 60, "it to fail")
        assert await emitter.stop(worker_stays=True) == 1
