"""`nginx/start`: nginx by a copy of its files, which takes over what changes in them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from tests.nginx.conftest import Backend
from tests.support import wheels
from tests.support.kafka import free_ports
from tests.support.nginx import FILES, Started
from tests.support.required import require
from tests.support.waiting import until, until_sync

TOLD = "location = /told { return 200 '%s'; }\n"


@asynccontextmanager
async def started(folder: Path, own: Path | None = None) -> AsyncIterator[tuple[Started, Backend, Backend]]:
    """A front door whose proxy is away, with the versions v2, which is its shipped backup, and v1."""
    async with AsyncExitStack() as stack:
        versions = Backend("v2"), Backend("v1")
        for version in versions:
            await version.start()
            stack.push_async_callback(version.stop)
        addresses = {
            "proxy:8080": f"127.0.0.1:{free_ports(1)[0]}",
            "model-v2:8000": f"127.0.0.1:{versions[0].port}",
        }
        yield stack.enter_context(Started(folder, "nginx.conf", addresses, {}, own)), *versions


async def _run(folder: Path) -> subprocess.CompletedProcess[str]:
    """One that is not to start."""
    command = ["sh", str(folder / "nginx" / "start"), str(folder / "run")]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)


async def _said(nginx: Started, path: str = "/predict") -> str:
    """What a client with a new connection is told."""
    async with (
        ClientSession(connector=TCPConnector(force_close=True)) as client,
        client.get(nginx.url + path) as answer,
    ):
        return await answer.text() if answer.status == 200 else str(answer.status)


def _says(nginx: Started, what: str, path: str = "/predict") -> Callable[[], object]:
    async def says() -> bool:
        return await _said(nginx, path) == what

    return says


async def test_what_stands_in_the_other_folder_is_taken_over_and_so_is_the_next(tmp_path: Path) -> None:
    """Both files; and the files beside `start` too, such as another key of a tenant's."""
    async with started(tmp_path) as (nginx, _, v1):
        assert await _said(nginx) == "v2"
        (nginx.active / "active-upstream.conf").write_text(f"server 127.0.0.1:{v1.port} backup;\n")
        await until(_says(nginx, "v1"), 20, "the other folder's upstream")
        (nginx.active / "active-version.conf").write_text(TOLD % "one")
        await until(_says(nginx, "one", "/told"), 20, "the other folder's version")
        (nginx.folder / "nginx" / "tenant-keys" / "new.map").write_text('"new-key" acme;\n')
        v1.seen.clear()

        async def tenant_is_known() -> bool:
            async with ClientSession(nginx.url) as client, client.get("/predict", headers={"X-Api-Key": "new-key"}):
                return v1.headers.get("x-tenant-id") == "acme"

        await until(tenant_is_known, 20, "the new key")
        assert await _said(nginx, "/told") == "one"


async def test_what_nginx_refuses_changes_nothing_and_is_told_once_until_it_is_mended(tmp_path: Path) -> None:
    """Whatever it is looked at again in the meantime."""
    async with started(tmp_path) as (nginx, _, v1):
        upstream = nginx.active / "active-upstream.conf"
        upstream.write_text("server v1 backup weight=;\n")
        await until(lambda: "are refused" in nginx.errors(), 20, "the refusal")
        (nginx.active / "active-version.conf").write_text(TOLD % "more")  # another state, refused as well
        await until(lambda: nginx.errors().count("are refused") == 2, 20, "the next refusal")
        assert (await _said(nginx), await _said(nginx, "/told")) == ("v2", "v2")
        upstream.write_text(f"server 127.0.0.1:{v1.port} backup;\n")
        await until(_says(nginx, "v1"), 20, "the mended file")
        assert nginx.errors().count("are refused") == 2
        assert "invalid parameter" in nginx.errors()


async def test_a_bad_file_in_the_other_folder_does_not_keep_nginx_from_starting(tmp_path: Path) -> None:
    """It starts with its own, says so, and takes the other when it is mended; bad files of its own end the start."""
    (tmp_path / "active").mkdir()
    upstream = tmp_path / "active" / "active-upstream.conf"
    upstream.write_text("nonsense;\n")
    async with started(tmp_path) as (nginx, _, v1):
        assert await _said(nginx) == "v2"
        assert "nginx starts without" in nginx.errors()
        upstream.write_text(f"server 127.0.0.1:{v1.port} backup;\n")
        await until(_says(nginx, "v1"), 20, "the mended file")
    (tmp_path / "nginx" / "active-version.conf").write_text("nonsense;\n")
    done = await _run(tmp_path)
    assert done.returncode == 1
    assert 'unknown directive "nonsense"' in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
async def test_signals_are_those_of_nginx_and_nothing_outlives_it(tmp_path: Path, number: signal.Signals) -> None:
    """And a second one in the same folder is refused while the first runs."""
    async with started(tmp_path) as (nginx, _, _):
        process = nginx._process
        assert process is not None
        second = await _run(tmp_path)
        assert (second.returncode, "names an nginx that runs" in second.stderr) == (1, True)
        assert await _said(nginx) == "v2"
        process.send_signal(number)
        assert await asyncio.to_thread(process.wait, 20) == 0

        def nobody_is_left() -> bool:
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return True
            return False

        await until(nobody_is_left, 20, "the end of all")


@pytest.mark.parametrize(
    ("version", "newer"),
    [
        ("nginx version: nginx/1.22.1", False),
        ("nginx version: nginx/1.27.3", False),
        ("nginx version: nginx/1.27.4", True),
        ("nginx version: nginx/1.28.0 (Ubuntu)", True),
        ("nginx version: nginx/1.29.1", True),
        ("nginx version: nginx/2.0.0", True),
        ("nginx version: nginx/0.99.9", False),
        ("nginx version: nginx/next", False),
        ("Angie version: Angie/1.99.0", False),
    ],
)
def test_kept_connections_are_spared_where_nginx_is_new_enough(tmp_path: Path, version: str, newer: bool) -> None:
    """By what it says of itself; what else somebody has put there stays."""
    program = tmp_path / "nginx"
    program.write_text(f'#!/bin/sh\ncase $1 in -v) echo "{version}" >&2 ;; esac\n')
    program.chmod(0o755)
    environment = {**os.environ, "NGINX_PROGRAM": str(program)}
    subprocess.run(["sh", str(FILES / "start"), str(tmp_path / "run")], env=environment, check=True)
    taken = {file.name for file in (tmp_path / "run" / "conf" / "enabled").glob("*.conf")}
    assert taken == ({"since-1.27.4.conf"} if newer else set())


def _played(folder: Path, before: str = "", files: Path = FILES) -> tuple[int, str]:
    """A start with a program in nginx's place, which warns, and refuses where the file `refuses` is there.

    What it came to, and all that was said.
    """
    program = folder / "nginx"
    refuses = f"! [ -f '{folder}/refuses' ] || {{ echo 'nginx: [emerg] the cause' >&2; exit 1; }}"
    program.write_text(
        "#!/bin/sh\ncase $1 in -v) echo 'nginx version: nginx/1.22.1' >&2 ;;\n"
        f"-t) echo 'nginx: [warn] harmless' >&2; {refuses} ;;\n*) echo runs ;; esac\n"
    )
    program.chmod(0o755)
    (folder / "run").mkdir(exist_ok=True)
    command = f'{before} NGINX_PROGRAM="$1/nginx"; export NGINX_PROGRAM; exec sh "$2" "$1/run"'
    said = folder / "said"
    with said.open(
        "w"
    ) as output:  # a pipe would be held open by what looks for changes until this process is waited for
        words = ["sh", "-c", command, "sh", str(folder), str(files / "start")]
        code = subprocess.run(words, stdout=output, stderr=output, timeout=30).returncode
    return code, said.read_text()


def test_the_pid_of_one_that_was_killed_does_not_keep_the_next_from_starting(tmp_path: Path) -> None:
    """Though this process has it now, as in a container that starts again, or some other program has."""
    assert _played(tmp_path, 'echo $$ > "$1/run/nginx.pid";') == (0, "runs\n")
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "run" / "nginx.pid").write_text(f"{other.pid}\n")
        try:
            assert _played(tmp_path) == (0, "runs\n")
        finally:
            other.kill()


def test_files_that_nobody_may_write_are_copied_so_that_they_can_be_replaced(tmp_path: Path) -> None:
    """As an image or a package may hold them: whoever is not root could put nothing beside them, nor remove them."""
    files = tmp_path / "files"
    shutil.copytree(FILES, files)
    for path in (*files.rglob("*"), files):
        path.chmod(path.stat().st_mode & ~0o222)
    assert _played(tmp_path, files=files) == (0, "runs\n")
    copied = tmp_path / "run" / "conf"
    assert [path.name for path in copied.rglob("*") if not path.stat().st_mode & 0o200] == []
    assert copied.stat().st_mode & 0o777 == 0o700, "it holds the tenants' keys"


def test_of_what_nginx_says_the_cause_is_told_in_one_line(tmp_path: Path) -> None:
    """Not the warning before it."""
    (tmp_path / "refuses").touch()
    code, said = _played(tmp_path)
    assert code == 1
    [line] = said.splitlines()
    assert line.endswith("nginx/start: nginx: [emerg] the cause")


async def test_reloads_cut_no_request_on_connections_that_are_kept(tmp_path: Path) -> None:
    """A newer nginx with the shipped files, clients without a pause, and the version changing all the time."""
    require("newer nginx", wheels.NGINX.missing())
    async with started(tmp_path, wheels.NGINX.program) as (nginx, v2, v1):
        over, answers, failed = asyncio.Event(), 0, list[object]()

        async def ask() -> None:
            nonlocal answers
            async with ClientSession(nginx.url, connector=TCPConnector(limit=1)) as client:
                while not over.is_set():
                    try:
                        # A POST: the client's library sends none a second time by itself.
                        async with client.post("/predict", data=b"x") as answer:
                            if answer.status != 200:
                                failed.append(answer.status)
                            answers += 1
                    except OSError as error:
                        failed.append(error)

        clients = [asyncio.create_task(ask()) for _ in range(4)]
        for number in range(4):
            version = (v1, v2)[number % 2]
            (nginx.active / "active-upstream.conf").write_text(f"server 127.0.0.1:{version.port} backup;\n")
            await until(_says(nginx, version.name), 30, f"reload {number}")
        over.set()
        await asyncio.gather(*clients)
        assert failed == []
        assert answers > 100


def test_the_script_is_one_of_any_posix_shell() -> None:
    """No shell that refuses to read it, of those that are here."""
    for shell in ("sh", "dash", "bash", "busybox"):
        try:
            done = subprocess.run([shell, *(["sh"] if shell == "busybox" else []), "-n", str(FILES / "start")])
        except FileNotFoundError:
            continue
        assert done.returncode == 0, shell
    until_sync(lambda: os.access(FILES / "start", os.X_OK), 1, "a mark that it can be run")
