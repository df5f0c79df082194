"""The operators' endpoints, over real sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from admin.server import AdminServer
from lifecycle.refusal import Refusal

METRICS = b'# TYPE up gauge\nup{name="caf\xc3\xa9"} 1\n'
Serve = Callable[..., Awaitable[str]]


class Part:
    """What the server is told to tell."""

    waits_for: str | None = None


@pytest.fixture
def part() -> Part:
    """A part that is ready."""
    return Part()


@pytest.fixture
async def serve(part: Part) -> AsyncIterator[Serve]:
    """Starts a server with those options; its address."""
    servers: list[AdminServer] = []

    async def started(token_file: str | None = None, open_without_token: tuple[str, ...] = ("health",)) -> str:
        server = AdminServer(
            lambda: METRICS, lambda: part.waits_for, token_file=token_file, open_without_token=open_without_token
        )
        servers.append(server)
        return f"http://{await server.start('proxy.admin', '127.0.0.1:0')}"

    yield started
    for server in servers:
        await server.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    """A file as an editor leaves it: with a line break at its end."""
    path = tmp_path / "token"
    path.write_text("correct horse\n")
    return str(path)


async def test_health_says_that_the_process_answers(serve: Serve, session: aiohttp.ClientSession, part: Part) -> None:
    """Ready or not."""
    address = await serve()
    part.waits_for = "Kafka"
    async with session.get(f"{address}/-/healthy") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_readiness_says_what_is_waited_for(serve: Serve, session: aiohttp.ClientSession, part: Part) -> None:
    """503 with the reason, then 200, asked anew each time."""
    address = await serve()
    for waits_for, status, text in [
        ("its workers", 503, "waits for its workers\n"),
        ("production of fraud at model:8080", 503, "waits for production of fraud at model:8080\n"),
        (None, 200, "ready\n"),
        ("nothing: it stops", 503, "waits for nothing: it stops\n"),
    ]:
        part.waits_for = waits_for
        async with session.get(f"{address}/-/ready") as answer:
            assert (answer.status, await answer.text()) == (status, text)


async def test_metrics_are_in_prometheus_text_format(serve: Serve, session: aiohttp.ClientSession) -> None:
    """Byte for byte as they were made, with the content type that a scraper looks at."""
    async with session.get(f"{await serve()}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await answer.read() == METRICS


async def test_another_path_or_method_is_an_error_of_the_client(serve: Serve, session: aiohttp.ClientSession) -> None:
    """404 and 405."""
    address = await serve()
    async with session.get(f"{address}/") as answer:
        assert answer.status == 404
    async with session.post(f"{address}/metrics") as answer:
        assert answer.status == 405


TOKENS: dict[str, tuple[dict[str, str], int]] = {
    "none": ({}, 401),
    "empty": ({"Authorization": ""}, 401),
    "wrong": ({"Authorization": "Bearer wrong"}, 401),
    "its beginning": ({"Authorization": "Bearer correct"}, 401),
    "with more behind": ({"Authorization": "Bearer correct horses"}, 401),
    "without its scheme": ({"Authorization": "correct horse"}, 401),
    "by another scheme": ({"Authorization": "Basic correct horse"}, 401),
    "not ASCII": ({"Authorization": "Bearer caf\u00e9"}, 401),
    "right": ({"Authorization": "Bearer correct horse"}, 200),
}


@pytest.mark.parametrize("case", TOKENS)
async def test_with_a_token_file_metrics_need_the_token(
    case: str, serve: Serve, session: aiohttp.ClientSession, token_file: str
) -> None:
    """Whole and exact; a refusal shows nothing of it, nor of the metrics."""
    headers, status = TOKENS[case]
    async with session.get(f"{await serve(token_file)}/metrics", headers=headers) as answer:
        assert answer.status == status
        body = await answer.read()
    assert (b"up{" in body) == (status == 200)
    assert b"horse" not in body


@pytest.mark.parametrize(
    ("opened", "statuses"),
    [
        ((), {"/-/healthy": 401, "/-/ready": 401, "/metrics": 401, "/other": 401}),
        (("health",), {"/-/healthy": 200, "/-/ready": 200, "/metrics": 401, "/other": 401}),
        (("metrics",), {"/-/healthy": 401, "/-/ready": 401, "/metrics": 200, "/other": 401}),
        (("metrics", "health"), {"/-/healthy": 200, "/-/ready": 200, "/metrics": 200, "/metrics/": 401}),
    ],
    ids=str,
)
async def test_what_is_open_needs_no_token_and_everything_else_does(
    opened: tuple[str, ...],
    statuses: dict[str, int],
    serve: Serve,
    session: aiohttp.ClientSession,
    token_file: str,
) -> None:
    """Paths that do not exist too: nobody can find out which do."""
    address = await serve(token_file, opened)
    for path, status in statuses.items():
        async with session.get(address + path) as answer:
            assert answer.status == status, path


def test_a_missing_token_file_is_one_line(tmp_path: Path) -> None:
    """With its name and the reason."""
    path = tmp_path / "token"
    with pytest.raises(Refusal) as raised:
        AdminServer(lambda: b"", lambda: None, token_file=str(path))
    assert str(raised.value) == f"token_file {path} cannot be read: no such file or directory"


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_token_file_is_one_line(content: str, tmp_path: Path) -> None:
    """An empty token would be everybody's."""
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(Refusal) as raised:
        AdminServer(lambda: b"", lambda: None, token_file=str(path))
    assert str(raised.value) == f"token_file {path} is empty; write a token into it"


async def test_a_port_in_use_is_one_line(serve: Serve) -> None:
    """With the setting that chose it."""
    address = (await serve()).removeprefix("http://")
    second = AdminServer(lambda: b"", lambda: None)
    try:
        with pytest.raises(Refusal) as raised:
            await second.start("exporter.listen", address)
    finally:
        await second.stop()
    assert str(raised.value) == (
        f"exporter.listen: cannot listen at {address}: address already in use; "
        "choose another address or end what uses it"
    )


@pytest.mark.parametrize("listen", ["no-such-host.invalid:1", "203.0.113.7:1"])
async def test_an_address_that_is_not_this_machines_is_one_line(listen: str) -> None:
    """A name that does not resolve, an address of somebody else."""
    server = AdminServer(lambda: b"", lambda: None)
    try:
        with pytest.raises(Refusal) as raised:
            await server.start("proxy.admin", listen)
    finally:
        await server.stop()
    assert str(raised.value).startswith(f"proxy.admin: cannot listen at {listen}: ")
    assert "\n" not in str(raised.value)


async def test_after_the_stop_the_port_is_free(serve: Serve, session: aiohttp.ClientSession) -> None:
    """So that a restart takes the same one."""
    server = AdminServer(lambda: METRICS, lambda: None)
    address = await server.start("proxy.admin", "127.0.0.1:0")
    async with session.get(f"http://{address}/metrics") as answer:
        assert answer.status == 200
    await server.stop()
    again = AdminServer(lambda: METRICS, lambda: None)
    assert await again.start("proxy.admin", str(address)) == address
    await again.stop()
