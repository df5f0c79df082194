"""The front door, with Debian's real nginx."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, web
from yarl import URL

from tests.nginx.conftest import Backend, Door, door
from tests.support.kafka import free_ports
from tests.support.nginx import CHECKOUT, Nginx
from tests.support.waiting import until

MADE = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize("main", ["nginx.conf", "edge-only.conf"])
def test_nginx_accepts_every_file(tmp_path: Path, main: str) -> None:
    """`nginx -t`, and without a warning."""
    addresses = {f"{name}": "127.0.0.1:1" for name in ("proxy:8080", "model-v2:8000", "model-v1:8000")}
    done = Nginx(tmp_path, main, addresses, {}).check()
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


@pytest.mark.parametrize(
    "name", ["X-Shadow", "x-shadow", "X-SHADOW", "X_Shadow", "X-Shadowdrift-Clone", "X-Tenant-Id", "X_Tenant_Id"]
)
async def test_a_header_that_the_proxy_trusts_does_not_come_from_outside(
    front: Door, client: ClientSession, name: str
) -> None:
    """In whatever spelling, once or twice."""
    async with client.post("/predict", headers=[(name, "true"), (name, "acme")], json={}) as answer:
        assert await answer.text() == "proxy"
    seen = front[1].headers
    assert not {"x-shadow", "x-shadowdrift-clone", "x-tenant-id", name.lower()} & seen.keys()


@pytest.mark.parametrize(
    ("key", "claims", "tenant"),
    [
        ("key-of-acme", None, "acme"),
        ("key-of-acme", "initech", "acme"),
        ("key-of-initech", "acme", "initech"),
        ("KEY-OF-ACME-", "acme", None),
        ("key-of", "acme", None),
        ("~.*", "acme", None),
        (None, "acme", None),
        ("", "_all", None),
    ],
)
async def test_the_tenant_comes_from_the_key_alone(
    front: Door, client: ClientSession, key: str | None, claims: str | None, tenant: str | None
) -> None:
    """What the client says of itself goes nowhere, and the key ends here."""
    headers = {name: value for name, value in (("X-Api-Key", key), ("X-Tenant-Id", claims)) if value is not None}
    async with client.post("/predict", headers=headers, json={}):
        pass
    assert front[1].headers.get("x-tenant-id") == tenant
    assert "x-api-key" not in front[1].headers


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a", True),
        ("a" * 128, True),
        ("Order_7.b-2", True),
        ("a" * 129, False),
        ("", False),
        ("two words", False),
        ("a;b", False),
        ('a"b', False),
        ("é", False),
        ("${jndi}", False),
    ],
)
async def test_a_request_keeps_its_id_where_it_is_one_and_gets_one_else(
    front: Door, client: ClientSession, given: str, kept: bool
) -> None:
    """1 to 128 of A-Z a-z 0-9 . _ -; the client is told which."""
    async with client.post("/predict", headers={"X-Request-Id": given}, json={}) as answer:
        told = answer.headers["X-Request-Id"]
    assert front[1].headers["x-request-id"] == told
    assert (told == given) if kept else MADE.fullmatch(told)


async def test_a_log_line_is_json_with_ids_and_without_query_or_body(front: Door, client: ClientSession) -> None:
    """Also where the path holds what would break a line, and where the backup answered."""
    nginx, proxy, model = front
    async with client.post('/pre"dict%ff?token=hush', headers={"X-Request-Id": "r-1"}, data=b"secret body"):
        pass
    await proxy.stop()
    async with client.post("/predict", data=b"secret body"):
        pass
    reader, writer = await asyncio.open_connection("127.0.0.1", nginx.port)
    writer.write(b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await reader.read()
    writer.close()
    await until(lambda: len(nginx.log_lines()) == 3, what="three lines")
    first, second, third = nginx.log_lines()
    assert (first["part"], first["request_id"], first["id"], first["status"]) == ("nginx", "r-1", "0190-id", 200)
    assert first["upstream_addr"] == f"127.0.0.1:{proxy.port}"
    assert second["upstream_addr"] == f"127.0.0.1:{proxy.port}, 127.0.0.1:{model.port}"
    assert third["path"] == ""
    assert b"hush" not in nginx.raw_log()
    assert b"secret body" not in nginx.raw_log()


async def test_nginx_tells_prometheus_whether_the_proxy_answers_it(front: Door, client: ClientSession) -> None:
    """Asked for what the proxy refuses by itself; neither look is a line of the log, nor a request of the model's."""
    nginx, proxy, model = front
    assert await _proxy_answers(client) == "1"  # the stand-in's server refuses it too
    await proxy.stop()
    assert await _proxy_answers(client) == "0"
    assert model.seen == []
    assert nginx.log_lines() == []


@pytest.mark.parametrize(
    "path", ["/nginx/", "/nginx/active/flights", "/nginx/healthy/", "/nginx/metrics/x", "/nginx//x", "/%6eginx/x"]
)
async def test_nothing_below_nginx_s_own_path_reaches_a_model(front: Door, client: ClientSession, path: str) -> None:
    """Also before the first switch, when nothing tells which version is active; nor when a stream is asked for."""
    for accept in ("*/*", "text/event-stream"):
        async with client.get(URL(path, encoded=True), headers={"Accept": accept}) as answer:
            assert answer.status == 404
    assert (front[1].seen, front[2].seen) == ([], [])


def test_the_proxy_s_address_stands_in_one_file() -> None:
    """Or it is changed in one and forgotten in the other, and nginx does not start."""
    said = [file.name for file in (CHECKOUT / "nginx").glob("*.conf") if "proxy:8080" in file.read_text()]
    assert said == ["proxy-address.conf"]


async def _proxy_answers(client: ClientSession) -> str:
    async with client.get("/nginx/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        lines = (await answer.text()).splitlines()
    assert lines[1] == "# TYPE nginx_proxy_answers gauge"
    return lines[2].removeprefix("nginx_proxy_answers ")


async def test_connections_to_the_proxy_are_kept(front: Door, client: ClientSession) -> None:
    """Thirty requests do not take thirty of them."""
    for _ in range(30):
        async with client.post("/predict", json={}):
            pass
    assert len(front[1].seen) == 30
    assert len(front[1].connections) <= (os.cpu_count() or 1)  # each nginx process keeps its own


async def test_a_refused_connection_goes_to_the_backup_and_a_broken_request_to_nobody(
    front: Door, client: ClientSession
) -> None:
    """A POST that the proxy may have begun is never sent a second time."""
    _, proxy, model = front

    def breaks(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    proxy.answer = breaks
    async with client.post("/predict", json={"n": 1}) as answer:
        assert answer.status == 502
    assert (len(proxy.seen), len(model.seen)) == (1, 0)
    await proxy.stop()
    async with client.post("/predict", json={"n": 2}) as answer:
        assert (answer.status, await answer.text()) == (200, "model")
    assert [body for _, body in model.seen] == [b'{"n": 2}']
    assert not {"x-shadow", "x-tenant-id"} & model.headers.keys()


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
async def test_an_answer_of_the_proxy_is_the_answer(front: Door, client: ClientSession, status: int) -> None:
    """An error of the model is not asked for again elsewhere."""
    _, proxy, model = front
    proxy.answer = lambda _: web.Response(status=status, text="its own words")
    for _ in range(5):
        async with client.post("/predict", json={}) as answer:
            assert (answer.status, await answer.text()) == (status, "its own words")
    assert (len(proxy.seen), len(model.seen)) == (5, 0)


@pytest.mark.parametrize(
    ("path", "accept"),
    [("/predict", "text/html, text/event-stream"), ("/v1/chat/completions", "*/*"), ("/generate_stream", "*/*")],
)
async def test_a_stream_is_not_held_in_a_buffer(tmp_path: Path, path: str, accept: str) -> None:
    """The first piece arrives while the second has not been sent; the POST keeps its method and body."""
    go_on = asyncio.Event()

    class Streaming(Backend):
        async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
            self.seen.append((request, await request.read()))
            stream = web.StreamResponse()
            await stream.prepare(request)
            await stream.write(b"first")
            await go_on.wait()
            await stream.write(b" second")
            return stream

    streaming = Streaming("proxy")
    await streaming.start()
    try:
        addresses = {"proxy:8080": f"127.0.0.1:{streaming.port}", "model-v2:8000": "127.0.0.1:1"}
        with Nginx(tmp_path, "nginx.conf", addresses, {}) as nginx:
            async with (
                ClientSession(nginx.url) as client,
                client.post(path, headers={"Accept": accept}, data=b"body") as answer,
            ):
                assert await asyncio.wait_for(answer.content.readexactly(5), 5) == b"first"
                go_on.set()
                assert await answer.content.read() == b" second"
    finally:
        await streaming.stop()
    ((request, body),) = streaming.seen
    assert (request.method, body) == ("POST", b"body")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /predict HT", b""),  # never a whole request line: closed without a word
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nX-", b""),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", b""),
    ],
)
async def test_a_slow_client_is_closed_by_a_deadline_and_never_reaches_the_proxy(
    tmp_path: Path, sent: bytes, status: bytes
) -> None:
    """Header and body alike (10 s; half a second here)."""
    faster = {"client_header_timeout 10s": "client_header_timeout 500ms", "client_body_timeout 10s": "client_body_timeout 500ms"}  # fmt: skip # noqa: E501
    async with door(tmp_path, changes=faster) as (nginx, proxy, model):
        reader, writer = await asyncio.open_connection("127.0.0.1", nginx.port)
        writer.write(sent)
        try:
            answered = await asyncio.wait_for(reader.read(), 5)
        except ConnectionResetError:
            answered = b""
        writer.close()
        assert answered.startswith(status)
        assert (proxy.seen, model.seen) == ([], [])
        async with ClientSession(nginx.url) as client, client.post("/predict", json={}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("headers", "size", "status"),
    [({"X-Long": "a" * 20_000}, 0, 400), ({}, 17 * 1024 * 1024, 413)],
)
async def test_what_is_too_large_is_refused_here(
    front: Door, client: ClientSession, headers: dict[str, str], size: int, status: int
) -> None:
    """A header above 16 KiB, a body above 16 MiB."""
    try:
        async with client.post("/predict", headers=headers, data=BytesIO(b"x" * size)) as answer:
            assert answer.status == status
    except ClientError:  # the answer may be lost to a client that still sends
        assert status == 413
    assert front[1].seen == []


async def test_one_address_has_so_many_requests_under_way_and_no_more(tmp_path: Path) -> None:
    """429 above it (1,000; two here), and it ends with them."""
    go_on = asyncio.Event()
    async with door(tmp_path, changes={"limit_conn clients 1000": "limit_conn clients 2"}) as (nginx, proxy, _):
        handle = proxy._handle

        async def waits(request: web.BaseRequest) -> web.StreamResponse:
            answer = await handle(request)
            await go_on.wait()
            return answer

        await proxy.stop()
        proxy._handle = waits  # type: ignore[method-assign]
        await proxy.start()
        async with ClientSession(nginx.url) as client:

            async def ask() -> int:
                async with client.post("/predict", json={}) as answer:
                    return answer.status

            held = [asyncio.create_task(ask()) for _ in range(2)]
            await until(lambda: len(proxy.seen) == 2, what="two requests at the proxy")
            assert await ask() == 429
            go_on.set()
            assert await asyncio.gather(*held) == [200, 200]
            assert await ask() == 200


async def test_the_backup_carries_a_killed_proxy_and_hands_back_when_it_returns(tmp_path: Path) -> None:
    """The real proxy, kill -9; only the requests open at the kill may fail. `make bench-front` tells how soon."""
    model = Backend("model")
    await model.start()
    (port,) = free_ports(1)
    file = tmp_path / "shadowdrift.yaml"
    file.write_text(
        f"kafka: {{bootstrap_servers: '127.0.0.1:1'}}\n"
        f"proxy: {{listen: '127.0.0.1:{port}', admin: '127.0.0.1:0', workers: 1, drain_timeout: 1s}}\n"
        f"models: [{{name: m, targets: {{v2: {{url: 'http://127.0.0.1:{model.port}'}}}}, production: v2}}]\n"
    )

    async def proxy() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", "proxy", "--config", str(file), cwd=CHECKOUT,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    addresses = {"proxy:8080": f"127.0.0.1:{port}", "model-v2:8000": f"127.0.0.1:{model.port}"}
    running = await proxy()
    try:
        with Nginx(tmp_path, "nginx.conf", addresses, {}) as nginx:
            async with ClientSession(nginx.url) as client:

                async def by_the_proxy() -> bool:
                    """Whether the proxy answered, which says so with an id; a failure is one of the test."""
                    async with client.post("/predict", json={}) as answer:
                        assert answer.status == 200
                        assert await answer.text() == "model"
                        return MADE.fullmatch(answer.headers["X-Shadowdrift-Id"].replace("-", "")) is not None

                await until(by_the_proxy, 20, "the proxy's first answer")
                assert await _proxy_answers(client) == "1"
                running.send_signal(signal.SIGKILL)
                await running.wait()

                async def past_the_proxy() -> bool:
                    return not await by_the_proxy()

                async def port_is_free() -> bool:
                    return not await _listens(port)

                # The workers notice their parent's death at once, and answer what they have accepted.
                await until(past_the_proxy, 20, "the backup's first answer")
                for _ in range(20):
                    await by_the_proxy()  # whoever answers: nothing fails
                await until(port_is_free, 20, "the last worker's end")
                assert await _proxy_answers(client) == "0"
                running = await proxy()
                await until(lambda: _listens(port), 20, "the proxy's return")
                await until(by_the_proxy, 20, "the proxy's turn")
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.terminate()
        await running.wait()
        await model.stop()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
