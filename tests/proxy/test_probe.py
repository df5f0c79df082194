"""The probe: what a recorded request and a schema may be, which answers pass, and that the start waits for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from configuration.files import check_files
from configuration.probing import Expectation, RecordedRequest
from configuration.reading import convert
from lifecycle.refusal import Refusal
from proxy.routing.probe import Probes
from tests.proxy.planes import document
from tests.proxy.trees import configured, tree
from tests.support.backend import Backend, answers, backend, echo, hang, sends
from tests.support.kafka import free_ports
from tests.support.waiting import until

REQUEST = {"path": "/v2/models/fraud/infer", "headers": {"X-Key": "k"}, "body": {"amount": 12.5}}
SCHEMA = {
    "type": "object",
    "required": ["prediction"],
    "properties": {"prediction": {"type": "number", "minimum": 0, "maximum": 1}},
}
PROBE = {"request": "probe.json", "schema": "schema.json"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The folder of a probe's two files."""
    (tmp_path / "probe.json").write_text(json.dumps(REQUEST))
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    return tmp_path


def probes(folder: Path, url: str | list[str], **target: Any) -> Probes:
    """Of a model whose version v2 is there."""
    made = document("http://127.0.0.1:1", None, target={"url": url, **target})
    return Probes(convert(made, folder, "test").models[0], "models[0]")


async def test_a_version_that_answers_as_it_should_passes(files: Path, production: Backend) -> None:
    """It is sent what was recorded, below the path of its URL."""
    production.script = answers(body=b'{"prediction": 0.5}')
    assert await probes(files, production.url + "/below/", probe=PROBE).failure("v2") is None
    [call] = production.calls
    assert (call.method, call.target) == (b"POST", b"/below/v2/models/fraud/infer")
    assert json.loads(call.body) == {"amount": 12.5}
    assert (call.header(b"content-type"), call.header(b"x-key")) == (b"application/json", b"k")


WRONG = {
    "an error": (answers(500, b'{"prediction": 0.5}'), "status 500"),
    "a redirect": (answers(302, b"", [(b"Location", b"/elsewhere")]), "status 302"),
    "no JSON": (answers(200, b"0.5"[:1] + b"."), "not JSON"),
    "nothing": (answers(200, b""), "not JSON"),
    "half a character": (answers(200, b'"\xff"'), "not JSON"),
    "100,000 levels": (answers(200, b"[" * 100_000), "not JSON"),
    "another shape": (answers(200, b'{"predictions": [0.5]}'), "does not fit the schema at $: the rule required"),
    "a value out of range": (answers(200, b'{"prediction": 7}'), "the schema at $.prediction: the rule maximum"),
    "no end": (sends(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (16 * 2**20 + 1), then="hang"), "more than 16777216 bytes"),
    "half an answer": (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), "cannot be asked"),
    "no HTTP": (sends(b"SSH-2.0\r\n\r\n"), "cannot be asked"),
    "a reset": (sends(b"", then="reset"), "cannot be asked"),
    "silence": (hang, "no answer in time"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
async def test_a_version_that_answers_anything_else_fails(files: Path, production: Backend, case: str) -> None:
    """In words for the log, which never show the answer."""
    production.script, said = WRONG[case]
    why = await probes(files, production.url, probe=PROBE, timeout=0.5 if case == "silence" else 20).failure("v2")
    assert said in (why or "")
    assert len((why or "").splitlines()) == 1


async def test_without_a_probe_a_connection_is_enough(files: Path, production: Backend) -> None:
    """Nothing is sent."""
    found = probes(files, production.url)
    assert await found.failure("v2") is None
    assert production.calls == []
    await production.stop()
    why = await found.failure("v2")
    assert why is not None
    assert f"127.0.0.1:{production.port} cannot be asked" in why
    assert "connection refused" in why
    assert "Connect call failed" not in why


async def test_the_first_address_that_can_be_asked_speaks_for_all(files: Path, production: Backend) -> None:
    """One of three that is down does not hold a switch up; one that answers wrong does."""
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    production.script = answers(body=b'{"prediction": 0.5}')
    assert await probes(files, [away, production.url], probe=PROBE).failure("v2") is None
    production.script = answers(500)
    async with backend(answers(body=b'{"prediction": 0.5}')) as right:
        assert "500" in (await probes(files, [production.url, right.url], probe=PROBE).failure("v2") or "")


@pytest.mark.parametrize(
    ("recorded", "payload", "content_type"),
    [
        ({"path": "/p"}, None, None),
        ({"path": "/p", "body": "a,b\n1,2\n", "headers": {"Content-Type": "text/csv"}}, b"a,b\n1,2\n", "text/csv"),
        ({"path": "/p", "body": "plain"}, b"plain", None),
        ({"path": "/p", "body": [1, 2]}, b"[1,2]", "application/json"),
        ({"path": "/p", "body": {}, "headers": {"content-type": "x/y"}}, b"{}", "x/y"),
        ({"path": "/p", "body": False}, b"false", "application/json"),
    ],
    ids=str,
)
def test_a_body_is_sent_as_it_is_or_as_json(recorded: dict[str, Any], payload: bytes | None, content_type: str) -> None:
    """With the content type that fits, unless the file has another."""
    request = RecordedRequest(**recorded)
    types = [value for name, value in request.sent_headers.items() if name.lower() == "content-type"]
    assert request.payload == payload
    assert types == ([content_type] if content_type else [])


def test_nothing_is_fetched_for_a_schema() -> None:
    """A reference to the outside is a failure of every answer, not a request."""
    outside = Expectation({"$ref": "http://127.0.0.1:1/schema.json"})
    assert "schema cannot be applied" in (outside.unmet(200, b"{}") or "")


RIGHT = json.dumps(SCHEMA)
NO_REQUEST = "request: {request} must be a recorded request such as "
NO_SCHEMA = "schema: {schema} must be a JSON Schema: "
MISTAKES = {
    "no request": (None, json.dumps(SCHEMA), "request: {request} cannot be read: no such file or directory"),
    "no schema": (json.dumps(REQUEST), None, "schema: {schema} cannot be read: no such file or directory"),
    "a request without path": ("{}", RIGHT, NO_REQUEST),
    "a request with a slip": ('{"path": "/", "boddy": 1}', RIGHT, NO_REQUEST),
    "a path that is none": ('{"path": "predict"}', RIGHT, NO_REQUEST),
    "a path of two lines": ('{"path": "/a\\r\\nb"}', RIGHT, NO_REQUEST),
    "a header of two lines": ('{"path": "/", "headers": {"a": "b\\r\\nc: d"}}', RIGHT, NO_REQUEST),
    "a method that is none": ('{"path": "/", "method": "post it"}', RIGHT, NO_REQUEST),
    "a request that is no JSON": ("POST /", RIGHT, NO_REQUEST),
    "a schema that is no JSON": (json.dumps(REQUEST), "type: object", NO_SCHEMA),
    "a schema that is none": (json.dumps(REQUEST), '{"type": "objekt"}', NO_SCHEMA),
    "a schema that is a number": (json.dumps(REQUEST), "7", NO_SCHEMA),
    "a schema of a kind that is none": (json.dumps(REQUEST), '{"$schema": []}', NO_SCHEMA),
    "a pattern that is none": (json.dumps(REQUEST), '{"pattern": "("}', NO_SCHEMA),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_probe_that_cannot_be_run_is_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For `shadowdrift check` as for the start: the setting, the file, and what is wrong."""
    request, schema, said = MISTAKES[case]
    paths = {"request": tmp_path / "probe.json", "schema": tmp_path / "schema.json"}
    for path, content in ((paths["request"], request), (paths["schema"], schema)):
        if content is not None:
            path.write_text(content)
    made = document("http://127.0.0.1:1", None, target={"probe": {key: str(path) for key, path in paths.items()}})
    expected = "models[0].targets.v2.probe." + said.format(**paths)
    with pytest.raises(Refusal) as raised:
        check_files(convert(made, tmp_path, "test"))
    assert str(raised.value).startswith(expected)
    config = tmp_path / "shadowdrift.yaml"
    config.write_text(json.dumps(made))
    assert main(["check", "--config", str(config)]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"shadowdrift: {expected}")
    assert line.count("\n") == 1


def test_a_body_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """Of a fixed answer; and one that is too large."""
    made = document("http://127.0.0.1:1", None, fallback={"body_file": "safe.json"})
    with pytest.raises(Refusal) as raised:
        check_files(convert(made, tmp_path, "test"))
    path = tmp_path / "safe.json"
    assert str(raised.value) == f"models[0].fallback.body_file: {path} cannot be read: no such file or directory"
    path.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(Refusal) as raised:
        check_files(convert(made, tmp_path, "test"))
    assert str(raised.value) == f"models[0].fallback.body_file: {path} must have at most 1048576 bytes"


async def test_a_start_with_a_file_missing_is_refused(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """Exit code 2 and one line, before anything runs."""
    made = configured(production, shadow, target={"probe": PROBE})
    async with tree(made, tmp_path, serves=False) as running:
        assert await running.process.wait() == 2
    assert running.said().count("\n") == 1
    assert f"models[0].targets.v2.probe.request: {tmp_path / 'probe.json'} cannot be read" in running.said()


async def test_ready_waits_for_the_probe(production: Backend, shadow: Backend, files: Path) -> None:
    """Requests are served meanwhile; once it has passed it is not asked again."""
    production.script = echo
    made = configured(production, shadow, target={"probe": PROBE})
    async with tree(made, files) as running:

        async def waits() -> bool:
            status, text = await running.get("/-/ready")
            return status == 503 and "production of fraud: v2: its answer does not fit the schema" in text

        await until(waits, what="the reason")
        production.script = answers(body=b'{"prediction": 0.5}')

        async def ready() -> bool:
            return (await running.get("/-/ready"))[0] == 200

        await until(ready, what="readiness")
        production.script = answers(500)
        assert await ready()
