"""A model behind HTTP, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from demo.flights import Halves
from demo.models import Model
from demo.serving import Service
from lifecycle.refusal import REFUSED
from lifecycle.tether import Child

Client: TypeAlias = TestClient[web.Request, web.Application]

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def client(v1: Model, halves: Halves) -> AsyncIterator[Client]:
    """A client of v1's service."""
    sample = halves.traffic.take(np.arange(1)).rows()[0]
    async with TestClient(TestServer(Service("v1", v1, sample).application())) as client:
        yield client


async def test_one_row_has_one_prediction(client: Client, v1: Model, halves: Halves) -> None:
    """What the model says, unrounded."""
    row = halves.july.take(np.arange(1)).rows()[0]
    async with client.post("/predict", json=row) as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert await answer.json() == {"prediction": pytest.approx(v1.predict([row])[0])}


async def test_instances_have_predictions_in_their_order(client: Client, v1: Model, halves: Halves) -> None:
    """KServe's form."""
    rows = halves.july.take(np.arange(5)).rows()
    async with client.post("/predict", json={"instances": rows}) as answer:
        assert await answer.json() == {"predictions": pytest.approx(v1.predict(rows).tolist())}


async def test_health_runs_an_inference(client: Client) -> None:
    """Its answer shows the prediction."""
    async with client.get("/health") as answer:
        assert answer.status == 200
        health = await answer.json()
    assert (health["status"], health["model"]) == ("ok", "v1")
    assert 0 < health["prediction"] < 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b'{"temp": NaN}', "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[1]", "the body must be a JSON object"),
        (b'{"instances": 3}', "instances must be a list of objects"),
        (b'{"instances": [3]}', "instances must be a list of objects"),
        (b"{}", "a row needs features, such as hour and distance"),
        (b'{"temp": "warm"}', "temp must be a number, got str"),
        (b'{"distance": ' + b"9" * 400 + b"}", None),
        (b'{"temp": 1e999}', None),
    ],
)
async def test_bad_input_gets_400_and_one_json_line(client: Client, body: bytes, error: str | None) -> None:
    """Never a traceback, and the service goes on."""
    async with client.post("/predict", data=body) as answer:
        text = await answer.text()
        assert answer.status == 400
    assert text.count("\n") == 1
    assert error in (None, json.loads(text)["error"])
    async with client.post("/predict", data=b'{"temp": 50}') as answer:
        assert answer.status == 200


async def test_the_process_tells_its_parent_when_it_is_ready_and_ends_in_order(halves: Halves, tmp_path: Path) -> None:
    """Its training rows and their predictions lie in a CSV; what it logs is JSON lines."""
    path = tmp_path / "train.csv"
    with (tmp_path / "log").open("wb") as log:
        child = await Child.start("v2", "demo.serving", ["--model", "v2", "--training-csv", str(path)], output=log)
        ready = await child.ready()
        assert (ready["model"], ready["rows"]) == ("v2", len(halves.training))
        assert ready["auc"] > 0.65
        assert ready["train_seconds"] > 0
        row = halves.training.take(np.arange(1)).rows()[0]
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{ready['port']}/predict", json=row) as answer,
        ):
            prediction = (await answer.json())["prediction"]
        assert await child.stop(10)
        assert await child.ended == 0
    with path.open() as file:
        assert len(lines := file.read().splitlines()) == len(halves.training) + 1
    assert float(lines[1].rsplit(",", 1)[1]) == pytest.approx(prediction, abs=1e-12)
    assert [json.loads(line)["message"] for line in (tmp_path / "log").read_text().splitlines()] == ["serves"]


async def test_without_a_parent_it_serves_where_it_is_told_until_sigterm() -> None:
    """As in a container: its first line tells that it serves."""
    process = await _start("--model", "v1", "--host", "0.0.0.0")
    assert process.stdout is not None
    line = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{line['port']}") as session,
        session.get("/health") as answer,
    ):
        assert answer.status == 200
    process.terminate()
    rest, errors = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, rest, errors) == (0, b"", b"")


async def test_a_port_in_use_is_one_line_on_stderr() -> None:
    """And the exit code of a refusal."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await _start("--model", "v1", "--port", str(taken.getsockname()[1]))
        out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, out) == (REFUSED, b"")
    assert errors.count(b"\n") == 1
    assert b"address already in use" in errors


async def _start(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "demo.serving", *arguments, cwd=ROOT, stdout=pipe, stderr=pipe
    )
