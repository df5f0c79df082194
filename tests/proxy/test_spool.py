"""Kafka away: events wait on disk, in their order, over crashes and restarts, within the bound and not beyond it."""

from __future__ import annotations

import asyncio
import logging
import random
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import proxy.emitter.disk
import proxy.emitter.link
import proxy.emitter.segments
import proxy.emitter.spool
import proxy.emitter.spool_lock
from configuration.brokers import brokers_of
from events.obstacles import OBSTACLES
from events.topics import PRODUCTION, SHADOW, create
from proxy.emitter.segments import HEAD
from proxy.frames import encode_frame
from proxy.layout import LOSS_REASONS
from tests.proxy.lines import LABELS, Line, line, order, read, read_all
from tests.proxy.test_segments import FullDisk
from tests.support.kafka import Kafka
from tests.support.played_worker import PlayedWorker, exchange
from tests.support.waiting import until

NOBODY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events go to disk at once, and what failed is tried again soon."""
    monkeypatch.setattr(proxy.emitter.spool, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(proxy.emitter.spool, "SPILL_SECONDS", 0.01)
    monkeypatch.setattr(proxy.emitter.spool, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(proxy.emitter.spool, "LOCK_SECONDS", 0.02)


@asynccontextmanager
async def away(folder: Path, **bounds: Any) -> AsyncIterator[Line]:
    """A line whose Kafka is not there, with its spool open."""
    async with line(NOBODY, folder, **bounds) as made:
        await until(lambda: made.number("spool_read") == 1, what="the spool")
        yield made


async def spooled(made: Line, count: int) -> None:
    """Wait until so many are on disk."""
    await until(lambda: made.check_law() is None and made.number("events_spooled") == count, what=f"{count} on disk")


async def settled(made: Line, taken: int) -> None:
    """Wait until all that was taken is on disk, or something stands in the way."""
    await until(
        lambda: made.spool._obstacles.standing or made.number("events_spooled") == taken,
        what=f"{taken} on disk, or why not",
    )


def lost(made: Line) -> dict[str, int]:
    """What is lost, by reason."""
    found = {reason: made.number("events_lost_total", *LABELS, reason) for reason in LOSS_REASONS}
    return {reason: count for reason, count in found.items() if count}


async def test_what_a_run_leaves_the_next_one_delivers_in_order_before_its_own(topics: Kafka, tmp_path: Path) -> None:
    """Of both roles, over two runs without Kafka; afterwards nothing is left on disk."""
    async with away(tmp_path) as first:
        first.take(0, 300)
        await spooled(first, 300)
        first.take(300, 200)
        first.take(0, 40, role="shadow", version="v1")
    assert first.number("events_waiting") == 500
    assert lost(first) == {}
    async with away(tmp_path) as second:
        assert second.number("events_recovered") == second.number("events_spooled") == 500
        assert second.number("events_recovered", "fraud", "shadow") == 40
        second.take(500, 100)
    async with line(topics.bootstrap_servers, tmp_path) as third:
        third.take(600, 50)
        await third.delivers(650)
        await until(lambda: third.number("events_delivered_total", "fraud", "shadow") == 40, what="the shadow's")
        await until(lambda: third.number("events_spooled_bytes") == 0, what="an empty spool")
        third.check_law()
    assert order(await read(topics, PRODUCTION, 650)) == list(range(650))
    assert order(await read(topics, SHADOW, 40)) == list(range(40))
    assert [path.name for path in (tmp_path / "spool").rglob("*.segment")] == []


async def test_live_events_queue_behind_the_replay(topics: Kafka, tmp_path: Path) -> None:
    """While the old ones are delivered new ones come, and none overtakes."""
    async with away(tmp_path) as first:
        for start in range(0, 20_000, 1000):
            first.take(start, 1000)
            await spooled(first, start + 1000)
    async with line(topics.bootstrap_servers, tmp_path) as second:
        count = 20_000
        while second.number("events_delivered_total") < 20_000:
            second.take(count, 100)
            count += 100
            await asyncio.sleep(0)
        await second.delivers(count)
    assert order(await read(topics, PRODUCTION, count)) == list(range(count))


async def test_above_its_bound_the_newest_are_lost_and_the_rest_arrives(
    topics: Kafka, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk's bound, then memory's; one line in the log, and a gauge; then room comes free, and all goes on."""
    caplog.set_level(logging.INFO, "shadowdrift")
    bound = 600_000
    async with away(tmp_path, max_bytes=bound, limit=100_000) as first:
        taken = 0
        while not lost(first):
            first.take(taken, 20)
            taken += 20
            await settled(first, taken)
        assert lost(first).keys() == {"spool_full"}
        assert first.number("shadowdrift_spool_obstacle", "bound") == 1
        assert bound - 100_000 < first.number("events_spooled_bytes") <= bound
        assert caplog.text.count("the spool is full") == 1
        kept = first.number("events_waiting")
    assert first.number("events_lost_total", *LABELS, "shutdown") == kept - first.number("events_spooled")
    on_disk = first.number("events_spooled")
    async with line(topics.bootstrap_servers, tmp_path, max_bytes=bound, limit=100_000) as second:
        await second.delivers(on_disk)
        assert second.number("shadowdrift_spool_obstacle", "bound") == 0
        second.take(taken, 10)
        await second.delivers(on_disk + 10)
    assert order(await read(topics, PRODUCTION, on_disk + 10)) == [*range(on_disk), *range(taken, taken + 10)]


async def test_without_a_spool_memory_alone_holds_events(tmp_path: Path) -> None:
    """`max_bytes: 0` writes nothing."""
    async with away(tmp_path, max_bytes=0) as made:
        made.take(0, 50)
        await until(lambda: made.number("shadowdrift_spool_obstacle", "bound") == 1, what="the gauge")
        assert (made.number("events_spooled"), made.number("events_waiting")) == (0, 50)
    assert lost(made) == {"shutdown": 50}


async def test_a_full_disk_is_told_once_and_recovers_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Meanwhile memory holds events up to its bound, then they are lost with their reason; nothing spins."""
    caplog.set_level(logging.INFO, "shadowdrift")
    disk = FullDisk(5_000)
    attempts = 0

    def pwrite(*arguments: Any) -> int:
        nonlocal attempts
        attempts += 1
        return disk(*arguments)

    async with away(tmp_path, limit=50_000) as made:
        fake = type("Os", (), {**vars(proxy.emitter.segments.os), "pwrite": staticmethod(pwrite)})
        monkeypatch.setattr(proxy.emitter.segments, "os", fake)
        monkeypatch.setattr(proxy.emitter.disk, "_try_to_write", lambda _: disk(-1, b"x", 0))
        monkeypatch.setattr(proxy.emitter.spool, "RETRY_SECONDS", 0.2)
        taken = 0
        while not lost(made):
            made.take(taken, 5)
            taken += 5
            await settled(made, taken)
        before = attempts
        assert lost(made).keys() == {"spool_failed"}
        assert caplog.text.count("the spool cannot be used") == 1
        await until(lambda: attempts > before + 1, what="another attempt")
        assert caplog.text.count("the spool cannot be used") == 1
        disk.room = 10**9
        await spooled(made, taken - lost(made)["spool_failed"])
        assert made.number("shadowdrift_spool_obstacle", "disk") == 0
        assert caplog.text.count("the spool takes events again") == 1


async def test_a_disk_that_fails_while_nothing_waits_is_tried_until_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the gauge would stand for ever."""
    monkeypatch.setattr(proxy.emitter.spool, "PATIENCE_SECONDS", 1000.0)
    works = False

    def try_to_write(_: Path) -> None:
        if not works:
            raise OSError(30, "Read-only file system")

    async with away(tmp_path) as made:
        monkeypatch.setattr(proxy.emitter.disk, "_try_to_write", try_to_write)
        made.spool._fail(OSError(28, "No space left on device"))
        assert made.number("shadowdrift_spool_obstacle", "disk") == 1
        works = True
        await until(lambda: made.number("shadowdrift_spool_obstacle", "disk") == 0, what="the gauge's end")


async def test_a_directory_that_cannot_be_made_holds_nothing_back(
    topics: Kafka, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Events are delivered without a spool, and it is opened as soon as it can be."""
    caplog.set_level(logging.INFO, "shadowdrift")
    obstacle = tmp_path / "spool"
    obstacle.write_text("a file")
    async with line(topics.bootstrap_servers, tmp_path) as made:
        made.take(0, 100)
        await made.delivers(100)
        assert made.number("shadowdrift_spool_obstacle", "disk") == 1
        assert caplog.text.count("the spool cannot be used") == 1
        obstacle.unlink()
        await until(lambda: made.number("spool_read") == 1, what="the spool")
        assert made.number("shadowdrift_spool_obstacle", "disk") == 0
    assert (obstacle.stat().st_mode & 0o777) == 0o700


async def test_the_lock_passes_from_an_emitter_to_the_next_with_all_it_has(topics: Kafka, tmp_path: Path) -> None:
    """Until then the next one holds its own in memory, and loses what that has no room for; no event overtakes."""
    async with away(tmp_path) as old:
        old.take(0, 100)
        async with line(topics.bootstrap_servers, tmp_path, limit=100_000) as new:
            new.take(100, 50)
            await until(lambda: new.counters.cells is not None and not new.spool.readable.is_set())
            assert (new.number("spool_read"), new.number("events_delivered_total")) == (0, 0)
            assert new.number("shadowdrift_spool_obstacle", "held") == 0
            old.take(150, 0)
            await old.stop()
            assert old.number("events_waiting") == 100
            await until(lambda: new.number("spool_read") == 1, what="the lock")
            assert new.number("events_recovered") == 100
            await new.delivers(150)
    assert order(await read(topics, PRODUCTION, 150)) == list(range(150))


async def test_what_comes_while_another_has_the_lock_is_bounded(tmp_path: Path) -> None:
    """Memory's bound, with a reason of its own."""
    async with away(tmp_path), line(NOBODY, tmp_path, limit=20_000) as new:
        new.take(0, 100)
        assert lost(new).keys() == {"queue_full"}


async def test_a_spool_of_another_proxy_is_left_alone_and_holds_nothing_back(
    topics: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two proxies may share a state_dir; the second one has no spool, and says so."""
    caplog.set_level(logging.INFO, "shadowdrift")
    async with away(tmp_path) as first:
        first.take(0, 10)
        await spooled(first, 10)
        for module in (proxy.emitter.spool, proxy.emitter.spool_lock):
            monkeypatch.setattr(module, "proxy_of_this_process", lambda: "process 1 on elsewhere")
        async with line(topics.bootstrap_servers, tmp_path) as second:
            second.take(10, 30)
            await second.delivers(30)
            assert second.number("shadowdrift_spool_obstacle", "held") == 1
            assert caplog.text.count("there is no spool") == 1
            await first.stop()
            await second.delivers(40)
            assert second.number("shadowdrift_spool_obstacle", "held") == 0
    assert order(await read(topics, PRODUCTION, 40)) == [*range(10, 40), *range(10)]


async def test_what_is_damaged_on_disk_is_lost_counted_and_told(
    topics: Kafka, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest arrives."""
    caplog.set_level(logging.INFO, "shadowdrift")
    async with away(tmp_path) as first:
        for start in (0, 10, 20):
            first.take(start, 10)
            await spooled(first, start + 10)
    path = next((tmp_path / "spool").rglob("*.segment"))
    content = bytearray(path.read_bytes())
    middle = len(HEAD) + (len(content) - len(HEAD)) // 2
    content[middle] ^= 1
    path.write_bytes(content)
    async with line(topics.bootstrap_servers, tmp_path) as second:
        assert await until(lambda: second.number("spool_read"), what="the spool")
        await second.delivers(20)
        await until(lambda: lost(second) == {"spool_failed": 10}, what="the damage")
        second.check_law()
    assert "a part of the spool cannot be read" in caplog.text
    assert order(await read(topics, PRODUCTION, 20)) == [*range(10), *range(20, 30)]


async def test_events_of_a_model_that_is_gone_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They count in what the spool holds, and the log tells where they are; the model's return delivers them."""
    caplog.set_level(logging.INFO, "shadowdrift")
    async with away(tmp_path, models=("churn",)) as first:
        first.take(0, 10, model="churn")
        await until(lambda: first.number("events_spooled", "churn", "production") == 10, what="ten on disk")
    async with away(tmp_path) as second:
        assert second.number("events_spooled_bytes") > 0
        assert "a model that is not configured" in caplog.text
    async with away(tmp_path, models=("churn",)) as third:
        assert third.number("events_recovered", "churn", "production") == 10


async def test_events_of_a_missing_topic_wait_on_disk(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka is there and takes nothing: what waits is safe, and a crash would find it there."""
    monkeypatch.setattr(proxy.emitter.link, "REQUEST_TIMEOUT_MS", 1000)
    async with line(kafka.bootstrap_servers, tmp_path) as made:
        made.take(0, 100)
        await until(lambda: made.number("shadowdrift_kafka_obstacle", "emitter", "topics") == 1, 40, "the gauge")
        await spooled(made, 100)


async def test_a_mute_broker_costs_nothing(own_kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its connections and answers nothing: events go to disk, and from there on once it speaks again."""
    monkeypatch.setattr(proxy.emitter.link, "REQUEST_TIMEOUT_MS", 1000)
    monkeypatch.setattr(proxy.emitter.link, "SILENCE_SECONDS", 0.5)
    await create(own_kafka.brokers, 4, 1)
    async with line(own_kafka.bootstrap_servers, tmp_path) as made:
        made.take(0, 100)
        await made.delivers(100)
        with own_kafka.mute():
            made.take(100, 400)
            await spooled(made, 400)
            await until(
                lambda: made.number("shadowdrift_kafka_obstacle", "emitter", "unreachable") == 1, what="the gauge"
            )
        await made.delivers(500, 60)
        await until(lambda: sum(made.number("shadowdrift_kafka_obstacle", "emitter", word) for word in OBSTACLES) == 0)
        assert lost(made) == {}
    seen = order(await read(own_kafka, PRODUCTION, 500))
    assert list(dict.fromkeys(seen)) == list(range(500))


# Crashes: the emitter as a process of its own.


def frames(count: int, first: int = 0) -> list[bytes]:
    """Frames of 100 exchanges, numbered by their ids; every tenth is the shadow's."""
    source = random.Random(3)
    made = []
    for start in range(first, first + count, 100):
        batch = [exchange(source, n, "shadow" if n % 10 == 9 else "production") for n in range(start, start + 100)]
        for number, one in enumerate(batch, start):
            one.id = f"id-{number}"
        made.append(encode_frame(batch))
    return made


async def numbers_of(broker: Kafka, topic: str) -> list[int]:
    """The topic's numbers without repetitions, as they came first."""
    return list(dict.fromkeys(order(await read_all(broker, topic))))


async def test_a_killed_emitter_loses_nothing_that_was_spooled(own_kafka: Kafka, tmp_path: Path) -> None:
    """SIGKILL while Kafka is away, and again when the replay has begun: all arrives, in order but for repetitions."""
    loop = asyncio.get_running_loop()
    worker = PlayedWorker(tmp_path, own_kafka.bootstrap_servers)
    await create(brokers_of(worker.configuration), 4, 1)
    await loop.run_in_executor(None, own_kafka.stop)
    async with worker:
        for frame in frames(30_000):
            await worker.feed(frame)
        await worker.reaches("events_spooled", 30_000, 30)
        await worker.kill()

        await worker.start()
        await worker.reaches("events_recovered", 30_000, 30)
        for frame in frames(5_000, 30_000):
            await worker.feed(frame)
        await worker.reaches("events_spooled", 35_000, 30)
        await loop.run_in_executor(None, own_kafka.start)
        await worker.reaches("events_delivered_total", 1, 60)
        await worker.kill()

        await worker.start()
        await until(lambda: worker.total("spool_read") == 1, what="the spool")
        await until(lambda: worker.total("events_waiting") == 0, 60, "the rest")
        assert worker.losses() == {}
        await worker.stop()
    assert await numbers_of(own_kafka, PRODUCTION) == [n for n in range(35_000) if n % 10 != 9]
    assert await numbers_of(own_kafka, SHADOW) == [n for n in range(35_000) if n % 10 == 9]


async def test_a_process_that_may_not_write_more_goes_on_and_recovers(tmp_path: Path) -> None:
    """The kernel's own refusal (a limit of the file's size): told, counted, and over when the limit is."""
    async with PlayedWorker(tmp_path, NOBODY) as worker:
        await until(lambda: worker.total("spool_read") == 1, what="the spool")
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        for frame in frames(3_000):
            await worker.feed(frame)
        await until(lambda: worker.total("shadowdrift_spool_obstacle") == 1, 20, "the gauge")
        assert worker.total("events_waiting") == 3_000
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await worker.reaches("events_spooled", 3_000, 20)
        await until(lambda: worker.total("shadowdrift_spool_obstacle") == 0, what="the gauge's end")
        await worker.stop()
        assert worker.losses() == {}
        assert worker.total("events_waiting") == 3_000
