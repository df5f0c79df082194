"""Marked personal data and secrets through every part, format and failure: not one mark is found outside.

Marks are random words. What a client or a model sends may hold them; what the parts write, show, log or answer for
themselves may not: topics, spool, state, logs, metrics, evidence, error texts, and what the commands print.
"""

import asyncio
import base64
import contextlib
import gzip
import json
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer

from cli.main import main
from events.topics import PRODUCTION, SHADOW
from lifecycle.tether import Child
from tests.exporter.test_consume import topics_of
from tests.proxy.planes import document
from tests.proxy.trees import Tree, tree
from tests.support.backend import Backend, Call, backend
from tests.support.kafka import Kafka
from tests.support.raw_client import BrokenOffError, connected, request
from tests.support.waiting import until

CARD, IBAN, PHONE = "4539578763621486", "DE89370400440532013000", "+491712345678"


class Marks:
    """Words that nobody else says, by what they stood in."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {"a card": CARD, "an account": IBAN, "a telephone": PHONE[1:]}

    def __call__(self, where: str) -> str:
        """A new one. It begins with a letter, and is one word to everybody."""
        return self._words.setdefault(where, f"zq{secrets.token_hex(8)}zq")

    def found(self, data: bytes) -> list[str]:
        """Whose marks stand in some bytes, as they are, in hexadecimal or in base64."""
        lower = data.lower()
        return [
            where
            for where, word in self._words.items()
            if word.lower().encode() in lower
            or word.encode().hex().encode() in lower
            or any(base64.b64encode(b"x" * pad + word.encode())[4:-4] in data for pad in range(3))
        ]


@pytest.fixture
def marks() -> Marks:
    """None yet."""
    return Marks()


def model(marks: Marks, role: str) -> Any:
    """A model that answers with marks, in all the ways that an answer can go wrong."""

    async def script(call: Call) -> None:
        await call.read_body()
        path = call.target.split(b"?")[0].rpartition(b"/")[2].decode()
        word = marks(f"{role}'s answer to {path}").encode()
        if path == "error":
            await call.answer(500, b'{"error": "%s"}' % word, [(b"X-Told", word)])
        elif path == "cut":
            await call.send(b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"prediction": "%s"' % word)
            await call.reset()
        elif path == "garbage":
            await call.send(b"%s is no HTTP\r\n\r\n" % word)
            await call.close()
        elif path == "slow":
            await call.gone()
        elif path == "text":
            await call.answer(200, b"<p>%s</p>" % word)
        elif path == "shape":
            await call.answer(200, b'{"%s": 1}' % word)
        else:
            await call.answer(200, b'{"prediction": "%s"}' % word)

    return script


@pytest.fixture
async def models(marks: Marks) -> AsyncIterator[tuple[Backend, Backend]]:
    """Production and shadow."""
    async with backend(model(marks, "production")) as production, backend(model(marks, "shadow")) as shadow:
        yield production, shadow


def configured(folder: Path, models: tuple[Backend, Backend], broker: str, marks: Marks) -> dict[str, Any]:
    """Two models: one with everything that privacy offers, one that rejects what does not fit; secrets in files."""
    draw = random.Random(1)
    notes = ["the printer is late", "wifi is slow in room", "the mail does not come", "a new key for the door"]
    rows = [
        {"amount": draw.gauss(0, 1), "country": draw.choice(["DE", "FR"]), "note": f"{draw.choice(notes)} {number}"}
        for number in range(300)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps({**row, "prediction": "yes"}) + "\n" for row in rows))
    profile = ["profile", str(folder / "train.jsonl"), "--output", str(folder / "fraud.json"), "--kind", "note=text"]
    assert main(profile) == 0
    (folder / "credential").write_text(f"Bearer {marks('the credential of the shadow')}")
    (folder / "token").write_text(marks("the token of the proxy"))
    (folder / "key.json").write_text(json.dumps({"key_id": "k1", "secret": secrets.token_hex(32)}))
    fields = {"email": "drop", "card": "hash", "remark": "keep", "age": {"bucket": 10}}
    made = document(
        models[0].url,
        models[1].url,
        kafka=broker,
        proxy={
            "workers": 1,
            "drain_timeout": 5,
            "key_file": str(folder / "key.json"),
            "token_file": str(folder / "token"),
        },
        target={"timeout": 1},
        mirror={"fraction": 1, "after": "request", "timeout": 1, "credentials": {"value_file": "credential"}},
        reference=str(folder / "fraud.json"),
        tenant={"allow": ["acme"], "body": "tenant"},
        privacy={"fields": fields, "headers": ["X-Note", "User-Agent"], "patterns": {"staff": r"E-\w+"}},
        text={"fields": ["remark"], "patterns": {"slang": "kaput"}},
        schema={"fields": {"amount": {"type": "number", "maximum": 5}}, "unknown": "refuse"},
    )
    made["exporter"] = {"listen": "127.0.0.1:0"}
    made["state_dir"] = str(folder / "state")
    strict = {**made["models"][0], "name": "strict", "path_prefix": "/strict"}
    strict["schema"] = {"mode": "reject", "fields": {"amount": {"type": "number", "required": True}}}
    made["models"].append(strict)
    return made


def requests(marks: Marks) -> Iterator[tuple[str, bytes]]:
    """One of each kind: what it is, and its bytes."""
    headers = (
        f"X-Request-Id: {marks('a request id')}",
        f"Authorization: Bearer {marks('a token')}",
        f"Cookie: session={marks('a cookie')}",
        f"X-Tenant-Id: {marks('a tenant')}",
        f"X-Note: {marks('a listed header')}",
        f"User-Agent: {marks('a listed header too')}",
        f"X-Other: {marks('another header')}",
    )
    row = {
        "amount": 1.5,
        "country": marks("an unlisted category"),
        "name": f"Jane {marks('a name')}",
        "note": f"the wifi is slow, says {marks('a text')}",
        "email": f"{marks('an address')}@example.org",
        "card": int(CARD),
        "remark": f"kaput: mail {marks('a kept address')}@example.org, call {PHONE}, pay {CARD} or {IBAN}"
        f", ask E-{marks('staff')}",
        "nested": {"deep": [marks("a nested text")]},
        "list": [marks("a list")],
        f"{marks('a key')}@example.org": 1,
        f"Jane Doe ({marks('a key in brackets')})": 2,
        "age": marks("a text where a number should be"),
        "tenant": marks("a tenant in the body"),
    }
    whole = json.dumps(row).encode()
    listed = json.dumps({"instances": [[1.5, marks("a list's value"), marks("a list's text")]]}).encode()
    bodies = {
        "an object": whole,
        "a list of objects": b"[%s, %s]" % (whole, whole),
        "instances": b'{"instances": [%s]}' % whole,
        "lists": listed,
        "no JSON": b'{"x": "%s' % marks("no JSON").encode(),
        "no UTF-8": b'{"x": "\xff%s"}' % marks("no UTF-8").encode(),
        "no format": b'["%s"]' % marks("no format").encode(),
        "half a surrogate": b'{"x": "\\ud800%s"}' % marks("half a surrogate").encode(),
        "a number beyond all": b'{"%s@x.org": 1e999, "y": %s}' % (marks("a name of infinity").encode(), b"9" * 5000),
        "nested without end": b"[" * 60_000 + marks("nested").encode(),
        "too long": b'{"x": "%s"}' % (marks("too long").encode() * 10_000),
        "duplicate keys": b'{"x": "%s", "x": "%s"}' % (marks("a first").encode(), marks("a second").encode()),
    }
    for name, body in bodies.items():
        for prefix in ("", "/strict"):
            yield f"{prefix} {name}", request(path=f"{prefix}/predict?q={marks('a query')}", body=body, headers=headers)
    for path in ("error", "cut", "garbage", "slow", "text", "shape"):
        yield path, request(path=f"/{path}", body=whole, headers=headers)
    yield "in chunks", request(body=whole, headers=headers, chunks=3)
    packed = gzip.compress(whole)
    yield "gzip", request(body=packed, headers=(*headers, "Content-Encoding: gzip"))
    yield "a path", request(path=f"/{marks('a path')}/predict", body=whole)
    yield "a method", f"{marks('a method')} / HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    yield "a host", f"GET / HTTP/1.1\r\nHost: {marks('a host')} bad\r\n\r\n".encode()
    yield "a broken header", f"GET / HTTP/1.1\r\n{marks('a broken header')}\r\n\r\n".encode()
    yield "a long header", request(headers=("X: " + marks("a long header") * 5000,))
    yield (
        "a bad chunk",
        request(headers=("Transfer-Encoding: chunked",), body=None) + marks("a chunk").encode() + b"\r\n",
    )
    yield "smuggling", request(headers=("Transfer-Encoding: chunked",), body=marks("smuggled").encode())


async def send_all(port: int, marks: Marks) -> None:
    """Send everything; what the proxy answers for itself has no mark."""
    for name, raw in requests(marks):
        async with connected(port) as client:
            await client.send(raw)
            with contextlib.suppress(BrokenOffError, asyncio.IncompleteReadError, ConnectionError):
                answer = await client.answer()
                told = answer.header("content-type") == "application/json"  # the models say no content type
                assert not told or marks.found(answer.body) == [], name
    async with connected(port) as client:
        await client.send(next(requests(marks))[1][:-20])
        client.reset()


async def get(url: str, token: str | None = None) -> bytes:
    """A page, whatever its status."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return await response.read()


def total(metrics: bytes, family: str) -> float:
    """The sum of a family's samples."""
    lines = [line for line in metrics.decode().splitlines() if line.startswith(family)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def in_kafka(broker: str) -> bytes:
    """Every byte of every topic: keys, values, headers."""
    async with AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest") as consumer:
        names = [name for name in await consumer.topics() if not name.startswith("__")]
        assert {PRODUCTION, SHADOW} <= set(names)
        consumer.subscribe(names)
        found: list[bytes] = []
        while batches := await consumer.getmany(timeout_ms=1500):
            for records in batches.values():
                for record in records:
                    found += [record.key or b"", record.value or b""]
                    found += [part for name, value in record.headers for part in (name.encode(), value)]
        return b"\n".join(found)


def in_files(folder: Path) -> bytes:
    """Every byte of every file below a folder."""
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def scrapes(proxy: Tree, exporter: str, marks: Marks) -> bytes:
    """All pages of both parts."""
    token = marks("the token of the proxy")
    pages = [f"http://{proxy.admin}{path}" for path in ("/metrics", "/-/ready", "/-/healthy", "/nowhere")]
    paths = ("/metrics", "/-/ready", "/evidence/fraud", "/evidence/strict", "/nowhere")
    pages += [f"{exporter}{path}" for path in paths if exporter]
    return b"\n".join([await get(page, token) for page in pages])


async def test_no_mark_is_found_outside(
    tmp_path: Path, models: tuple[Backend, Backend], marks: Marks, kafka: Kafka, capfd: pytest.CaptureFixture[str]
) -> None:
    """In no topic, page, log, file or printed line; the marks were sent, so that the proof proves something."""
    made = configured(tmp_path, models, kafka.bootstrap_servers, marks)
    config, outside = tmp_path / "shadowdrift.yaml", dict[str, bytes]()
    async with topics_of(kafka.bootstrap_servers), tree(made, tmp_path) as proxy:
        with (tmp_path / "exporter.log").open("wb") as log:
            exporter = await Child.start("exporter", "cli.main", ["exporter", "--config", str(config)], output=log)
        try:
            url = (await exporter.ready())["exporter"]
            await send_all(proxy.port, marks)

            async def measured() -> bool:
                metrics = await get(f"http://{proxy.admin}/metrics", marks("the token of the proxy"))
                read = await get(f"{url}/metrics")
                sent = total(metrics, "events_delivered_total")
                waits = total(metrics, "events_waiting") or total(metrics, "mirror_in_flight")
                return sent > 50 and not waits and total(read, "drift_events_total") == sent

            await until(measured, 60, "every event is measured")
            outside["pages"] = await scrapes(proxy, url, marks)
            outside["topics"] = await in_kafka(kafka.bootstrap_servers)
            (tmp_path / "body").write_bytes(next(requests(marks))[1].partition(b"\r\n\r\n")[2])
            body = str(tmp_path / "body")
            for command in (
                ["exchanges", "--since", "1h", "--model", "fraud"],
                ["exchanges", "--since", "1h", "--model", "strict", "--json"],
                ["explain", "--request", body, "--response", body, "--model", "fraud"],
                ["explain", "--request", body, "--response", body, "--model", "strict", "--json"],
            ):
                outside[" ".join(command)] = await printed(capfd, [*command, "--config", str(config)])
        finally:
            await exporter.stop(15)
    outside["the proxy's log"] = (tmp_path / "log").read_bytes() + (tmp_path / "errors").read_bytes()
    outside["the exporter's log"] = (tmp_path / "exporter.log").read_bytes()
    outside["the profile"] = (tmp_path / "fraud.json").read_bytes()
    outside["standard error"] = "".join(capfd.readouterr()).encode()
    outside["state"] = in_files(tmp_path / "state")
    check(outside, marks, tmp_path)
    assert outside["topics"].count(b'"role"') > 50
    for told in (b"[email]", b"[phone]", b"[card]", b"[iban]", b"[staff]", b'"slang"', b'"_other"'):
        assert told in outside["topics"]
    assert marks.found(json.dumps([call.body.decode("latin-1") for call in models[0].calls]).encode())


async def test_no_mark_is_found_on_disk(tmp_path: Path, models: tuple[Backend, Backend], marks: Marks) -> None:
    """While Kafka is away, and when the proxy has ended so: what is spooled is hidden already."""
    made = configured(tmp_path, models, "127.0.0.1:1", marks)
    outside = dict[str, bytes]()
    async with tree(made, tmp_path) as proxy:
        await send_all(proxy.port, marks)

        async def spooled() -> bool:
            metrics = await get(f"http://{proxy.admin}/metrics", marks("the token of the proxy"))
            return total(metrics, "events_spooled{") > 50

        await until(spooled, 60, "events are on disk")
        outside["pages"] = await scrapes(proxy, "", marks)
    outside["state"] = in_files(tmp_path / "state")
    outside["the proxy's log"] = (tmp_path / "log").read_bytes() + (tmp_path / "errors").read_bytes()
    check(outside, marks, tmp_path)
    assert outside["state"].count(b'"role"') > 50
    assert b"[email]" in outside["state"]


def check(outside: dict[str, bytes], marks: Marks, folder: Path) -> None:
    """Neither a mark nor the key stands anywhere."""
    secret = json.loads((folder / "key.json").read_text())["secret"].encode()
    assert {where: marks.found(data) for where, data in outside.items()} == {where: [] for where in outside}
    assert [where for where, data in outside.items() if secret in data] == []


async def printed(capfd: pytest.CaptureFixture[str], arguments: list[str]) -> bytes:
    """What a command prints; it succeeds."""
    capfd.readouterr()
    assert await asyncio.to_thread(main, arguments) == 0
    out, err = capfd.readouterr()
    assert out
    return (out + err).encode()
