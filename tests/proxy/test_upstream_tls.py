"""Versions that are reached by TLS: certificates are verified, always, and the proxy can show one of its own."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from configuration.files import check_files
from configuration.reading import convert
from lifecycle.refusal import Refusal
from proxy.http import pool
from proxy.routing.probe import Probes
from tests.proxy.conftest import Serve
from tests.proxy.planes import Plane, document
from tests.support.backend import Backend, answers, backend, echo
from tests.support.raw_client import Answer, connected, request


@dataclass
class Authority:
    """An authority whose certificate lies in a file, and certificates signed by it."""

    folder: Path
    ca: trustme.CA

    @property
    def ca_file(self) -> str:
        """Its own certificate."""
        return self.written("ca.pem", self.ca.cert_pem.bytes())

    def written(self, name: str, content: bytes) -> str:
        """A file of its folder."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def server(self, *names: str, expires: datetime | None = None) -> ssl.SSLContext:
        """What a server of these names shows."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*names, not_after=expires).configure_cert(context)
        return context

    def client(self, *names: str) -> dict[str, str]:
        """The settings of a client's certificate."""
        certificate = self.ca.issue_cert(*names)
        return {
            "certificate_file": self.written("client.pem", certificate.cert_chain_pems[0].bytes()),
            "key_file": self.written("client.key", certificate.private_key_pem.bytes()),
        }


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The company's."""
    return Authority(tmp_path / "authority", trustme.CA())


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Somebody else's."""
    return Authority(tmp_path / "stranger", trustme.CA())


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """`await at(context)`: a model behind TLS."""
    async with AsyncExitStack() as stack:

        async def start(context: ssl.SSLContext) -> Backend:
            return await stack.enter_async_context(backend(answers(body=b"safe"), context))

        yield start


async def ask(plane: Plane, raw: bytes | None = None) -> Answer:
    """One request on a connection of its own."""
    async with connected(plane.port) as client:
        return await client.ask(request() if raw is None else raw)


async def test_a_version_with_a_certificate_of_our_authority_is_served(
    serve: Serve, authority: Authority, at: Callable[..., Any]
) -> None:
    """Large bodies both ways, byte for byte, over one kept connection."""
    server = await at(authority.server("127.0.0.1"))
    server.script = echo
    plane = await serve(target={"url": server.url, "tls": {"ca_file": authority.ca_file}})
    async with connected(plane.port) as client:
        for size in (1, 1000, 3_000_000):
            body = bytes(range(256)) * (size // 256 + 1)
            assert (await client.ask(request(body=body))).body == body
            assert (await client.ask(request(body=body, chunks=5))).body == body
    assert server.connections == 1
    assert server.calls[0].header(b"host") == f"127.0.0.1:{server.port}".encode()


async def test_the_certificate_may_have_another_name_than_the_url(
    serve: Serve, authority: Authority, at: Callable[..., Any]
) -> None:
    """When the configuration says which."""
    server = await at(authority.server("model.example"))
    tls = {"ca_file": authority.ca_file, "server_name": "model.example"}
    plane = await serve(target={"url": server.url, "tls": tls})
    assert (await ask(plane)).body == b"safe"


@pytest.mark.parametrize("trusted", ["system", "stranger"])
async def test_an_unknown_authority_is_not_trusted(
    serve: Serve, authority: Authority, stranger: Authority, at: Callable[..., Any], trusted: str
) -> None:
    """Neither without `ca_file`, when the system's count, nor with another one's: nothing of a request is sent."""
    server = await at(authority.server("127.0.0.1"))
    target: dict[str, Any] = {"url": server.url}
    if trusted == "stranger":
        target["tls"] = {"ca_file": stranger.ca_file}
    plane = await serve(target=target)
    assert (await ask(plane)).status == 502
    assert server.calls == []


async def test_a_wrong_name_and_an_expired_certificate_are_refused_and_told(
    serve: Serve, authority: Authority, at: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """In one line for however many requests: a person has to mend it, and the log must not fill."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    wrong, expired = (
        await at(authority.server("other.example")),
        await at(authority.server("127.0.0.1", expires=yesterday)),
    )
    for server, why in ((wrong, "mismatch"), (expired, "expired")):
        caplog.clear()
        plane = await serve(target={"url": server.url, "tls": {"ca_file": authority.ca_file}})
        with caplog.at_level(logging.WARNING, "shadowdrift"):
            for _ in range(5):
                assert (await ask(plane)).status == 502
        [line] = [record for record in caplog.records if record.name == "shadowdrift.proxy"]
        fields = line.__dict__["fields"]
        assert line.getMessage() == "the TLS handshake with a version fails"
        assert fields["address"] == f"127.0.0.1:{server.port}"
        assert why in fields["why"]
        assert server.calls == []
        await plane.stop()


async def test_a_failing_handshake_is_told_again_later(
    serve: Serve, authority: Authority, at: Callable[..., Any], caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    """Once a minute."""
    server = await at(authority.server("other.example"))
    plane = await serve(target={"url": server.url, "tls": {"ca_file": authority.ca_file}})
    monkeypatch.setattr(pool, "TELL_SECONDS", 0.0)
    with caplog.at_level(logging.WARNING, "shadowdrift"):
        for _ in range(3):
            await ask(plane)
    assert len(caplog.records) == 3


async def test_a_failing_handshake_is_a_failed_connect(
    serve: Serve, authority: Authority, stranger: Authority, at: Callable[..., Any]
) -> None:
    """So the next address is tried, and the fallback counts it as such."""
    wrong, right = await at(stranger.server("127.0.0.1")), await at(authority.server("127.0.0.1"))
    tls = {"ca_file": authority.ca_file}
    plane = await serve(target={"url": [wrong.url, right.url], "tls": tls})
    for _ in range(4):
        assert (await ask(plane)).body == b"safe"
    await plane.stop()
    plane = await serve(target={"url": wrong.url, "tls": tls}, fallback={"target": "v1"})
    assert (await ask(plane)).body == b'{"prediction": 2}'
    assert plane.numbers("proxy_fallback_total") == {("fraud", "connect"): 1}


async def test_a_server_that_speaks_no_tls_is_502(serve: Serve, authority: Authority) -> None:
    """A plain port by mistake: it takes the handshake for a bad request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        plane = await serve(target={"url": url, "tls": {"ca_file": authority.ca_file}})
        assert (await ask(plane)).status == 502


async def test_a_version_that_wants_our_certificate_gets_it(
    serve: Serve, authority: Authority, at: Callable[..., Any]
) -> None:
    """Mutual TLS."""
    server = await at(mutual(authority))
    tls = {"ca_file": authority.ca_file, **authority.client("proxy.example")}
    plane = await serve(target={"url": server.url, "tls": tls})
    assert (await ask(plane)).body == b"safe"


@pytest.mark.parametrize("shown", ["none", "stranger"])
async def test_a_version_that_does_not_take_our_certificate_is_502(
    serve: Serve, authority: Authority, stranger: Authority, at: Callable[..., Any], shown: str
) -> None:
    """None, or one of another authority; the model sees no request."""
    server = await at(mutual(authority))
    own = stranger.client("proxy.example") if shown == "stranger" else {}
    plane = await serve(target={"url": server.url, "tls": {"ca_file": authority.ca_file, **own}})
    assert (await ask(plane)).status == 502
    assert server.calls == []


def mutual(authority: Authority) -> ssl.SSLContext:
    """A server that requires a certificate of this authority."""
    context = authority.server("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    return context


async def test_a_shadow_is_reached_by_tls_too(
    serve: Serve, authority: Authority, at: Callable[..., Any], production: Backend, tmp_path: Path
) -> None:
    """Clones, by the target's own section."""
    server = await at(authority.server("127.0.0.1"))
    made = document(production.url, server.url, mirror={"fraction": 1})
    made["models"][0]["targets"]["v1"]["tls"] = {"ca_file": authority.ca_file}
    plane = await Plane.start(made, tmp_path)
    try:
        assert (await ask(plane)).status == 200
        await plane.reaches(1, "mirror_completed_total", "fraud")
        assert len(server.calls) == 1
    finally:
        await plane.stop()


async def test_a_probe_goes_by_tls(
    authority: Authority, stranger: Authority, at: Callable[..., Any], tmp_path: Path
) -> None:
    """With a recorded request and without one; what is wrong is told in words."""
    server = await at(authority.server("model.example"))
    server.script = answers(body=b'{"prediction": 0.5}')
    (tmp_path / "probe.json").write_text('{"path": "/predict", "body": {}}')
    (tmp_path / "schema.json").write_text('{"required": ["prediction"]}')
    probe = {"request": "probe.json", "schema": "schema.json"}
    trusting = {"ca_file": authority.ca_file, "server_name": "model.example"}
    for section in ({}, {"probe": probe}):
        for tls, why in ((trusting, None), ({**trusting, "ca_file": stranger.ca_file}, "certificate")):
            made = document("http://127.0.0.1:1", None, target={"url": server.url, "tls": tls, **section})
            [model] = convert(made, tmp_path, "test").models
            said = await Probes(model, "models[0]").failure("v2")
            assert said is None if why is None else why in (said or ""), said


BAD = b"no certificate\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ca_file": None}, "tls.ca_file: {ca_file} cannot be used: no such file or directory; name a PEM file"),
        ({"ca_file": BAD}, "tls.ca_file: {ca_file} cannot be used: "),
        (
            {"certificate_file": None},
            "tls.certificate_file: {certificate_file} (key in the same file) cannot be used: ",
        ),
        (
            {"certificate_file": BAD, "key_file": BAD},
            "tls.certificate_file: {certificate_file} (key {key_file}) cannot be used: ",
        ),
    ],
    ids=["no authority", "a bad authority", "no certificate", "a bad certificate"],
)
def test_files_that_cannot_be_used_are_one_line(files: dict[str, bytes | None], said: str, tmp_path: Path) -> None:
    """Before anything starts; with the path of the setting."""
    paths = {}
    for setting, content in files.items():
        path = tmp_path / f"{setting}.pem"
        if content is not None:
            path.write_bytes(content)
        paths[setting] = str(path)
    made = document("https://127.0.0.1:1", None, target={"tls": paths})
    with pytest.raises(Refusal) as raised:
        check_files(convert(made, tmp_path, "test"))
    assert str(raised.value).startswith("models[0].targets.v2." + said.format(**paths))
    assert len(str(raised.value).splitlines()) == 1
