"""What a killed proxy costs clients of nginx: requests failed, until the backup answers, until the proxy is used again.

    python -m bench.front --kills 20

nginx (PyPI's, pinned by `bench/nginx.lock`) runs by `nginx/start` with the shipped files, before a proxy of two workers
and the model, which takes up to 10 ms. Clients ask all the time, half of them on connections that they keep, half on a
new one for each request. Two kinds of kill (SIGKILL) take turns: all of the proxy's processes at once, as when its
container dies, and the supervisor alone, whose workers notice and end in order. A tenth of a second later the proxy is
started again. Whether the proxy or the backup has answered tells the id that the proxy gives each exchange.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop

from bench.peers import nginx_version
from bench.stops import ANSWER, BODY, Model, Proxy
from bench.switches import chosen_nginx
from tests.support.nginx import Started

RESULT: Final = Path(__file__).parent / "results" / "front.json"
KINDS: Final = ("all processes", "the supervisor alone")
AWAY_SECONDS: Final = 0.1
PAUSE_SECONDS: Final = 0.01
PATIENCE_SECONDS: Final = 60.0
BACKUP: Final = "the backup"
PROXY: Final = "the proxy"


@dataclass(frozen=True)
class Asked:
    """One request: when it began and ended, on this machine's clock, and who answered it or how it failed."""

    begun: float
    ended: float
    by: str

    @property
    def failed(self) -> bool:
        """Whether neither has answered it."""
        return self.by not in (PROXY, BACKUP)


@dataclass
class Clients:
    """The load. `seen` are the requests since the last kill was prepared."""

    url: str
    seen: list[Asked] = field(default_factory=list)
    over: bool = False

    async def run(self, each: int) -> None:
        """So many that keep their connection, and so many that do not."""
        await asyncio.gather(*(self._client(keeps) for keeps in (True, False) for _ in range(each)))

    async def _client(self, keeps: bool) -> None:
        connector = aiohttp.TCPConnector(limit=1, force_close=not keeps)
        async with aiohttp.ClientSession(connector=connector) as session:
            while not self.over:
                begun = time.perf_counter()
                by = await self._ask(session)
                self.seen.append(Asked(begun, time.perf_counter(), by))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, session: aiohttp.ClientSession) -> str:
        try:
            async with session.post(f"{self.url}/predict", data=BODY) as answer:
                if answer.status != 200 or not ANSWER.endswith(await answer.read()):
                    return f"status {answer.status}"
                return PROXY if "X-Shadowdrift-Id" in answer.headers else BACKUP
        except (aiohttp.ClientError, OSError) as error:
            return type(error).__name__

    async def until(self, holds: Callable[[Asked], bool]) -> Asked:
        """The first request that ended after this call of which this holds."""
        looked, ends = len(self.seen), time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < ends:
            while looked < len(self.seen):
                looked += 1
                if holds(self.seen[looked - 1]):
                    return self.seen[looked - 1]
            await asyncio.sleep(0.002)
        raise SystemExit(f"nothing of what was waited for in {PATIENCE_SECONDS:g} s; the last: {self.seen[-1:]}")


@dataclass(frozen=True)
class Kill:
    """What one cost.

    Seconds from the kill until the backup has answered a request that began after it; from the proxy's return, which is
    its readiness, until it has answered one; the longest time from the kill on in which nobody has answered anything.
    """

    requests: int
    open: int
    failed: int
    failed_later: int
    backup_seconds: float
    back_seconds: float
    silent_seconds: float
    longest_seconds: float


async def kill(proxy: Proxy, clients: Clients, kind: str) -> Kill:
    """Kill it once, under load, and start it again."""
    await clients.until(lambda one: one.by == PROXY)
    clients.seen.clear()
    victims = proxy.processes() if kind == KINDS[0] else [proxy.pid]
    killed = time.perf_counter()
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    await proxy.ended()
    gone = time.perf_counter()
    first = await clients.until(lambda one: one.by == BACKUP and one.begun > killed)
    await asyncio.sleep(AWAY_SECONDS)
    await proxy.start()
    back = time.perf_counter()
    again = await clients.until(lambda one: one.by == PROXY and one.ended > back)
    await clients.until(lambda one: one.begun > again.ended)
    seen = list(clients.seen)
    was_open = [one for one in seen if one.begun <= gone and one.ended >= killed]
    return Kill(
        requests=len(seen),
        open=len(was_open),
        failed=sum(one.failed for one in was_open),
        failed_later=sum(one.failed for one in seen) - sum(one.failed for one in was_open),
        backup_seconds=first.ended - killed,
        back_seconds=again.ended - back,
        silent_seconds=silence(killed, [one.ended for one in seen if not one.failed]),
        longest_seconds=max(one.ended - one.begun for one in seen),
    )


def silence(begun: float, answered: Sequence[float]) -> float:
    """The longest time after `begun` without an answer, by the times at which there were answers."""
    times = [begun, *sorted(at for at in answered if at > begun)]
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


async def measure(options: argparse.Namespace, program: str) -> dict[str, Any]:
    """Every kill; the result as it is written."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Model(random.Random(1), 0.01), "127.0.0.1", 0, backlog=4096
    )
    model = server.sockets[0].getsockname()[1]
    kills: dict[str, list[Kill]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        proxy = Proxy(folder, model, "127.0.0.1:1", workers=2)  # no broker: events wait on disk
        await proxy.start()
        addresses = {"proxy:8080": f"127.0.0.1:{proxy.port}", "model-v2:8000": f"127.0.0.1:{model}"}
        with Started(folder, "nginx.conf", addresses, {}, Path(program)) as nginx:
            clients = Clients(nginx.url)
            load = asyncio.create_task(clients.run(options.clients))
            for number in range(2 * options.kills):
                kind = KINDS[number % 2]
                kills[kind].append(await kill(proxy, clients, kind))
            clients.over = True
            await load
        await proxy.stop()
    server.close()
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "nginx_version": nginx_version(program),
        "clients": {"keeping their connection": options.clients, "a new connection each time": options.clients},
        "killed": {kind: _result(kills[kind]) for kind in KINDS},
    }


def _result(kills: Sequence[Kill]) -> dict[str, Any]:
    def spread(values: Sequence[float]) -> dict[str, float]:
        return {"median": round(statistics.median(values), 3), "longest": round(max(values), 3)}

    return {
        "times": len(kills),
        "requests": sum(one.requests for one in kills),
        "open_at_the_kill": sum(one.open for one in kills),
        "failed_of_those": sum(one.failed for one in kills),
        "failed_of_all_others": sum(one.failed_later for one in kills),
        "until_the_backup_answers_seconds": spread([one.backup_seconds for one in kills]),
        "until_the_proxy_is_used_again_seconds": spread([one.back_seconds for one in kills]),
        "longest_without_any_answer_seconds": spread([one.silent_seconds for one in kills]),
        "slowest_answer_seconds": spread([one.longest_seconds for one in kills]),
    }


def main() -> int:
    """The command; exit code 1 when a request failed that was not open at a kill."""
    made = argparse.ArgumentParser(description="What a killed proxy costs clients of nginx.")
    made.add_argument("--kills", type=int, default=20, help="of each of the two kinds")
    made.add_argument("--clients", type=int, default=8, help="of each of the two kinds")
    made.add_argument("--nginx", metavar="PROGRAM", help="another nginx than that of bench/nginx.lock")
    made.add_argument("--output", type=Path, default=RESULT)
    options = made.parse_args()
    results = uvloop.run(measure(options, chosen_nginx(options.nginx)))
    for kind, figures in results["killed"].items():
        sys.stdout.write(f"{kind}: {json.dumps(figures)}\n")
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(f"written to {options.output}\n")
    return int(any(figures["failed_of_all_others"] for figures in results["killed"].values()))


if __name__ == "__main__":
    sys.exit(main())
