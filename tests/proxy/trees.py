"""`shadowdrift proxy` as it is run, for tests: its processes, its log, its metrics, and the laws they obey."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.proxy.planes import document
from tests.support.backend import Backend
from tests.support.waiting import until

QUICK = {"workers": 1, "drain_timeout": 1}


@dataclass
class Metrics:
    """One scrape's samples."""

    samples: list[Sample]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples of a name that have these labels; there must be one."""
        found = [one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items()]
        assert found, f"no {name} {labels}"
        return sum(found)


@dataclass
class Tree:
    """A running proxy."""

    process: asyncio.subprocess.Process
    folder: Path
    port: int = 0
    admin: str = ""

    def log(self) -> list[dict[str, Any]]:
        """Its log's lines so far."""
        lines = (self.folder / "log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def said(self) -> str:
        """What stands on its standard error."""
        return (self.folder / "errors").read_text()

    def message(self, text: str) -> dict[str, Any] | None:
        """The first line with this message."""
        return next((line for line in self.log() if line["message"] == text), None)

    def children(self) -> list[int]:
        """The processes that it has started."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(rest[1]) == self.process.pid and rest[0] != "Z":
                found.append(pid)
        return found

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of an admin endpoint."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.admin}{path}") as response:
            return response.status, await response.text()

    async def metrics(self) -> Metrics:
        """One scrape."""
        _, text = await self.get("/metrics")
        return Metrics([sample for family in text_string_to_metric_families(text) for sample in family.samples])


@asynccontextmanager
async def tree(
    made: dict[str, Any], folder: Path, *, serves: bool = True, temporary: Path | None = None
) -> AsyncIterator[Tree]:
    """A proxy of this configuration, for one block; afterwards none of its processes is left.

    `temporary` is its TMPDIR.
    """
    environment = {**os.environ, **({} if temporary is None else {"TMPDIR": str(temporary)})}
    config = folder / "shadowdrift.yaml"
    config.write_text(json.dumps(made))
    with (folder / "log").open("wb") as log, (folder / "errors").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "proxy", "--config", str(config)),
            env=environment,
            stdout=log,
            stderr=errors,
        )
    running = Tree(process, folder)
    children: list[int] = []
    try:
        if serves:
            line = await until(lambda: process.returncode is not None or running.message("serves"), 30, "the start")
            assert isinstance(line, dict), running.said()
            running.port, running.admin = int(line["listen"].rpartition(":")[2]), line["admin"]
            children = running.children()
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)
    await until(lambda: not [pid for pid in children if runs(pid)], what="the children's end")


def command(pid: int) -> str:
    """What the process runs."""
    return Path(f"/proc/{pid}/cmdline").read_text()


def runs(pid: int) -> bool:
    """Whether it does, and is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def configured(production: Backend, shadow: Backend, **sections: Any) -> dict[str, Any]:
    """Quick to stop; Kafka is away unless a test has one."""
    sections["proxy"] = {**QUICK, **sections.get("proxy", {})}
    return document(production.url, shadow.url, **sections)


def check_laws(metrics: Metrics) -> None:
    """The conservation laws, which hold at every scrape."""
    total = metrics.total
    sampled, sent = total("mirror_sampled_total"), total("mirror_sent_total")
    dropped, waiting = total("mirror_dropped_total"), total("mirror_waiting")
    assert sampled == sent + dropped + total("mirror_log_only_total") + waiting
    assert sent == total("mirror_completed_total") + total("mirror_failed_total") + total("mirror_in_flight"), [
        (one.name, one.labels, one.value) for one in metrics.samples if one.name.startswith("mirror") and one.value
    ]
    for role in ("production", "shadow"):
        delivered, lost = total("events_delivered_total", role=role), total("events_lost_total", role=role)
        held = total("events_waiting", role=role)
        assert total("events_captured_total", role=role) == delivered + lost + held
        assert held >= 0
