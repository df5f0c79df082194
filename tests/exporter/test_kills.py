"""Exporters that are killed, stopped and multiplied on a real broker show what an uninterrupted one shows.

`make kill-exporter` does this a hundred times.
"""

import contextlib
import re
import signal
from itertools import chain

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer

from events.headers import header
from events.topics import PRODUCTION, REJECTED
from tests.exporter.test_consume import group_offset
from tests.support.exporters import NAMES, Fleet
from tests.support.mortal_exporter import AT_START
from tests.support.topics import delete_topics
from tests.support.waiting import until

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
    """Some of the named points; scraped twenty times a second all the while."""
    for point in ("during state", "reload", "decode", AT_START[0]):
        process = await fleet.start(point, 2, armed=point in AT_START)
        async with fleet.fed_and_scraped():
            if point not in AT_START:
                await fleet.ready(process)
                process.send(signal.SIGUSR1)
            if point == "reload":
                fleet.describe("the same rows in other words")
            await until(lambda process=process: not process.alive, 60, f"its end at {point!r}")
    last = await fleet.start()
    async with fleet.scraped():
        await fleet.ready(last)
        await fleet.same()
    assert fleet.watch.scrapes > 20
    assert fleet.watch.faults == []


async def test_what_was_to_be_sent_on_and_was_not_at_a_kill_is_sent_on_by_the_next_exporter(fleet, kafka):
    """Neither what is committed nor what is written of windows passes a message that nobody has acknowledged."""
    process = await fleet.start("unsent")
    await fleet.ready(process)
    partition, offset = await fleet.poison(b"{unsent")
    async with fleet.fed_and_scraped():

        async def put_off() -> bool:
            text = await fleet.text(process)
            return re.search(r'drift_state_writes_total\{result="failed"\} [1-9]', text) is not None

        await until(put_off, 60, "a round that waits for what is to be sent on")

        async def committed() -> bool:
            return await group_offset(kafka.bootstrap_servers, partition) == offset

        await until(committed, 60, "the message's offset as that of the group")
    await process.end(signal.SIGKILL)
    last = await fleet.start()
    await fleet.ready(last)
    source = f"{PRODUCTION}/{partition}/{offset}"
    consumer = AIOKafkaConsumer(REJECTED, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:

        async def sent_on() -> bool:
            found = chain(*(await consumer.getmany(timeout_ms=100)).values())
            return any(header(each.headers, "shadowdrift_source") == source for each in found)

        await until(sent_on, 30, "the message among the rejected ones")
    finally:
        await consumer.stop()
    await fleet.same()


async def test_one_exporter_three_and_one_again_show_what_an_uninterrupted_one_shows(fleet):
    """Each model has one owner at any moment, and none is shown half-filled."""
    first = await fleet.start()
    await fleet.ready(first)
    async with fleet.fed_and_scraped():
        others = [await fleet.start() for _ in range(2)]

        async def shared() -> bool:
            owned = [await fleet.models(each) for each in (first, *others)]
            return all(owned) and set().union(*owned) == set(NAMES)

        await until(shared, 60, "each of three has a share, and each model an owner")
    await fleet.same()
    async with fleet.fed_and_scraped():
        await others[0].end()
        await others[1].end(signal.SIGKILL)

        async def alone() -> bool:
            return await fleet.models(first) == set(NAMES)

        await until(alone, 60, "one has all again")
    await fleet.same()
    assert fleet.watch.faults == []


async def test_an_exporter_that_slept_while_its_partitions_went_to_another_exposes_nothing(fleet):
    """From the first scrape after it wakes; when it has joined again each model has one owner."""
    sleeper, other = await fleet.start(), await fleet.start()
    await fleet.ready(sleeper)
    await fleet.ready(other)
    async with fleet.fed_and_scraped():

        async def has_a_share() -> set[str]:
            return await fleet.models(sleeper)

        await until(has_a_share, 60, "a share of the models")
        sleeper.send(signal.SIGSTOP)

        async def took_over() -> bool:
            return await fleet.models(other) == set(NAMES)

        await until(took_over, 60, "the other's taking over")
        sleeper.send(signal.SIGCONT)
        assert await fleet.models(sleeper) == set()
        await until(has_a_share, 60, "its share again")
    await fleet.same()
    assert fleet.watch.faults == []
