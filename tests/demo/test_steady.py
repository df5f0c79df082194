"""The stack's steady traffic, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


async def test_it_waits_for_its_url_counts_what_came_back_and_switches_to_drift_and_back() -> None:
    """And stops in order; what it logs is JSON lines."""
    months: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        months.append((await request.json())["temp"] or 0.0)
        return web.json_response({"prediction": 0.5})

    application = web.Application()
    application.router.add_post("/predict", answer)
    target, own = unused_port(), unused_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "demo.steady", "--url", f"http://127.0.0.1:{target}/predict", "--rate", "200",
        "--listen", f"127.0.0.1:{own}", cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip

    async with aiohttp.ClientSession(f"http://127.0.0.1:{own}") as session:

        async def counts() -> dict[str, Any]:
            async with session.get("/") as told:
                found: dict[str, Any] = await told.json()
                return found

        await until(counts, 60, "its page, before anybody answers", tolerating=(aiohttp.ClientError,))
        async with TestServer(application, port=target):
            await until(lambda: len(months) > 50, 20, "traffic")
            async with session.post("/drift/sideways") as refused:
                assert refused.status == 400
            async with session.post("/drift/season") as switched:
                assert (await switched.json())["drift"] == "season"
            before = len(months)
            await until(lambda: len(months) > before + 50, 20, "July's traffic")
            assert sum(months[-30:]) / 30 > sum(months[:30]) / 30 + 20  # °F
            process.terminate()
            output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, errors) == (0, b"")
    last = [json.loads(line) for line in output.splitlines()][-1]
    assert (last["part"], last["failed"], last["drift"]) == ("traffic", 0, "season")
    assert last["sent"] == last["answered"]["2xx"]
