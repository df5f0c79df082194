"""docs/runbooks/deploy-a-version.md, done: a version comes, shadows, takes over step by step, and no request fails."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.test_active import content, entry, shows, write
from tests.proxy.trees import Tree, check_laws, command, configured, tree
from tests.support.backend import Backend, answers, backend
from tests.support.raw_client import connected, request
from tests.support.waiting import until

PROBE = {"request": "probe.json", "schema": "answer.schema.json"}


@pytest.fixture
async def v3() -> AsyncIterator[Backend]:
    """The version that is deployed."""
    async with backend(answers(body=b'{"prediction": 3}')) as server:
        yield server


class Load:
    """Clients that never stop asking, and what they were answered."""

    def __init__(self, running: Tree) -> None:
        self.answered: Counter[tuple[int, bytes]] = Counter()
        self._running = running
        self.done = asyncio.Event()

    async def ask(self) -> None:
        """One client: a connection for ten requests, then another."""
        while not self.done.is_set():
            async with connected(self._running.port) as client:
                for _ in range(10):
                    answer = await client.ask(request())
                    self.answered[answer.status, answer.body] += 1
                    if answer.header("connection") == "close":
                        break

    async def sees(self, version: int, count: int = 100) -> None:
        """Wait until a version has answered so often from now on."""
        at = self.answered[200, b'{"prediction": %d}' % version] + count
        await until(lambda: self.answered[200, b'{"prediction": %d}' % version] >= at, what=f"answers of v{version}")


@asynccontextmanager
async def load(running: Tree, clients: int = 4) -> AsyncIterator[Load]:
    """Under load for one block; whatever a client meets that is no answer fails the test."""
    made = Load(running)
    asking = [asyncio.ensure_future(made.ask()) for _ in range(clients)]
    try:
        yield made
    finally:
        made.done.set()
        await asyncio.gather(*asking)


async def reload(running: Tree, made: dict[str, Any], messages: int) -> None:
    """Replace the configuration and say so; wait for the `messages`-th time that it was taken or not."""
    (running.folder / "shadowdrift.yaml").write_text(json.dumps(made))
    running.process.send_signal(signal.SIGHUP)

    def told() -> bool:
        lines = [line for line in running.log() if line["message"].startswith("the configuration was ")]
        return len(lines) >= messages

    await until(told, 30, "the configuration's being read")


async def test_a_version_is_deployed_as_the_runbook_says(
    production: Backend, shadow: Backend, v3: Backend, tmp_path: Path
) -> None:
    """Configuration, shadow, canary, all, configuration again: under load, and every request is answered 200."""
    (tmp_path / "probe.json").write_text('{"path": "/predict", "body": {}}')
    (tmp_path / "answer.schema.json").write_text('{"required": ["prediction"]}')
    active = tmp_path / "state" / "active" / "active.json"
    made = configured(production, shadow, capture={"fraction": 0})
    [model] = made["models"]
    async with tree(made, tmp_path) as running, load(running) as seen:
        await seen.sees(1)
        # 1. configuration
        model["targets"]["v3"] = {"url": v3.url, "probe": PROBE}
        model["shadow"], model["mirror"] = "v3", {"fraction": 0.2}
        await reload(running, made, 1)
        # 3. windows: what there is to look at
        await until(lambda: len(v3.calls) > 20, what="clones")
        assert {call.header(b"x-shadow") for call in v3.calls} == {b"true"}
        # 4. active: a canary, then all
        write(active, content(fraud=entry(weights={"v2": 0.8, "v3": 0.2}, reason="canary of v3", generation=1)))
        await seen.sees(3, 20)
        await seen.sees(1, 20)
        assert await shows(running, "inference_active_info", 1, version="v3", reason="canary of v3")
        assert await shows(running, "inference_traffic_ratio", 0.2, version="v3")
        write(active, content(fraud=entry(weights={"v3": 1}, reason="v3", generation=2)))
        await until(lambda: shows(running, "inference_traffic_ratio", 1, version="v3"))
        await seen.sees(3)
        # 5. shadow: the former version, and the file that the next start reads
        model["production"], model["shadow"] = "v3", "v2"
        await reload(running, made, 2)
        before = len(production.calls)
        await seen.sees(3)
        await until(lambda: len(production.calls) > before, what="clones for the former version")
        assert await shows(running, "inference_active_info", 1, version="v3", reason="configuration")
        check_laws(await running.metrics())
    assert {status for status, _ in seen.answered} == {200}
    assert running.said() == ""


async def test_a_version_that_fails_its_probe_is_not_deployed(
    production: Backend, shadow: Backend, v3: Backend, tmp_path: Path
) -> None:
    """Neither by the active file nor by a configuration that makes it production; what served goes on."""
    (tmp_path / "probe.json").write_text('{"path": "/predict", "body": {}}')
    (tmp_path / "answer.schema.json").write_text('{"required": ["score"]}')
    made = configured(production, shadow, capture={"fraction": 0})
    made["models"][0]["targets"]["v3"] = {"url": v3.url, "probe": PROBE}
    async with tree(made, tmp_path) as running, load(running, 2) as seen:
        write(tmp_path / "state" / "active" / "active.json", content(fraud=entry(weights={"v3": 1})))
        await until(lambda: shows(running, "inference_active_refused", 1, model="fraud"))
        assert len(v3.calls) == 1
        made["models"][0]["production"] = "v3"
        await reload(running, made, 1)
        line = running.message("the configuration was not taken; nothing changes")
        assert line is not None
        assert "v3 of fraud does not pass its probe: its answer does not fit the schema" in line["why"]
        assert await shows(running, "shadowdrift_config_last_reload_success", 0, part="proxy")
        await seen.sees(1)
        assert len(v3.calls) == 2
    assert seen.answered.keys() == {(200, b'{"prediction": 1}')}


async def test_a_version_without_a_probe_that_is_away_is_not_deployed(
    production: Backend, shadow: Backend, v3: Backend, tmp_path: Path
) -> None:
    """A configuration that makes it production is refused, too."""
    await v3.stop()
    made = configured(production, shadow, capture={"fraction": 0})
    made["models"][0]["targets"]["v3"] = {"url": v3.url}
    async with tree(made, tmp_path) as running, load(running, 2) as seen:
        made["models"][0]["production"] = "v3"
        await reload(running, made, 1)
        line = running.message("the configuration was not taken; nothing changes")
        assert line is not None
        assert f"v3 of fraud cannot be connected to: 127.0.0.1:{v3.port} cannot be asked: connection ref" in line["why"]
        await seen.sees(1)
    assert seen.answered.keys() == {(200, b'{"prediction": 1}')}


async def test_a_worker_that_is_started_anew_serves_what_is_in_force(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """After a crash, without the file being read again, and after a reload."""
    made = configured(production, shadow, capture={"fraction": 0})
    async with tree(made, tmp_path) as running:
        write(tmp_path / "state" / "active" / "active.json", content())
        await until(lambda: shows(running, "inference_traffic_ratio", 1, version="v1"))
        await until(lambda: _answer(running, b'{"prediction": 2}'), tolerating=(OSError,))
        asked = len(production.calls)
        [worker] = [pid for pid in running.children() if "proxy.traffic.worker" in command(pid)]
        os.kill(worker, signal.SIGKILL)
        await until(lambda: worker not in running.children(), what="the worker's end")
        for _ in range(20):
            await until(lambda: _answer(running, b'{"prediction": 2}'), tolerating=(OSError,))
        await reload(running, made, 1)
        for _ in range(20):
            await until(lambda: _answer(running, b'{"prediction": 2}'), tolerating=(OSError,))
        assert len(production.calls) == asked


async def _answer(running: Tree, body: bytes) -> bool:
    async with connected(running.port) as client:
        return (await client.ask(request())).body == body
