"""`shadowdrift proxy` as it is run: supervisor, workers and emitter, from the start to the last line of the log."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from pathlib import Path

import pytest

from configuration.brokers import brokers_of
from configuration.reading import convert
from events.topics import create
from proxy.layout import FAMILIES
from tests.proxy.lines import remove_ours
from tests.proxy.trees import Tree, check_laws, configured, runs, tree
from tests.support.backend import Backend, Call, answers, hang
from tests.support.kafka import Kafka
from tests.support.raw_client import BrokenOffError, connected, request
from tests.support.waiting import until


async def test_every_worker_serves(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """Three of them; the kernel spreads connections, and /metrics is the sum."""
    async with tree(configured(production, shadow, proxy={"workers": 3}), tmp_path) as running:
        assert len(running.children()) == 4
        for _ in range(60):
            async with connected(running.port) as client:
                assert (await client.ask(request())).status == 200
        await until(lambda: _answered(running, 60), what="every request counted")
    assert running.process.returncode == 0
    assert running.said() == ""


async def _answered(running: Tree, count: int) -> bool:
    labels = {"model": "fraud", "version": "v2", "role": "production", "status": "2xx", "outcome": "ok"}
    return (await running.metrics()).total("inference_requests_total", **labels) == count


async def test_metrics_have_their_names_and_obey_their_laws(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """Under load, with a shadow that hangs now and then and Kafka away: each scrape is one instant."""
    calls = 0

    async def moody(call: Call) -> None:
        nonlocal calls
        calls += 1
        await (hang if calls % 3 == 0 else answers())(call)

    shadow.script = moody
    mirror = {"fraction": 0.5, "timeout": 0.2, "max_in_flight": 4}
    async with tree(configured(production, shadow, mirror=mirror, proxy={"workers": 2}), tmp_path) as running:
        done = asyncio.Event()

        async def load() -> None:
            async with connected(running.port) as client:
                while not done.is_set():
                    assert (await client.ask(request())).status == 200

        loading = [asyncio.ensure_future(load()) for _ in range(4)]
        for _ in range(30):
            check_laws(await running.metrics())
        done.set()
        await asyncio.gather(*loading)
        metrics = await running.metrics()
        check_laws(metrics)
    names = {sample.name for sample in metrics.samples}
    for family in FAMILIES.values():
        if family.name == "proxy_schema_violations_total":  # one for each rule of a schema, and there is none
            continue
        suffix = "_count" if family.kind == "histogram" else ""
        assert (family.name + suffix in names) == (family.kind != "internal"), family.name
    assert metrics.total("inference_active_info", model="fraud", version="v2", reason="configuration") == 1
    assert metrics.total("inference_traffic_ratio", model="fraud", version="v2") == 1
    assert metrics.total("inference_traffic_ratio", model="fraud", version="v1") == 0
    assert metrics.total("mirror_failed_total", model="fraud", reason="timeout") > 0


async def test_ready_waits_for_production_and_for_nothing_else(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """Kafka and the shadow are away all the time; alive it is from the start."""
    await production.stop()
    await shadow.stop()
    async with tree(configured(production, shadow), tmp_path) as running:
        assert (await running.get("/-/healthy"))[0] == 200
        status, text = await running.get("/-/ready")
        assert (status, "production of fraud" in text) == (503, True)
        await production.start()
        await until(lambda: _ready(running), what="readiness")


async def _ready(running: Tree) -> bool:
    return (await running.get("/-/ready"))[0] == 200


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_stop_under_load_fails_no_request_and_loses_no_event(
    production: Backend, shadow: Backend, kafka: Kafka, tmp_path: Path, workers: int
) -> None:
    """What was accepted is answered; refused afterwards does not count; every event is in Kafka; exit code 0."""
    made = configured(
        production,
        shadow,
        kafka=kafka.bootstrap_servers,
        mirror={"fraction": 0.5},
        proxy={"workers": workers, "drain_timeout": 10},
    )
    await create(brokers_of(convert(made, tmp_path, "test")), 4, 1)
    seen: Counter[str] = Counter()

    async def load(port: int) -> None:
        while True:
            try:
                async with connected(port) as client:
                    answer = await client.ask(request(headers=("Connection: close",)))
                    seen[str(answer.status)] += 1
            except ConnectionRefusedError:
                return
            except (BrokenOffError, ConnectionError):
                seen["broken"] += 1
                return

    try:
        async with tree(made, tmp_path) as running:
            loading = [asyncio.ensure_future(load(running.port)) for _ in range(16)]
            await until(lambda: seen["200"] > 300, what="load")
            running.process.terminate()
            await asyncio.gather(*loading)
            assert await asyncio.wait_for(running.process.wait(), 30) == 0
        assert seen.keys() == {"200"}
        totals = running.message("has stopped")
        assert totals is not None
        assert totals["events_captured_total"] == totals["events_delivered_total"] >= seen["200"]
        assert totals["events_lost_total"] == totals["events_waiting"] == 0
        assert running.said() == ""
    finally:
        await remove_ours(kafka)


async def test_a_stop_with_kafka_away_ends_in_time_and_the_next_start_has_the_events(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """What could not be delivered waits on disk, and every scrape of the next run still obeys the law."""
    made = configured(production, shadow, mirror={"fraction": 0})
    async with tree(made, tmp_path) as running:
        async with connected(running.port) as client:
            for _ in range(5):
                await client.ask(request())
        running.process.terminate()
        assert await asyncio.wait_for(running.process.wait(), 25) == 0
    totals = running.message("has stopped")
    assert totals is not None
    assert (totals["events_captured_total"], totals["events_lost_total"], totals["events_waiting"]) == (5, 0, 5)
    async with tree(made, tmp_path) as running:
        await until(lambda: running.message("the spool holds events of an earlier run"), what="the spool's events")
        metrics = await running.metrics()
        check_laws(metrics)
        assert metrics.total("events_waiting", role="production") == 5
        assert metrics.total("events_spooled_bytes") > 0


@pytest.mark.parametrize("setting", ["listen", "admin"])
async def test_a_port_in_use_is_one_line(production: Backend, shadow: Backend, tmp_path: Path, setting: str) -> None:
    """Exit code 2, no traceback, nothing left running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with tree(configured(production, shadow, proxy={setting: address}), tmp_path, serves=False) as running:
            assert await asyncio.wait_for(running.process.wait(), 30) == 2
    assert running.said().count("\n") == 1
    assert f"proxy.{setting}: cannot listen at {address}: address already in use" in running.said()


async def test_a_deep_tmpdir_keeps_nobody_from_serving(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """A socket's path has to be short, and TMPDIR is not ours to choose."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    async with tree(configured(production, shadow), tmp_path, temporary=deep) as running:
        assert (await running.get("/-/healthy"))[0] == 200


async def test_the_proxy_needs_no_file_of_another_part(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """Each part has its own secrets, in a container of its own."""
    made = configured(production, shadow) | {"rollback": {"token_file": "/nowhere/rollback_token"}}
    async with tree(made, tmp_path) as running:
        assert (await running.get("/-/healthy"))[0] == 200


async def test_no_process_outlives_a_killed_supervisor(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """Each child notices, and ends by itself."""
    async with tree(configured(production, shadow, proxy={"workers": 2}), tmp_path) as running:
        children = running.children()
        assert len(children) == 3
        running.process.kill()
        await running.process.wait()
        await until(lambda: not [pid for pid in children if runs(pid)], 20, "the children's end")
