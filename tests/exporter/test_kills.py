"""Exporters that are killed, stopped and multiplied on a real broker show what an uninterrupted one shows.

`make kill-exporter` does this a hundred times.
"""

import asyncio
import contextlib
import random
import signal

import aiohttp
import pytest

from tests.support.exporters import NAMES, Fleet
from tests.support.mortal_exporter import AT_START, POINTS
from tests.support.topics import delete_topics

ALL_TOPICS = ("inference.production", "inference.shadow", "inference.labels", "inference.rejected", "drift.state")


@pytest.fixture
async def fleet(kafka, tmp_path):
    """No exporter yet."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        fleet = Fleet(tmp_path, kafka.bootstrap_servers, http, seed=1)
        await fleet.open()
        stack.push_async_callback(delete_topics, kafka, *ALL_TOPICS)
        stack.push_async_callback(fleet.close)
        yield fleet


async def test_after_kill_9_at_any_point_the_gauges_are_those_of_an_uninterrupted_run(fleet):
    """Some of the named points, chosen by the seed; scraped twenty times a second all the while."""
    chance = random.Random(2)
    for point in ("during state", *chance.sample(POINTS, 2), AT_START[0]):
        process = await fleet.start(point, chance.randrange(1, 4), armed=point in AT_START)
        async with fleet.fed_and_scraped():
            if point not in AT_START:
                await fleet.ready(process)
                process.send(signal.SIGUSR1)
            await asyncio.wait_for(process.process.wait(), 60)
    last = await fleet.start()
    async with fleet.scraped():
        await fleet.ready(last)
        await fleet.same()
    assert fleet.watch.scrapes > 20
    assert fleet.watch.faults == []
