"""What a caller is answered, and that each answer stands in the audit log."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from rollback.audit import Audit
from rollback.counters import RollbackMetrics
from rollback.endpoints import Endpoints
from tests.rollback.making import SEVERE, delivery_document
from tests.rollback.stand_ins import rolling, served
from tests.support.waiting import until


async def test_each_answer_stands_in_the_audit_log(tmp_path: Path) -> None:
    """401, 400, 200 whatever was decided, 409, and 503 where an action failed: in their order, with who and why."""
    (tmp_path / "token").write_text("hush\n")
    settings = {
        "token_file": str(tmp_path / "token"), "actions": ["webhook"], "webhook": {"url": "http://127.0.0.1:1/run"},
    }  # fmt: skip
    right = {"headers": {"Authorization": "Bearer hush"}}
    async with rolling(tmp_path, **settings) as running:
        assert (await running.post("/alertmanager", delivery_document()))[0] == 401
        assert (await running.post("/alertmanager", {"version": "4"}, **right))[0] == 400
        status, answer = await running.post("/alertmanager", delivery_document(), **right)
        assert (status, answer["decision"]) == (200, "stale")
        status, answer = await running.post("/restore", {"by": "alice", "reason": "why not"}, **right)
        assert (status, answer["reason"]) == (409, "serves_already")
        running.exporter.columns = SEVERE
        assert (await running.post("/rollback", {"by": "alice"}, **right))[0] == 503
        lines = [line for line in running.audit() if line["what"] != "settled"]
    assert [(line["what"], line.get("status"), line.get("decision")) for line in lines] == [
        ("refused_request", 401, None),
        ("refused_request", 400, None),
        ("alert", None, "stale"),
        ("command", None, "refused"),
        ("begins", None, None),
        ("command", None, "failed"),
    ]
    assert "cannot be undone" in lines[4]["irreversible"][0], "it says so before it runs"
    assert (lines[3]["by"], lines[3]["because"]) == ("alice", "why not")
    assert "connection refused" in lines[5]["text"]
    assert "Errno" not in json.dumps(lines)


class Faulty:
    """Commands of which one has a fault, and another takes long."""

    def __init__(self) -> None:
        self.by_name = dict.fromkeys(("rollback", "pause"))
        self.go = asyncio.Event()

    async def run(self, name: str, order: Any) -> tuple[int, dict[str, Any]]:
        """Fail, or wait."""
        if name == "rollback":
            raise ZeroDivisionError
        await self.go.wait()
        return 200, {}


@asynccontextmanager
async def endpoints(folder: Path) -> AsyncIterator[tuple[Endpoints, Faulty, str, Audit]]:
    """As the service has them, but for who decides."""
    (folder / "rollback").mkdir()
    audit, commands = Audit(folder, time.time), Faulty()
    made = Endpoints(None, commands, audit, RollbackMetrics({}, (), dry_run=True))  # type: ignore[arg-type]
    try:
        async with served(made.routes()) as url:
            yield made, commands, url, audit
    finally:
        audit.close()


async def test_a_fault_and_a_call_while_it_stops_are_written_down_as_well(tmp_path: Path) -> None:
    """500, with nothing of the fault in it; 503, so that Alertmanager sends it again; what has begun is finished."""
    async with endpoints(tmp_path) as (made, commands, url, audit), aiohttp.ClientSession() as session:
        async with session.post(f"{url}/rollback", data=b"{}") as answer:
            assert answer.status == 500
        under_way = asyncio.create_task(session.post(f"{url}/pause", data=b"{}"))
        await until(lambda: made._working, what="the call is under way")
        finishing = asyncio.create_task(made.finish(30))
        await until(lambda: made._closing, what="it stops")
        async with session.post(f"{url}/rollback", data=b"{}") as answer:
            assert (answer.status, await answer.json()) == (503, {"error": "the rollback stops"})
        commands.go.set()
        await finishing
        async with await under_way as answer:
            assert answer.status == 200
        lines = [json.loads(line) for line in audit.path.read_text().splitlines()]
    assert [(line["status"], line["path"]) for line in lines] == [(500, "/rollback"), (503, "/rollback")]
    assert "ZeroDivision" not in json.dumps(lines)
