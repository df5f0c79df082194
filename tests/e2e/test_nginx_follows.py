"""nginx, a real proxy and the rollback: what is active answers, through the proxy and past it, under load."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.nginx.conftest import Backend
from tests.proxy.trees import Tree, tree
from tests.rollback.stand_ins import Running, rolling
from tests.support import nginx, wheels
from tests.support.kafka import free_ports
from tests.support.nginx import Nginx, Started
from tests.support.required import require
from tests.support.waiting import until

OPEN_AT_ONCE = 8


class Load:
    """Clients with a new connection for each request, or also such as keep theirs: who answered, and what failed."""

    def __init__(self, url: str, *, some_keep: bool = False) -> None:
        self.answers: list[tuple[float, str]] = []
        self._url = url
        self._some_keep = some_keep
        self._over = False

    async def run(self) -> None:
        """Ask until it is over."""
        async with AsyncExitStack() as stack:
            clients = []
            for number in range(OPEN_AT_ONCE):
                closes = number % 2 == 0 or not self._some_keep
                connector = aiohttp.TCPConnector(force_close=closes)
                session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
                clients.append(self._client(session))
            await asyncio.gather(*clients)

    def stop(self) -> None:
        """Let every client end its request."""
        self._over = True

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._over:
            begun = time.monotonic()
            try:
                async with session.post(f"{self._url}/predict", json={"amount": 1}) as answer:
                    text = await answer.text()
                    self.answers.append((begun, text if answer.status == 200 else str(answer.status)))
            except aiohttp.ClientError as error:
                self.answers.append((begun, type(error).__name__))
            await asyncio.sleep(0.005)

    def latest(self, begun: float, count: int) -> set[str]:
        """Who answered the last so many requests that began after this moment; nobody while there are fewer."""
        answers = [who for at, who in self.answers if at > begun]
        return set(answers[-count:]) if len(answers) >= count else set()

    def since(self, begun: float) -> Counter[str]:
        """Who answered the requests that began after this moment."""
        return Counter(who for at, who in self.answers if at > begun)


@asynccontextmanager
async def stood_up(folder: Path, *, beside: bool = False) -> AsyncIterator[tuple[Tree, Running, Load]]:
    """v2 serves through nginx and the proxy; the rollback moves both.

    `beside`: it moves the proxy alone, and nginx, which neither can reload, is moved by `follow`.
    """
    require("nginx", wheels.NGINX.missing() if beside else nginx.missing())
    port = free_ports(1)[0]
    async with AsyncExitStack() as stack:
        backends = [Backend(name) for name in ("v2", "v1")]
        for backend in backends:
            await backend.start()
            stack.push_async_callback(backend.stop)
        targets = {backend.name: {"url": f"http://127.0.0.1:{backend.port}"} for backend in backends}
        model: dict[str, Any] = {
            "name": "fraud", "targets": targets, "production": "v2", "stable": "v1", "mirror": {"fraction": 0},
        }  # fmt: skip
        proxy = await stack.enter_async_context(
            tree(
                {
                    "kafka": {"bootstrap_servers": "127.0.0.1:1"},
                    "proxy": {"listen": f"127.0.0.1:{port}", "admin": "127.0.0.1:0", "workers": 1, "drain_timeout": 1},
                    "models": [model],
                },
                folder,
            )
        )
        (folder / "front").mkdir()
        addresses = {"proxy:8080": f"127.0.0.1:{port}", "model-v2:8000": f"127.0.0.1:{backends[0].port}"}
        front: Nginx
        if beside:
            front = Started(folder / "front", "nginx.conf", addresses, {}, wheels.NGINX.program)
        else:
            front = Nginx(folder / "front", "nginx.conf", addresses, {})
        stack.enter_context(front)
        command = front._command()
        follows: dict[str, Any] = {
            "directory": str(folder / "front" / ("active" if beside else "nginx")),
            "test": None if beside else [*command, "-t"],
            "reload": None if beside else [*command, "-s", "reload"],
            "check": f"{front.url}/nginx/active/fraud",
            "timeout": 60,
        }
        running = await stack.enter_async_context(
            rolling(
                folder,
                actions=["active-file"] if beside else ["active-file", "nginx"],
                proxies=[f"http://{proxy.admin}"],
                nginx=follows,
                model={"targets": targets, "shadow": None},
            )
        )
        if beside:
            await stack.enter_async_context(following(folder, model, follows))
        load = Load(front.url, some_keep=beside)
        task = asyncio.create_task(load.run())
        try:
            await until(lambda: len(load.answers) > 50, what="traffic")
            yield proxy, running, load
        finally:
            load.stop()
            await task


@asynccontextmanager
async def following(folder: Path, model: dict[str, Any], settings: dict[str, Any]) -> AsyncIterator[None]:
    """`shadowdrift rollback follow` as it is run, of the active file that the rollback writes."""
    document = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "state_dir": str(folder / "state"),
        "rollback": {"follow": {"source": "active-file", "actions": ["nginx"], "every": 0.2}, "nginx": settings},
        "models": [model],
    }
    (folder / "state" / "active").mkdir(parents=True, exist_ok=True)
    file = folder / "follow.yaml"
    file.write_text(json.dumps(document))
    with (folder / "follow.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "rollback", "follow", "--config", str(file)), stdout=log, stderr=log
        )
        try:
            await until(lambda: "followed" in (folder / "follow.log").read_text(), 60, what="nginx is followed")
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def test_switches_under_load_fail_no_request_and_the_backup_is_the_active_version(tmp_path: Path) -> None:
    """Five reloads; then the proxy is killed, and past it v1 answers, which was made active."""
    async with stood_up(tmp_path) as (proxy, running, load):
        for number in range(5):
            order, version = ("restore", "v2") if number % 2 else ("rollback", "v1")
            status, answer = await running.post(f"/{order}")
            assert status == 200, answer
            switched = time.monotonic()
            # A worker of nginx's that has not heard of the reload yet may take a few more by its former files.
            await until(lambda since=switched, to=version: load.latest(since, 20) == {to}, what=order)
        assert set(load.since(0)) == {"v1", "v2"}, "a switch failed no request"

        gone = await kill(proxy)
        await until(lambda: load.latest(gone, 50) == {"v1"}, what="the backup answers")
        assert load.since(gone).keys() <= {"v1", "v2"}, "only what was open at the kill fails"


async def test_follow_beside_nginx_moves_its_backup_also_while_the_proxy_is_killed(tmp_path: Path) -> None:
    """Through the proxy v1 answers once it is active, and past it; then v2 again, though no proxy is there to take it.

    Only requests that were open at the kill fail, on kept connections too: no reload cuts one.
    """
    async with stood_up(tmp_path, beside=True) as (proxy, running, load):
        status, answer = await running.post("/rollback")
        assert status == 200, answer
        switched = time.monotonic()
        await until(lambda: load.latest(switched, 20) == {"v1"}, what="v1 through the proxy")
        await until(lambda: '"followed"' in last_line(tmp_path) and '"v1"' in last_line(tmp_path), 60, what="nginx too")
        assert set(load.since(0)) == {"v1", "v2"}, "a switch failed no request"

        gone = await kill(proxy)
        await until(lambda: load.latest(gone, 50) == {"v1"}, what="the backup answers")
        status, answer = await running.post("/restore")
        assert status == 200, answer
        await until(lambda: load.latest(time.monotonic() - 1, 5) == {"v2"}, 60, what="the backup is v2")
        assert load.since(gone).keys() <= {"v1", "v2"}, "only what was open at the kill fails"


async def kill(proxy: Tree) -> float:
    """All of its processes at once; when the last of them was gone."""
    assert proxy.process.returncode is None
    processes = [*proxy.children(), proxy.process.pid]
    for process in processes:
        os.kill(process, signal.SIGKILL)
    await proxy.process.wait()
    await until(lambda: not any(runs(process) for process in processes), 30, what="their end")
    return time.monotonic()


def runs(process: int) -> bool:
    """Whether it is there and holds anything: who has ended and is not asked after does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def last_line(folder: Path) -> str:
    """Of what `follow` has said."""
    return (folder / "follow.log").read_text().splitlines()[-1]
