"""Those whom the rollback asks, played: an exporter with a document, a Prometheus with samples, a receiver of calls."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from evidence import document
from evidence.document import Evidence, FeatureDrift
from lifecycle.tether import Tether
from rollback.service import serve
from tests.rollback.making import CALM, alert_document, configured, delivery_document, evidence
from tests.support.waiting import until


@asynccontextmanager
async def served(routes: list[web.RouteDef], ssl: Any = None) -> AsyncIterator[str]:
    """A server on loopback; its address."""
    app = web.Application()
    app.router.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl).start()
        yield f"{'https' if ssl else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Exporter:
    """Serves evidence that is fresh whenever it is asked for; `status` other than 200 is a broken one."""

    def __init__(self) -> None:
        self.columns: tuple[FeatureDrift, ...] = CALM
        self.changes: dict[str, Any] = {}
        self.raw: bytes | None = None
        self.status = 200
        self.asked: list[tuple[str, str | None]] = []

    def made(self) -> Evidence:
        """What it knows now."""
        return evidence(*self.columns, at=time.time(), **self.changes)

    async def handle(self, request: web.Request) -> web.Response:
        """`GET /evidence/{model}`."""
        self.asked.append((request.path, request.headers.get("Authorization")))
        body = document.encode(self.made()) if self.raw is None else self.raw
        return web.Response(body=body, status=self.status, content_type="application/json")


class Prometheus:
    """Answers the three queries by what they select; samples of version and role."""

    def __init__(self) -> None:
        self.p95: float | None = 0.05
        self.requests = 600.0
        self.failed = 0.0
        self.firing: list[str] = []
        self.status = 200
        self.queries: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        """`GET /api/v1/query`."""
        query = request.query["query"]
        self.queries.append(query)
        if query.startswith("ALERTS"):
            result = [{"metric": {"alertname": name}, "value": [0, "1"]} for name in self.firing]
        elif query.startswith("histogram_quantile"):
            value = "NaN" if self.p95 is None else str(self.p95)
            result = [{"metric": {"role": role, "version": v}, "value": [0, value]} for role, v in _SERVED]
        else:
            counts = {("2xx", "ok"): self.requests - self.failed, ("5xx", "error"): self.failed}
            result = [
                {"metric": {"role": role, "version": v, "status": s, "outcome": o}, "value": [0, str(count)]}
                for role, v in _SERVED for (s, o), count in counts.items()
            ]  # fmt: skip
        return web.json_response(
            {"status": "success", "data": {"resultType": "vector", "result": result}}, status=self.status
        )


_SERVED = (("production", "v2"), ("shadow", "v1"))


@dataclass
class Receiver:
    """Whoever is called: keeps every call, answers with `status`."""

    status: int = 200
    calls: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        """Any method, any path."""
        body = await request.read()
        self.calls.append((request.method, request.raw_path, dict(request.headers), json.loads(body) if body else None))
        return web.json_response({}, status=self.status)


@dataclass
class Running:
    """A rollback that serves, whom it asks, and a client."""

    url: str
    folder: Path
    exporter: Exporter
    prometheus: Prometheus
    session: aiohttp.ClientSession

    async def post(self, path: str, body: Any = None, **options: Any) -> tuple[int, dict[str, Any]]:
        """Status and answer."""
        data = io.BytesIO(json.dumps({} if body is None else body).encode())
        async with self.session.post(f"{self.url}{path}", data=data, **options) as answer:
            return answer.status, await answer.json()

    async def alert(self, name: str = "SevereFeatureDrift", /, **changes: Any) -> tuple[int, dict[str, Any]]:
        """One alert that has just begun, as Alertmanager sends it."""
        changes.setdefault("starts", time.time() - 60)
        return await self.post("/alertmanager", delivery_document(alert_document(name, **changes)))

    async def decision(self, name: str = "SevereFeatureDrift", /, **changes: Any) -> tuple[str, str]:
        """Its decision and reason."""
        status, answer = await self.alert(name, **changes)
        assert status == (503 if answer["decision"] == "failed" else 200)
        return answer["decision"], answer["reason"]

    async def status(self) -> dict[str, Any]:
        """`GET /status`, of the one model."""
        async with self.session.get(f"{self.url}/status") as answer:
            found: dict[str, Any] = (await answer.json())["models"]["fraud"]
        return found

    async def metrics(self) -> dict[str, float]:
        """The rollback's own series, by name and labels."""
        async with self.session.get(f"{self.url}/metrics") as answer:
            text = await answer.text()
        return {
            name: float(value)
            for name, value in re.findall(r"^(rollback_\S+) (\S+)$", text, re.MULTILINE)
        }  # fmt: skip

    @property
    def active(self) -> dict[str, Any] | None:
        """The model's entry in the active file; None without a file."""
        path = self.folder / "state" / "active" / "active.json"
        return json.loads(path.read_text())["models"]["fraud"] if path.exists() else None

    def audit(self) -> list[dict[str, Any]]:
        """The audit log's lines."""
        return [
            json.loads(line) for line in (self.folder / "state" / "rollback" / "audit.jsonl").read_text().splitlines()
        ]


@asynccontextmanager
async def rolling(folder: Path, /, **settings: Any) -> AsyncIterator[Running]:
    """A rollback of these settings, in this process; `model` holds settings of the model."""

    exporter, prometheus = (
        settings.pop("exporter", None) or Exporter(),
        settings.pop("prometheus_", None) or Prometheus(),
    )
    async with AsyncExitStack() as stack:
        asked = await stack.enter_async_context(
            served([web.get("/evidence/{model}", exporter.handle), web.get("/api/v1/query", prometheus.handle)])
        )
        settings = {"exporters": [asked], "prometheus": asked, "cool_down": 0, "on_feature_drift": "alone", **settings}
        configuration = configured(folder, **settings)
        announced: dict[str, Any] = {}
        stop = asyncio.Event()
        tether = Tether(None, b"")
        tether.announce = announced.update  # type: ignore[method-assign]
        task = asyncio.create_task(serve(configuration, tether, stop))
        try:
            await until(lambda: announced or task.done(), what="the rollback listens")
            if task.done():
                task.result()
            session = await stack.enter_async_context(aiohttp.ClientSession())
            yield Running(announced["rollback"], folder, exporter, prometheus, session)
        finally:
            stop.set()
            await asyncio.wait_for(task, 30)
