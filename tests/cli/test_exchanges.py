"""`shadowdrift exchanges`: what stands in a real Kafka of one exchange or of a span, production beside shadow."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from cli.main import main
from events.codec import encode
from events.headers import inference_headers
from events.ids import new_id
from events.inference import InferenceEvent, Instance
from events.partitions import partition_of
from tests.exporter.test_consume import PARTITIONS, topics_of
from tests.support.kafka import Kafka

CONFIGURATION = """
kafka: {{bootstrap_servers: "{servers}"}}
models:
  - {{name: fraud, path_prefix: /f, targets: {{v2: {{url: "http://a:1"}}}}, production: v2}}
  - {{name: churn, path_prefix: /c, targets: {{v2: {{url: "http://a:1"}}}}, production: v2}}
"""


def event(identity: str, role: str, prediction: Any, **fields: Any) -> InferenceEvent:
    """One answer."""
    instance = Instance({"amount": 12.5, "country": "#0123456789abcdef"}, prediction)
    given: dict[str, Any] = {"id": identity, "model": "fraud", "version": "v2" if role == "production" else "v1"}
    given |= {"time": time.time(), "latency_seconds": 0.0123, "status": 200, "outcome": "ok", "key_id": "k1"}
    return InferenceEvent(**{**given, "role": role, "instances": [instance], **fields})


async def send(servers: str, *events: InferenceEvent | bytes) -> None:
    """As an emitter does; bytes are messages that are no events."""
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        for each in events:
            made = event("x", "production", 0) if isinstance(each, bytes) else each
            await producer.send_and_wait(
                f"inference.{made.role}",
                each if isinstance(each, bytes) else encode(each),
                key=made.model.encode(),
                partition=partition_of(made.model, PARTITIONS),
                headers=inference_headers(made),
                timestamp_ms=int(made.time * 1000),
            )


@pytest.fixture
async def config(kafka: Kafka, tmp_path: Path) -> AsyncIterator[Path]:
    """A configuration of two models whose topics are there."""
    path = tmp_path / "shadowdrift.yaml"
    path.write_text(CONFIGURATION.format(servers=kafka.bootstrap_servers))
    async with topics_of(kafka.bootstrap_servers):
        yield path


async def run(config: Path, *arguments: str) -> int:
    """The command, beside this loop."""
    return await asyncio.to_thread(main, ["exchanges", *arguments, "--config", str(config)])


async def test_one_exchange_is_found_by_its_id(config: Path, kafka: Kafka, capsys: pytest.CaptureFixture[str]) -> None:
    """Among others, without its model's name; both answers side by side, what they were asked once."""
    identity = new_id()
    await send(
        kafka.bootstrap_servers,
        event(new_id(), "production", 0.1),
        b"no event",
        event(identity, "production", 0.25, sampled=True, tenant="acme"),
        event(identity, "production", 0.25, sampled=True, tenant="acme"),
        event(identity, "shadow", 0.75),
        event(new_id(), "shadow", 0.9),
    )
    assert await run(config, "--id", identity) == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][0] == identity
    assert lines[0][2:] == ["fraud", "tenant", "acme", "key", "k1"]
    assert ["production", "v2", "200", "ok", "12.3", "ms"] in lines
    assert ["shadow", "v1", "200", "ok", "12.3", "ms"] in lines
    assert ["prediction", "0.25", "0.75"] in lines
    assert ["amount", "12.5"] in lines
    assert out.count(identity) == 1
    assert err == ""
    assert await run(config, "--id", identity, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["production"]["instances"][0]["prediction"], told["shadow"]["instances"][0]["prediction"]) == (
        0.25,
        0.75,
    )
    assert await run(config, "--id", new_id()) == 1
    assert capsys.readouterr() == ("", "shadowdrift: no such exchange is recorded\n")


async def test_a_span_is_printed_by_time(config: Path, kafka: Kafka, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one model, whatever order the events have in the log; a limit is told."""
    now = time.time()
    ids = [new_id() for _ in range(5)]
    times = [now - 3000, now - 200, now - 300, now - 100, now - 50]
    events = [event(each, "production", n, time=at) for n, (each, at) in enumerate(zip(ids, times, strict=True))]
    other = event(new_id(), "production", 9, model="churn", time=now - 100)
    await send(kafka.bootstrap_servers, *events, other, event(ids[1], "shadow", 8, time=times[1]))
    assert await run(config, "--since", "10m", "--until", "1m", "--model", "fraud", "--json") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["id"] for each in told] == [ids[2], ids[1], ids[3]]
    assert [each["shadow"] is None for each in told] == [True, False, True]
    assert await run(config, "--since", "1h", "--model", "fraud", "--limit", "2", "--json") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err == "shadowdrift: note: there are more than 2 exchanges; --limit shows more\n"


MISTAKES = {
    "no id": (["--id", "7"], "--id must be an X-Shadowdrift-Id, a UUID of version 7, got '7'"),
    "another id": (
        ["--id", "6fa459ea-ee8a-4ca4-894e-db77e160355e"],
        "--id must be an X-Shadowdrift-Id, a UUID of version 7, got '6fa459ea-ee8a-4ca4-894e-db77e160355e'",
    ),
    "no time": (
        ["--since", "then", "--model", "fraud"],
        "--since must be like 2026-11-25T18:00:00Z or 10m, got 'then'",
    ),
    "a time without its zone": (
        ["--since", "2026-11-25T18:00:00", "--model", "fraud"],
        "--since must be like 2026-11-25T18:00:00Z or 10m, got '2026-11-25T18:00:00'",
    ),
    "no span": (
        ["--since", "2026-11-25T18:00:00Z", "--until", "2026-11-25T17:00:00Z", "--model", "fraud"],
        "--since must lie before --until, got 2026-11-25T18:00:00.000Z and 2026-11-25T17:00:00.000Z",
    ),
    "a model that is none": (["--since", "1h", "--model", "x"], "--model must be one of fraud, churn, got 'x'"),
    "no model": (["--since", "1h"], "--since needs --model: one of fraud, churn"),
    "a limit of nothing": (["--since", "1h", "--model", "fraud", "--limit", "0"], "--limit must be at least 1, got 0"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before any broker is asked."""
    arguments, line = MISTAKES[case]
    config = tmp_path / "shadowdrift.yaml"
    config.write_text(CONFIGURATION.format(servers="127.0.0.1:1"))
    assert main(["exchanges", *arguments, "--config", str(config)]) == 2
    assert capsys.readouterr() == ("", f"shadowdrift: exchanges: {line}\n")
