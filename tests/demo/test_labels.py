"""The demo's truth, told late, against a small exporter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from demo.labels import DELAY_SECONDS, LateLabels
from tests.support.waiting import until


class Exporter:
    """Keeps the label events it was sent, unless it refuses them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.status = 202
        self.asked = 0
        self.url = ""

    async def labels(self, request: web.Request) -> web.Response:
        """`POST /labels`."""
        self.asked += 1
        if self.status == 202:
            self.events += await request.json()
        return web.json_response({}, status=self.status)


@pytest.fixture
async def exporter() -> AsyncIterator[Exporter]:
    """One that listens."""
    recorder = Exporter()
    application = web.Application()
    application.router.add_post("/labels", recorder.labels)
    async with TestServer(application) as running:
        recorder.url = str(running.make_url("")).rstrip("/")
        yield recorder


async def test_the_truth_is_told_some_seconds_late(exporter: Exporter) -> None:
    """Not before; one label for the one instance of a request."""
    now = 100.0
    labels = LateLabels(exporter.url, "flights", lambda: now)
    labels.learn("id-1", True)
    now += 1
    labels.learn("id-2", False)
    async with aiohttp.ClientSession() as session:
        running = asyncio.create_task(labels.run(session))
        now = 100.0 + DELAY_SECONDS
        await until(lambda: labels.sent == 1)
        now += 1
        await until(lambda: labels.sent == 2)
        running.cancel()
    told = [(event["id"], event["model"], event["labels"]) for event in exporter.events]
    assert told == [("id-1", "flights", [1]), ("id-2", "flights", [0])]


async def test_what_the_exporter_does_not_take_is_sent_again(exporter: Exporter) -> None:
    """Kafka may be away for a moment; at the end nothing is left."""
    labels = LateLabels(exporter.url, "flights")
    for number in range(2_500):
        labels.learn(f"id-{number}", bool(number % 3))
    exporter.status = 503
    async with aiohttp.ClientSession() as session:
        finishing = asyncio.create_task(labels.finish(session))
        await until(lambda: exporter.asked > 0)
        assert labels.sent == 0
        exporter.status = 202
        assert await finishing
    assert [event["id"] for event in exporter.events] == [f"id-{number}" for number in range(2_500)]
    assert labels.sent == 2_500


async def test_an_exporter_that_is_gone_holds_nobody_up() -> None:
    """The demo ends, and says that there were no labels."""
    now = iter(range(100))
    labels = LateLabels("http://127.0.0.1:9", "flights", lambda: float(next(now)))
    labels.learn("id-1", True)
    async with aiohttp.ClientSession() as session:
        assert not await labels.finish(session)
