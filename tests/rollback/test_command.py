"""`shadowdrift rollback …` as a person types it, against a service that runs as it is run."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from cli.main import main
from configuration.units import parse_address
from lifecycle.tether import Child
from tests.rollback.stand_ins import served
from tests.support.kafka import free_ports


@dataclass
class Shell:
    """A configuration on the disk, and what a terminal shows."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    async def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of `shadowdrift rollback WORDS`."""
        arguments = ["rollback", *words, "--config", str(self.folder / "shadowdrift.yaml")]
        self.capsys.readouterr()
        try:
            code = await asyncio.to_thread(main, arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        output, errors = self.capsys.readouterr()
        return code, output, errors


@pytest.fixture
def service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Starts the service, as a process, with these settings."""
    return lambda **rollback: serving(configure(tmp_path, capsys, **rollback))


def configure(folder: Path, capsys: pytest.CaptureFixture[str], **rollback: Any) -> Shell:
    """One model; exporter and Prometheus are away."""
    port = free_ports(1)[0]
    away = "http://127.0.0.1:1"
    document = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "state_dir": "state",
        "proxy": {"admin": "127.0.0.1:0"},  # or whatever runs at the usual port would be asked
        "rollback": {"listen": f"127.0.0.1:{port}", "exporters": [away], "prometheus": away, **rollback},
        "models": [
            {
                "name": "fraud",
                "targets": {"v2": {"url": "http://m:1"}, "v1": {"url": "http://m:2"}},
                "production": "v2",
                "shadow": "v1",
                "stable": "v1",
            }
        ],
    }
    (folder / "shadowdrift.yaml").write_text(json.dumps(document))
    return Shell(folder, capsys)


@asynccontextmanager
async def serving(shell: Shell) -> AsyncIterator[Shell]:
    """The service of a configuration."""
    child = await Child.start("rollback", "cli.main", ["rollback", "--config", str(shell.folder / "shadowdrift.yaml")])
    try:
        await child.ready()
        yield shell
    finally:
        assert await child.stop(20)


async def test_a_person_moves_traffic_and_asks_who_serves(tmp_path: Path, service: Callable[..., Any]) -> None:
    """In a dry run, which holds alerts back and not people; what is refused has exit code 1."""
    async with service() as shell:
        code, output, _ = await shell("status")
        assert code == 0
        assert output.splitlines() == [
            "fraud: v2 100% (configuration; generation 0)",
            "  production v2, shadow v1, stable v1",
            "  alerts: armed, but rollback.dry_run is on: they are only told",
        ]
        code, output, _ = await shell("rollback", "--reason", "ticket 71", "--by", "alice")
        assert (code, output) == (
            0,
            "fraud: taken: v1 serves; latched: alerts move nothing until `shadowdrift rollback arm`\n",
        )
        active = json.loads((tmp_path / "state" / "active" / "active.json").read_text())["models"]["fraud"]
        assert (active["weights"], active["reason"], active["by"]) == ({"v1": 1.0}, "rollback: ticket 71", "alice")
        assert await shell("rollback") == (1, "fraud: refused: v1 serves already\n", "")
        code, output, _ = await shell("restore", "--json")
        assert (code, json.loads(output)["generation"]) == (0, 2)
        code, output, _ = await shell("promote")
        assert code == 1
        rules = [line.split(":")[0].strip() for line in output.splitlines()]
        assert rules == ["fraud", "exporter_away", "prometheus_away"]
        assert output.splitlines()[0] == "fraud: refused: the evidence does not carry v1"
        assert output.count("cannot be asked: connection refused") == output.count("127.0.0.1:1") == 2
        assert await shell("promote", "--force") == (1, "fraud: refused: force needs a reason\n", "")
        code, output, _ = await shell("promote", "--force", "--reason", "v2 leaks")
        assert (code, output.splitlines()[0]) == (
            0, "fraud: taken: v1 serves, by force, against exporter_away, prometheus_away",
        )  # fmt: skip
        for command, told in (("disarm", "alerts move nothing"), ("arm", "alerts may act")):
            code, output, _ = await shell(command)
            assert code == 0
            assert told in output
        assert (await shell("pause"))[0] == 0
        assert "fraud: paused (pause" in (await shell("status"))[1]


async def test_what_cannot_be_undone_is_told_on_the_terminal_first(service: Callable[..., Any]) -> None:
    """Though it fails afterwards."""
    settings = {"actions": ["webhook"], "webhook": {"url": "http://127.0.0.1:1/run"}}
    async with service(**settings) as shell:
        code, output, errors = await shell("rollback")
        assert code == 1
        assert "failed: webhook: http://127.0.0.1:1/run cannot be asked" in output
        assert errors == (
            "shadowdrift: webhook: POST http://127.0.0.1:1/run cannot be undone: what it sets off goes on by itself\n"
        )


async def test_a_service_that_is_away_or_refuses_the_token_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], service: Callable[..., Any]
) -> None:
    """Exit code 2, and what to do."""
    shell = configure(tmp_path, capsys)
    code, output, errors = await shell("status")
    assert (code, output) == (2, "")
    assert errors.startswith("shadowdrift: no rollback answers at http://127.0.0.1:")
    assert "(connection refused); start `shadowdrift rollback`" in errors
    assert len(errors.splitlines()) == 1
    (tmp_path / "token").write_text("right")
    async with service(token_file="token") as shell:
        assert (await shell("status"))[0] == 0
        (tmp_path / "token").write_text("wrong")
        code, _, errors = await shell("status")
        assert (code, len(errors.splitlines())) == (2, 1)
        assert f"does not take the token of {tmp_path / 'token'} (401)" in errors
        assert "wrong" not in errors


AWAY: dict[str, tuple[bytes | None, str]] = {
    "a token is needed": (b'HTTP/1.1 401 \r\n\r\n{"error": "a token"}', "asks for a token (401): name"),
    "a token is needed, without JSON": (b"HTTP/1.1 401 \r\n\r\n<html>", "asks for a token (401): name"),
    "a page instead of JSON": (
        b"HTTP/1.1 200 OK\r\n\r\n<html>welcome</html>", "is no rollback (status 200, and no JSON object); name",
    ),
    "a list instead of an object": (b"HTTP/1.1 200 OK\r\n\r\n[]", "is no rollback (status 200, and no JSON object)"),
    "another service's JSON": (b'HTTP/1.1 200 OK\r\n\r\n{"status": "up"}', "(a JSON document of something else)"),
    "nothing there of that name": (b'HTTP/1.1 404 \r\n\r\n{"detail": "Not Found"}', "is no rollback (status 404)"),
    "sent elsewhere": (b"HTTP/1.1 302 \r\nLocation: http://127.0.0.1:1/\r\n\r\n{}", "is no rollback (status 302)"),
    "a proxy's error page": (b"HTTP/1.1 502 \r\n\r\nBad Gateway", "is no rollback (status 502, and no JSON object)"),
    "it stops just now": (b'HTTP/1.1 503 \r\n\r\n{"error": "the rollback stops"}', "answered 503: the rollback stops"),
    "a fault of its own": (b'HTTP/1.1 500 \r\n\r\n{"error": "a fault of\\nours"}', "answered 500: a fault of ours\n"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "broke off without a whole answer"),
    "closed at once": (b"", "broke off without a whole answer"),
    "half an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", "broke off without a whole answer"),
    "half a refusal": (b"HTTP/1.1 503 No\r\nContent-Length: 900\r\n\r\n{", "broke off without a whole answer"),
    "no answer": (None, "does not answer within 0.3 s; an order may have been carried out"),
}  # fmt: skip


@pytest.mark.parametrize("case", AWAY)
async def test_whatever_else_answers_there_is_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What, where and what to do: no traceback, no exception's own words, and the token goes nowhere else."""
    answer, told = AWAY[case]
    monkeypatch.setattr("rollback.client.WITHIN_SECONDS", 0.3 if answer is None else 60.0)
    shell = configure(tmp_path, capsys)
    async with answering(answer) as address:
        for words in (("status",), ("rollback", "--reason", "x")):
            code, output, errors = await shell(*words, "--url", address)
            assert (code, output) == (2, "")
            assert errors.startswith("shadowdrift: ")
            assert address in errors
            assert told in errors
            assert errors.count("\n") == 1
            assert "Errno" not in errors


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    """A server that gives this answer to whatever it is asked, or none; its address."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await over.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        over.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://rollback.invalid:9109", "the rollback at http://rollback.invalid:9109: no such host is known ("),
        ("http://127.0.0.1:1", "no rollback answers at http://127.0.0.1:1 (connection refused); start"),
        ("http://127.0.0.1:port", "--url must be like http://127.0.0.1:9109, got 'http://127.0.0.1:port'"),
        ("http://" + "a" * 70 + ":9109", "--url must be like http://127.0.0.1:9109, got "),
        ("127.0.0.1:9109", "--url must be like http://127.0.0.1:9109, got '127.0.0.1:9109'"),
        ("http://[::1", "--url must be like http://127.0.0.1:9109, got 'http://[::1'"),
    ],
)
async def test_an_address_that_leads_nowhere_is_one_line(
    url: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that nobody knows, a port where nobody listens, and what is no address."""
    code, output, errors = await configure(tmp_path, capsys)("status", "--url", url)
    assert (code, output) == (2, "")
    assert errors.startswith(f"shadowdrift: {told}")
    assert errors.count("\n") == 1
    assert "Errno" not in errors


async def test_tls_that_fails_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """https:// where plain HTTP is spoken, and a certificate of nobody's that this machine trusts."""
    shell = configure(tmp_path, capsys)
    async with served([]) as address:
        code, _, errors = await shell("status", "--url", address.replace("http://", "https://"))
    assert code == 2
    assert "no TLS (" in errors
    assert errors.count("\n") == 1
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with served([], ssl=context) as address:
        code, _, errors = await shell("status", "--url", address)
    assert code == 2
    assert "no TLS (unable to get local issuer certificate); the service itself speaks http://" in errors
    assert errors.count("\n") == 1


def test_an_address_that_stands_for_all_is_asked_at_loopback() -> None:
    """In a container it listens at 0.0.0.0."""
    assert str(parse_address("0.0.0.0:9109").reachable) == "127.0.0.1:9109"
    assert str(parse_address("[::]:9109").reachable) == "[::1]:9109"
    assert str(parse_address("10.0.0.1:9109").reachable) == "10.0.0.1:9109"


def test_check_reads_what_the_rollback_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A template that is not there is told before a rollback needs it."""
    shell = configure(tmp_path, capsys, webhook={"url": "http://m:1", "body_file": "run.json"})
    arguments = ["check", "--config", str(shell.folder / "shadowdrift.yaml")]
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        f"shadowdrift: rollback.webhook.body_file: {tmp_path}/run.json cannot be read: no such file or directory\n"
    )
    (tmp_path / "run.json").write_text("{}")
    assert main(arguments) == 0


@pytest.mark.parametrize("words", [["promot"], ["promote", "--force", "yes"], ["restore", "--version", "v1"]])
async def test_a_slip_of_the_pen_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """One line, which leads to how it is written."""
    code, output, errors = await configure(tmp_path, capsys)(*words)
    assert (code, output) == (2, "")
    assert errors.startswith("shadowdrift: rollback")
    assert errors.endswith(" --help` tells the usage\n")
    assert errors.count("\n") == 1
