"""The proxy's life under load: kills, restarts, reloads and stops, and what clients and counters see of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lifecycle.tether import Child
from tests.proxy.trees import Metrics, Tree, check_laws, command, configured, runs, tree
from tests.support.backend import Backend, answers
from tests.support.raw_client import BrokenOffError, connected, request
from tests.support.waiting import until

CLIENTS = 6


class Load:
    """Clients that ask all the time: half of them on connections that they keep, half on new ones."""

    def __init__(self, running: Tree) -> None:
        self._running = running
        self.seen: Counter[str] = Counter()
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._client(number % 2 == 0)) for number in range(CLIENTS)]
        await self.answers(50)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)

    async def answers(self, count: int) -> None:
        """Wait for so many more."""
        before = self.seen["200"]
        await until(lambda: self.seen["200"] >= before + count, 30, f"{count} answers")

    @property
    def failed(self) -> dict[str, int]:
        """What was not answered 200, where a connection was there."""
        return {name: count for name, count in self.seen.items() if name not in {"200", "refused"}}

    async def _client(self, keeps: bool) -> None:
        while not self._over:
            try:
                async with connected(self._running.port) as client:
                    while not self._over:
                        answer = await client.ask(request())
                        self.seen[str(answer.status)] += 1
                        if not keeps or answer.header("connection") == "close":
                            break
            except ConnectionRefusedError:
                self.seen["refused"] += 1
                await asyncio.sleep(0.01)
            except (BrokenOffError, ConnectionError):
                self.seen["broken"] += 1


class Watch:
    """Scrapes all the time: the laws hold at each, and no counter falls from one to the next."""

    def __init__(self, running: Tree) -> None:
        self._running = running
        self._over = False
        self._task: asyncio.Task[int]
        self.scrapes = 0

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._scrape())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        assert await self._task > 1

    async def _scrape(self) -> int:
        before: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        while not self._over:
            metrics = await self._running.metrics()
            check_laws(metrics)
            now = {
                (one.name, tuple(sorted(one.labels.items()))): one.value
                for one in metrics.samples
                if one.name.endswith(("_total", "_count", "_bucket", "_sum"))
            }
            for series, value in before.items():
                assert now[series] >= value, series
            before = now
            self.scrapes += 1
        return self.scrapes


@pytest.fixture
async def broker() -> AsyncIterator[str]:
    """A Kafka for development; its address."""
    child = await Child.start("broker", "up.development_broker")
    yield (await child.ready())["bootstrap_servers"]
    await child.stop(10)


@asynccontextmanager
async def loaded(made: dict[str, Any], folder: Path) -> AsyncIterator[tuple[Tree, Load]]:
    """A proxy under load, and under watch."""
    async with tree(made, folder) as running, Load(running) as load, Watch(running):
        yield running, load


MODULES = {"worker": "proxy.traffic.worker", "emitter": "proxy.emitter.main"}


def victims(running: Tree, part: str) -> list[int]:
    """The processes of a part."""
    return sorted(pid for pid in running.children() if MODULES[part] in command(pid))


async def restarts(running: Tree, part: str) -> float:
    """How often one was started again."""
    return (await running.metrics()).total("shadowdrift_worker_restarts_total", part=part)


async def restarted(running: Tree, part: str, count: int, processes: int) -> None:
    """Wait for so many restarts, and for all processes."""
    await until(lambda: _is(running, part, count), 30, f"{count} restarts of {part}")
    await until(lambda: len(victims(running, part)) == processes, 30, f"{processes} of {part}")


async def _is(running: Tree, part: str, count: int) -> bool:
    return await restarts(running, part) == count


async def settled(running: Tree) -> Metrics:
    """The metrics once no event is on its way any more."""

    async def look() -> Metrics | None:
        metrics = await running.metrics()
        return metrics if metrics.total("events_waiting") == 0 else None

    metrics = await until(look, 30, "every event at its end")
    assert metrics is not None
    return metrics


async def test_a_killed_worker_fails_only_what_was_open_in_it(
    production: Backend, shadow: Backend, broker: str, tmp_path: Path
) -> None:
    """Its successor takes what waits in the socket; its counters stay, and what it held is lost by the crash."""
    made = configured(production, shadow, kafka=broker, mirror={"fraction": 0.5}, proxy={"workers": 2})
    async with tree(made, tmp_path) as running:
        async with Load(running) as load, Watch(running):
            os.kill(victims(running, "worker")[0], signal.SIGKILL)
            await restarted(running, "worker", 1, 2)
            await load.answers(100)
        assert load.failed.keys() <= {"broken"}
        assert load.seen["broken"] <= CLIENTS
        metrics = await settled(running)
        counted = metrics.total("inference_requests_total", role="production", status="2xx")
        assert abs(counted - load.seen["200"]) <= CLIENTS, "a killed worker forgets the turn that it was in"
        assert metrics.total("inference_in_flight") == 0
        line = running.message("the worker 0 ended unexpectedly; it is started again")
        line = line or running.message("the worker 1 ended unexpectedly; it is started again")
        assert line is not None
        assert (line["exit_code"], line["again_in_seconds"]) == (-9, 0)
    assert running.process.returncode == 0


async def test_a_killed_emitter_touches_no_request(
    production: Backend, shadow: Backend, broker: str, tmp_path: Path
) -> None:
    """Workers hand over to the next one; delivered and lost are what was captured."""
    made = configured(production, shadow, kafka=broker, mirror={"fraction": 0.5}, proxy={"workers": 2})
    async with tree(made, tmp_path) as running:
        async with Load(running) as load, Watch(running):
            for number in (1, 2):
                os.kill(victims(running, "emitter")[0], signal.SIGKILL)
                await restarted(running, "emitter", number, 1)
                await load.answers(100)
        assert load.failed == {}
        metrics = await settled(running)
        captured = metrics.total("events_captured_total", role="production")
        assert captured >= load.seen["200"]
        assert metrics.total("events_delivered_total") > 0
        assert await restarts(running, "worker") == 0


async def test_emitters_that_are_killed_while_kafka_is_away_leave_their_spool_to_the_next(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """What was on disk goes on waiting, what was only in memory is lost, and the law holds at every scrape."""
    async with tree(configured(production, shadow, proxy={"workers": 2}), tmp_path) as running:
        async with Load(running) as load, Watch(running):
            for number in (1, 2):
                await until(lambda: _spooled(running), 20, "events on disk")
                os.kill(victims(running, "emitter")[0], signal.SIGKILL)
                await restarted(running, "emitter", number, 1)
                await until(lambda: _spooled(running), 20, "the events on disk again")
                await load.answers(50)
        assert load.failed == {}
        metrics = await running.metrics()
        check_laws(metrics)
        assert metrics.total("events_waiting") > metrics.total("events_lost_total")


async def _spooled(running: Tree) -> bool:
    return (await running.metrics()).total("events_spooled") > 50


async def test_no_sequence_of_kills_breaks_a_law(
    production: Backend, shadow: Backend, broker: str, tmp_path: Path
) -> None:
    """Twelve of them, chosen at random, some while the successor of the last one starts."""
    choice = random.Random(5)
    made = configured(production, shadow, kafka=broker, mirror={"fraction": 0.5}, proxy={"workers": 2})
    kills: Counter[str] = Counter()
    async with tree(made, tmp_path) as running:
        async with Load(running) as load, Watch(running):
            for _ in range(12):
                part = choice.choice(["worker", "worker", "emitter"])
                found = await until(lambda part=part: victims(running, part), what=part)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(choice.choice(found), signal.SIGKILL)
                    kills[part] += 1
                await load.answers(choice.randrange(1, 40))
            await restarted(running, "worker", kills["worker"], 2)
            await restarted(running, "emitter", kills["emitter"], 1)
            await load.answers(50)
        assert load.failed.keys() <= {"broken"}
        assert load.seen["broken"] <= CLIENTS * kills["worker"]
        check_laws(await settled(running))


async def test_a_worker_that_dies_young_again_and_again_is_restarted_later_each_time(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """No hot loop, and one line each time."""
    async with tree(configured(production, shadow), tmp_path) as running:
        for number in range(1, 4):
            (victim,) = await until(lambda: victims(running, "worker"), what="a worker")
            os.kill(victim, signal.SIGKILL)
            await until(lambda victim=victim: not runs(victim), what="its end")
            await until(lambda number=number: _is(running, "worker", number), what=f"restart {number}")
        lines = [line for line in running.log() if "again_in_seconds" in line]
        assert [line["again_in_seconds"] for line in lines] == [0, 0.5, 1.0]
        async with connected(running.port) as client:
            assert (await client.ask(request())).status == 200


async def test_a_worker_that_is_asked_to_end_has_a_successor_first(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """A planned restart: no request fails."""
    made = configured(production, shadow, proxy={"workers": 2, "drain_timeout": 10})
    async with loaded(made, tmp_path) as (running, load):
        for number in (1, 2):
            victim = victims(running, "worker")[0]
            os.kill(victim, signal.SIGTERM)
            await until(lambda victim=victim: not runs(victim), 20, "its end")
            await restarted(running, "worker", number, 2)
            await load.answers(50)
        assert load.failed == {}
        assert not [line for line in running.log() if "unexpectedly" in line["message"]]


def rewrite(running: Tree, made: dict[str, Any]) -> None:
    """Another configuration, and the hangup that makes the proxy read it."""
    (running.folder / "shadowdrift.yaml").write_text(json.dumps(made))
    running.process.send_signal(signal.SIGHUP)


async def reload_success(running: Tree) -> float:
    """The gauge."""
    return (await running.metrics()).total("shadowdrift_config_last_reload_success", part="proxy")


async def test_a_hangup_takes_the_new_configuration_and_fails_no_request(
    production: Backend, shadow: Backend, broker: str, tmp_path: Path
) -> None:
    """Other versions, another generation of processes, the same sockets; what was counted before is still counted."""
    made = configured(production, shadow, kafka=broker, proxy={"workers": 2, "drain_timeout": 10})
    async with loaded(made, tmp_path) as (running, load):
        former = running.children()
        wanted = configured(
            shadow, production, kafka=broker, proxy={"workers": 2, "drain_timeout": 10}, mirror={"fraction": 1}
        )
        wanted["models"][0]["targets"]["v3"] = wanted["models"][0]["targets"].pop("v2")
        wanted["models"][0]["production"] = "v3"
        rewrite(running, wanted)
        await until(lambda: running.message("the configuration was taken; what serves the former one drains"), 30)
        await load.answers(100)
        await until(lambda: not [pid for pid in former if runs(pid)], 30, "the former processes' end")
        assert load.failed == {}
        metrics = await running.metrics()
        assert metrics.total("inference_active_info", version="v3") == 1
        assert metrics.total("inference_requests_total", version="v2", role="production") > 0
        assert metrics.total("inference_requests_total", version="v3", role="production") > 0
        assert metrics.total("mirror_sampled_total") > 0
        assert await reload_success(running) == 1
        assert await restarts(running, "worker") == 0
    assert running.process.returncode == 0
    assert running.said() == ""


def _no_model(made: dict[str, Any]) -> None:
    made["models"] = []


def _no_reference(made: dict[str, Any]) -> None:
    made["models"][0]["reference"] = "nowhere.json"


def _no_authority(made: dict[str, Any]) -> None:
    made["kafka"]["tls"] = {"ca_file": "nowhere.pem"}


def _elsewhere(made: dict[str, Any]) -> None:
    made["proxy"]["listen"] = "127.0.0.1:1"


def _more_workers(made: dict[str, Any]) -> None:
    made["proxy"]["workers"] = 3


def _other_state(made: dict[str, Any]) -> None:
    made["state_dir"] = "elsewhere"


BAD = {
    "no model": (_no_model, "models must name at least one model, got none"),
    "no reference": (_no_reference, "nowhere.json"),
    "no authority": (_no_authority, "nowhere.pem"),
    "another address": (_elsewhere, "proxy.listen must stay 127.0.0.1:0 while the proxy runs, got 127.0.0.1:1"),
    "more workers": (_more_workers, "proxy.workers must stay 1 while the proxy runs, got 3"),
    "another state": (_other_state, "state_dir must stay"),
}


async def test_a_hangup_with_a_bad_file_changes_nothing_and_says_why(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """One line each, a gauge, and no request fails; mended, the file is taken."""
    made = configured(production, shadow)
    async with loaded(made, tmp_path) as (running, load):
        children = running.children()
        assert await reload_success(running) == 1
        for number, (spoil, why) in enumerate(BAD.values(), 1):
            bad = json.loads(json.dumps(made))
            spoil(bad)
            rewrite(running, bad)

            def told(number: int = number) -> list[dict[str, Any]]:
                lines = [line for line in running.log() if line["message"].startswith("the configuration was not")]
                return lines if len(lines) == number else []

            lines = await until(told, what=f"the line about {why}")
            assert why in lines[-1]["why"]
            assert await reload_success(running) == 0
        assert running.children() == children
        rewrite(running, made)
        await until(lambda: running.message("the configuration was taken; what serves the former one drains"), 30)
        assert await reload_success(running) == 1
        await load.answers(50)
        assert load.failed == {}


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_stop_under_load_cuts_nothing(
    production: Backend, shadow: Backend, tmp_path: Path, workers: int
) -> None:
    """What was accepted is answered, on kept connections and on new ones; who comes later is refused."""
    made = configured(production, shadow, proxy={"workers": workers, "drain_timeout": 2})
    async with tree(made, tmp_path) as running, Load(running) as load:
        running.process.terminate()
        await until(lambda: load.seen["refused"] > 0, 30, "the first refusal")
        assert await asyncio.wait_for(running.process.wait(), 30) == 0
    assert load.failed == {}


async def test_a_stop_that_reaches_every_process_at_once_cuts_nothing(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """As systemd sends it, to the whole control group."""
    made = configured(production, shadow, proxy={"workers": 2, "drain_timeout": 10})
    async with tree(made, tmp_path) as running, Load(running) as load:
        for pid in (*running.children(), running.process.pid):
            os.kill(pid, signal.SIGTERM)
        await until(lambda: load.seen["refused"] > 0, 30, "the first refusal")
        assert await asyncio.wait_for(running.process.wait(), 30) == 0
    assert load.failed == {}
    assert running.said() == ""


async def test_a_stop_leaves_an_idle_connection_its_last_request(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """It may be on its way already; its answer says that it was the last, and then the stop need not wait longer."""
    async with (
        tree(configured(production, shadow, proxy={"drain_timeout": 300}), tmp_path) as running,
        connected(running.port) as client,
    ):
        (worker,) = victims(running, "worker")
        assert (await client.ask(request())).header("connection") is None
        running.process.terminate()
        await until(lambda: not_listening(running.port), what="the socket's end")
        answer = await client.ask(request())
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert await client.to_its_end() == b""
        await until(lambda: not runs(worker), what="the worker's end")


async def test_an_idle_connection_is_closed_in_order_at_the_deadline(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """By a FIN, as a server does with idle ones; a reset would look like a failure."""
    async with (
        tree(configured(production, shadow, proxy={"drain_timeout": 1}), tmp_path) as running,
        connected(running.port) as client,
        connected(running.port) as silent,
    ):
        assert (await client.ask(request())).status == 200
        running.process.terminate()
        assert await client.to_its_end() == b""
        assert await silent.to_its_end() == b""


async def not_listening(port: int) -> bool:
    """Whether connections are refused."""
    try:
        async with connected(port):
            return False
    except ConnectionRefusedError:
        return True


async def test_a_killed_proxy_drains_and_the_next_one_starts_at_once_on_its_port(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """Its workers notice, answer what they accepted, and let the port go."""
    made = configured(production, shadow, proxy={"workers": 2, "drain_timeout": 10})
    (tmp_path / "next").mkdir()
    async with tree(made, tmp_path) as running, Load(running) as load:
        children = running.children()
        made["proxy"]["listen"] = f"127.0.0.1:{running.port}"
        running.process.kill()
        await running.process.wait()
        async with tree(made, tmp_path / "next"):
            await load.answers(50)
            await until(lambda: not [pid for pid in children if runs(pid)], 30, "the former workers' end")
            assert load.failed == {}


async def test_while_it_stops_it_is_not_ready(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """So that whatever asks sends new connections elsewhere."""
    production.script = answers()
    async with (
        tree(configured(production, shadow, proxy={"drain_timeout": 300}), tmp_path) as running,
        connected(running.port) as client,
    ):
        await client.ask(request())
        running.process.terminate()
        await until(lambda: _says(running, "stops"), what="not ready")
        await client.ask(request())


async def _says(running: Tree, word: str) -> bool:
    status, text = await running.get("/-/ready")
    return status == 503 and word in text
