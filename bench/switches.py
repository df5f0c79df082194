"""What a switch of versions costs: from the decision to the last request of the former one, and what failed meanwhile.

    python -m bench.switches --switches 100

Clients ask all the time, half of them on connections that they keep, half on a new one for each request, each at most a
hundred times a second. A person's `rollback` and `restore` alternate; the clock starts when the order is sent. With
`active-file` the way leads through a proxy of two workers, which is asked whether it has taken the switch; with `nginx`
through an nginx alone, whose upstream the rollback writes; with `ssm` through a proxy whose host follows the parameter,
every 2 s as is the default (moto serves AWS's protocol). nginx closes kept connections when it reloads, which may cut a
request that is on its way just then; from 1.27.4 on `keepalive_min_timeout` prevents it. So the two kinds are counted
apart, and nginx is PyPI's, pinned by `bench/nginx.lock`, with `nginx/since-1.27.4.conf`; `--nginx /usr/sbin/nginx`
measures another one, without that file where it is too old for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop

from bench.peers import nginx_version
from bench.stops import ANSWER, BODY, Load, free_port
from tests.support.wheels import CHECKOUT, NGINX

RESULT: Final = Path(__file__).parent / "results" / "switches.json"
PAUSE_SECONDS: Final = 0.01
KINDS: Final = ("active-file", "nginx", "ssm")
SETTLE_SECONDS: Final = {"active-file": 0.3, "nginx": 1.0, "ssm": 4.5}
"""How long after an order the former version is watched: longer than it can still be asked."""

SINCE: Final = CHECKOUT / "nginx" / "since-1.27.4.conf"

_NGINX: Final = """\
worker_processes 2;
pid nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path bodies;
    proxy_temp_path answers;
    fastcgi_temp_path unused;
    uwsgi_temp_path unused;
    scgi_temp_path unused;
    {newer}
    upstream active {{
        include {folder}/active-upstream.conf;
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        include {folder}/active-version.conf;
        location / {{
            proxy_pass http://active;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


class Version(asyncio.Protocol):
    """A model that answers at once and remembers when it was asked last."""

    def __init__(self, name: str, asked_at: dict[str, float]) -> None:
        self._name = name
        self._asked_at = asked_at
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            head, end, body = self._data.partition(b"\r\n\r\n")
            if not end or len(body) < len(BODY):
                return
            del self._data[: len(head) + len(end) + len(BODY)]
            self._asked_at[self._name] = time.perf_counter()
            self._transport.write(ANSWER)


class Paced(Load):
    """Clients that pause between requests, and that look, as HTTP clients do, whether a kept connection was closed."""

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        kept = await super()._ask(reader, writer)
        await asyncio.sleep(PAUSE_SECONDS)
        return kept and not reader.at_eof()


class Subject:
    """One way to switch, running: where clients ask, and where orders go."""

    def __init__(
        self, kind: str, folder: Path, targets: dict[str, str], stack: AsyncExitStack, nginx_program: str
    ) -> None:
        self.kind = kind
        self._nginx_program = nginx_program
        self.port = free_port()
        self.orders = f"http://127.0.0.1:{free_port()}"
        self._admin = free_port()
        self._folder = folder
        self._targets = targets
        self._stack = stack

    async def start(self) -> None:
        """Everything that this way takes."""
        await {"active-file": self._proxy, "nginx": self._nginx, "ssm": self._ssm}[self.kind]()

    async def _proxy(self) -> None:
        self._write({"actions": ["active-file"], "proxies": [f"http://127.0.0.1:{self._admin}"]})
        await self._run(f"http://127.0.0.1:{self._admin}/-/ready", "proxy")
        await self._run(f"{self.orders}/-/ready", "rollback")

    async def _nginx(self) -> None:
        program = self._nginx_program
        conf, run = self._folder / "nginx.conf", self._folder / "run"
        run.mkdir()
        conf.write_text(_NGINX.format(folder=self._folder, port=self.port, newer=newer(program)))
        host = self._targets["v2"].removeprefix("http://")
        (self._folder / "active-upstream.conf").write_text(f"server {host};\n")
        (self._folder / "active-version.conf").write_text("")
        command = [program, "-e", "stderr", "-p", f"{run}/", "-c", str(conf)]
        await self._process(None, *command, "-g", "daemon off;")
        self._write(
            {
                "actions": ["active-file", "nginx"],
                "nginx": {
                    "directory": str(self._folder), "role": "primary", "test": [*command, "-t"],
                    "reload": [*command, "-s", "reload"],
                    "check": f"http://127.0.0.1:{self.port}/nginx/active/fraud",
                },
            }
        )  # fmt: skip
        await self._run(f"{self.orders}/-/ready", "rollback")

    async def _ssm(self) -> None:
        port = free_port()
        await self._process(f"http://127.0.0.1:{port}/moto-api/", sys.executable, "-m", "moto.server", "-p", str(port))
        own = self._folder / "elsewhere"  # the host of the rollback has a state of its own
        own.mkdir()
        ssm = {"endpoint": f"http://127.0.0.1:{port}", "region": "eu-central-1", "timeout": 30}
        self._write({"actions": ["ssm"], "ssm": ssm}, own)
        await self._run(f"{self.orders}/-/ready", "rollback", folder=own)
        self._write({"ssm": ssm})
        await self._run(f"http://127.0.0.1:{self._admin}/-/ready", "proxy")
        await self._run(None, "rollback", "follow")

    def _write(self, rollback: dict[str, Any], folder: Path | None = None) -> None:
        model = {"name": "fraud", "production": "v2", "shadow": "v1", "stable": "v1", "mirror": {"fraction": 0}}
        document = {
            "kafka": {"bootstrap_servers": "127.0.0.1:1"},  # away: events wait on disk
            "proxy": {"listen": f"127.0.0.1:{self.port}", "admin": f"127.0.0.1:{self._admin}", "workers": 2},
            "rollback": {"listen": self.orders.removeprefix("http://"), **rollback},
            "models": [{**model, "targets": {name: {"url": url} for name, url in self._targets.items()}}],
        }
        ((folder or self._folder) / "shadowdrift.yaml").write_text(json.dumps(document))

    async def _run(self, ready: str | None, *words: str, folder: Path | None = None) -> None:
        config = str((folder or self._folder) / "shadowdrift.yaml")
        await self._process(ready, sys.executable, "-m", "cli.main", *words, "--config", config)

    async def _process(self, ready: str | None, *command: str) -> None:
        """Start it, wait until it answers, and end it with the measurement."""
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=environment
        )

        async def end() -> None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

        self._stack.push_async_callback(end)
        ends = time.monotonic() + 60
        while ready is not None and not await _answers(ready):
            if process.returncode is not None or time.monotonic() > ends:
                raise SystemExit(f"{' '.join(command)} did not start")
            await asyncio.sleep(0.05)


def chosen_nginx(named: str | None) -> str:
    """The program that was named, else that of `bench/nginx.lock`."""
    if named is None and (reason := NGINX.fetch()) is not None:
        raise SystemExit(f"no newer nginx: {reason}; --nginx names another")
    return named or str(NGINX.program)


def newer(program: str) -> str:
    """The line that takes `nginx/since-1.27.4.conf`, where the program is new enough for it."""
    version = tuple(int(part) for part in nginx_version(program).split(".")[:3])
    return f"include {SINCE};" if version >= (1, 27, 4) else ""


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def measure(kind: str, switches: int, clients: int, nginx_program: str) -> dict[str, Any]:
    """One way's figures."""
    async with AsyncExitStack() as stack:
        asked_at: dict[str, float] = {"v1": 0.0, "v2": 0.0}
        targets: dict[str, str] = {}
        for name in asked_at:
            server = await stack.enter_async_context(_version(name, asked_at))
            targets[name] = server
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subject = Subject(kind, folder, targets, stack, nginx_program)
        await subject.start()
        kept, fresh = Paced(subject.port), Paced(subject.port)
        running = [asyncio.create_task(kept.keeping()) for _ in range(clients)]
        running += [asyncio.create_task(fresh.fresh()) for _ in range(clients)]
        await _until_asked(asked_at, "v2")
        seconds = [await _switch(subject, number, asked_at) for number in range(switches)]
        kept.over = fresh.over = True
        await asyncio.gather(*running)
        return {
            "switches": switches,
            "decision_to_last_request_seconds": {
                "median": round(statistics.median(seconds), 4), "longest": round(max(seconds), 4),
            },
            "requests": {"kept connections": sum(kept.seen.values()), "new connections": sum(fresh.seen.values())},
            "failed": {"kept connections": _failed(kept), "new connections": _failed(fresh)},
        }  # fmt: skip


async def _switch(subject: Subject, number: int, asked_at: dict[str, float]) -> float:
    """Order one; seconds until the former version was asked for the last time."""
    order, former, new = ("rollback", "v2", "v1") if number % 2 == 0 else ("restore", "v1", "v2")
    async with aiohttp.ClientSession() as session:
        begun = time.perf_counter()
        async with session.post(f"{subject.orders}/{order}", json={"by": "bench"}) as answer:
            if answer.status != 200:
                raise SystemExit(f"{order} failed: {await answer.text()}")
    await asyncio.sleep(SETTLE_SECONDS[subject.kind])
    last = asked_at[former]
    await asyncio.sleep(0.2)
    if asked_at[former] != last or asked_at[new] < begun:
        raise SystemExit(f"{former} is still asked, {SETTLE_SECONDS[subject.kind]} s after the order")
    return max(0.0, last - begun)


async def _until_asked(asked_at: dict[str, float], name: str) -> None:
    while not asked_at[name]:  # noqa: ASYNC110 - its protocol has no event to wait for
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def _version(name: str, asked_at: dict[str, float]) -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(
        lambda: Version(name, asked_at), "127.0.0.1", 0, backlog=4096
    )
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def _failed(load: Load) -> int:
    return sum(load.seen.values()) - load.seen["200"]


def main() -> int:
    """The command; exit code 1 when a request on a new connection failed."""
    made = argparse.ArgumentParser(description="What a switch of versions costs, by each way to switch.")
    made.add_argument("--switches", type=int, default=100, help="of active-file and nginx; a tenth of it of ssm (100)")
    made.add_argument("--clients", type=int, default=4, help="of each of the two kinds")
    made.add_argument("--only", choices=KINDS)
    made.add_argument("--nginx", metavar="PROGRAM", help="another nginx than that of bench/nginx.lock")
    made.add_argument("--output", type=Path, default=RESULT)
    options = made.parse_args()
    program = chosen_nginx(options.nginx)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
    results: dict[str, Any] = {
        "machine": machine, "nginx_version": nginx_version(program), "clients_of_each_kind": options.clients,
    }  # fmt: skip
    for kind in KINDS if options.only is None else (options.only,):
        times = options.switches if kind != "ssm" else max(2, options.switches // 10)
        results[kind] = uvloop.run(measure(kind, times, options.clients, program))
        sys.stdout.write(f"{kind}: {json.dumps(results[kind])}\n")
        sys.stdout.flush()
    if options.only is None:
        options.output.write_text(json.dumps(results, indent=1) + "\n")
        sys.stdout.write(f"written to {options.output}\n")
    return int(any(results[kind]["failed"]["new connections"] for kind in KINDS if kind in results))


if __name__ == "__main__":
    sys.exit(main())
