"""`shadowdrift up`: the whole as one process tree, which comes up whole, says why not, and leaves nothing behind."""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from demo.readings import scrape
from tests.support.waiting import until

PROC = Path("/proc")
MARK = "SHADOWDRIFT_TEST"
SERVES = re.compile(
    r"shadowdrift: serves at (\S+); metrics at (\S+)/metrics and (\S+)/metrics; Kafka at \S+; Ctrl-C stops it"
)
NOTICES = [
    "shadowdrift: the embedded broker keeps about 5 MiB a partition, in memory: it is for development",
    (
        "shadowdrift: models[0] (fraud) has no `reference:`, so its first ten windows become one, and no drift is "
        "judged before; `shadowdrift profile train.csv --output reference.json` makes one of training data"
    ),
]

pytestmark = pytest.mark.skipif(not PROC.is_dir(), reason="what a process has left behind is seen in /proc")


@dataclass
class Up:
    """A running `shadowdrift up`, what it has said, and every process that comes from it."""

    process: asyncio.subprocess.Process
    temporary: Path
    mark: str
    lines: list[str] = field(default_factory=list)

    async def read(self) -> str | None:
        """The next line that it says; None at the end."""
        assert self.process.stderr is not None
        line = (await self.process.stderr.readline()).decode()
        if line:
            self.lines.append(line.rstrip("\n"))
        return self.lines[-1] if line else None

    async def addresses(self) -> tuple[str, str, str]:
        """Where it serves, and where the two parts tell their metrics, once it does."""
        async with asyncio.timeout(60):
            while (line := await self.read()) is not None:
                if found := SERVES.fullmatch(line):
                    proxy, admin, exporter = found.groups()
                    return proxy, admin, exporter
        raise AssertionError(f"it does not serve: {self.lines}")

    async def ended(self) -> int:
        """Its exit code, when it has ended and said its last."""
        async with asyncio.timeout(60):
            while await self.read() is not None:
                pass
            return await self.process.wait()

    def running(self) -> dict[int, str]:
        """The processes that carry our mark in their environment, with their commands."""
        found = {}
        for directory in PROC.iterdir():
            if directory.name.isdigit():
                try:
                    if self.mark.encode() in (directory / "environ").read_bytes():
                        found[int(directory.name)] = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:  # it has just ended, or is another user's
                    continue
        return found

    def one(self, part: str) -> int:
        """The process of a part."""
        (pid,) = [pid for pid, command in self.running().items() if part in command]
        return pid

    async def nothing_left(self) -> None:
        """Wait until every process is gone."""
        await until(lambda: not self.running(), 20, f"the end of {self.running()}")


Start = Callable[..., Awaitable[Up]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts `shadowdrift up` with those arguments; whatever is left of it is killed."""
    trees: list[Up] = []

    async def started(*arguments: str) -> Up:
        mark = uuid.uuid4().hex
        temporary = Path(tempfile.mkdtemp(prefix="up-", dir="/tmp"))  # the sockets' paths have to be short
        with (tmp_path / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                Path(sys.executable).with_name("shadowdrift"),
                "up",
                *arguments,
                cwd=tmp_path,
                env={**os.environ, MARK: mark, "TMPDIR": str(temporary)},
                stdout=log,
                stderr=asyncio.subprocess.PIPE,
            )
        trees.append(Up(process, temporary, mark))
        return trees[-1]

    yield started
    for tree in trees:
        for pid in tree.running():
            os.kill(pid, signal.SIGKILL)
        await tree.ended()
        await tree.nothing_left()
        shutil.rmtree(tree.temporary)


@pytest.fixture
async def model_url() -> AsyncIterator[str]:
    """A model over HTTP."""

    async def predict(_: web.Request) -> web.Response:
        return web.json_response({"prediction": 0.5})

    app = web.Application()
    app.router.add_post("/predict", predict)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def config(
    directory: Path, url: str, *, listen: str = "0", admin: str = "0", exporter: str = "0", more: str = ""
) -> str:
    """A configuration without a reference, on free ports unless told otherwise; every request is cloned."""
    path = directory / "shadowdrift.yaml"
    path.write_text(
        "kafka: embedded\n"
        f'proxy: {{listen: "127.0.0.1:{listen}", admin: "127.0.0.1:{admin}", workers: 1, drain_timeout: 1s}}\n'
        f'exporter: {{listen: "127.0.0.1:{exporter}"}}\n'
        f'models: [{{name: fraud, targets: {{v2: {{url: "{url}"}}, v1: {{url: "{url}"}}}}, production: v2, shadow: v1, '
        f"mirror: {{fraction: 1}}{more}}}]\n"
    )
    return str(path)


def edit(file: Path, former: str, latter: str) -> None:
    """Another text in that one's place."""
    text = file.read_text()
    assert former in text
    file.write_text(text.replace(former, latter))


async def test_without_a_reference_it_serves_clones_and_counts_and_says_what_drift_needs(
    start: Start, tmp_path: Path, model_url: str
) -> None:
    """The whole way on the embedded broker; SIGTERM ends it in order, and nothing is left."""
    tree = await start("--config", config(tmp_path, model_url))
    proxy, admin, exporter = await tree.addresses()
    assert tree.lines[:-1] == NOTICES
    async with aiohttp.ClientSession() as session:
        for number in range(20):
            async with session.post(f"{proxy}/predict", json={"amount": number}) as answer:
                assert (answer.status, await answer.json()) == (200, {"prediction": 0.5})

        async def measured() -> bool:
            return (await scrape(session, exporter)).total("drift_events_total") == 40

        await until(measured, 30, "20 events of production and 20 of the shadow")
        counted = await scrape(session, admin)
        assert counted.total("inference_requests_total") == 40
        assert counted.total("mirror_completed_total") == 20
        assert (await scrape(session, exporter)).total("drift_psi") == 0
    tree.process.send_signal(signal.SIGTERM)
    assert await tree.ended() == 0
    assert len(tree.lines) == len(NOTICES) + 1
    await tree.nothing_left()
    assert list(tree.temporary.iterdir()) == []


async def test_ctrl_c_ends_it_in_order(start: Start, tmp_path: Path, model_url: str) -> None:
    """With exit code 0 and no word more."""
    tree = await start("--config", config(tmp_path, model_url))
    await tree.addresses()
    said = list(tree.lines)
    tree.process.send_signal(signal.SIGINT)
    assert await tree.ended() == 0
    assert tree.lines == said
    await tree.nothing_left()


@pytest.mark.parametrize(
    ("option", "setting"), [("listen", "proxy.listen"), ("admin", "proxy.admin"), ("exporter", "exporter.listen")]
)
async def test_a_port_in_use_ends_it_with_one_line(
    option: str, setting: str, start: Start, tmp_path: Path, model_url: str
) -> None:
    """Said once, by the part that noticed; exit code 2, and the parts that had started are gone."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        tree = await start("--config", config(tmp_path, model_url, **{option: port}))
        assert await tree.ended() == 2
    assert tree.lines[len(NOTICES) :] == [
        (
            f"shadowdrift: {setting}: cannot listen at 127.0.0.1:{port}: address already in use; "
            "choose another address or end what uses it"
        )
    ]
    await tree.nothing_left()
    assert list(tree.temporary.iterdir()) == []


async def test_a_missing_profile_ends_it_before_anything_starts(start: Start, tmp_path: Path, model_url: str) -> None:
    """One line with the command that makes one; exit code 2."""
    tree = await start("--config", config(tmp_path, model_url, more=", reference: no.json"))
    assert await tree.ended() == 2
    assert tree.lines == [
        (
            f"shadowdrift: models[0].reference: {tmp_path}/no.json cannot be read: no such file or directory; "
            f"make it with `shadowdrift profile train.csv --output {tmp_path}/no.json`"
        )
    ]
    await tree.nothing_left()


async def test_a_key_that_is_none_ends_it_with_one_line(start: Start, tmp_path: Path, model_url: str) -> None:
    """Noticed by the proxy, when broker and exporter run already."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "key.json").write_text("{}")
    tree = await start("--config", config(tmp_path, model_url))
    assert await tree.ended() == 2
    assert tree.lines[len(NOTICES) :] == [
        f"shadowdrift: state_dir: {tmp_path}/state/key.json is not a key file; restore it, or remove it for a new key"
    ]
    await tree.nothing_left()


async def test_killed_it_leaves_no_process_behind(start: Start, tmp_path: Path, model_url: str) -> None:
    """Supervisor, worker, emitter, exporter and broker notice the end of their parent, and end."""
    tree = await start("--config", config(tmp_path, model_url))
    await tree.addresses()
    assert len(tree.running()) == 6, tree.running()
    tree.process.kill()
    assert await tree.ended() == -signal.SIGKILL
    await tree.nothing_left()


@pytest.mark.parametrize("part", ["up.development_broker", "cli.main exporter", "cli.main proxy"])
async def test_a_part_that_dies_ends_the_whole(part: str, start: Start, tmp_path: Path, model_url: str) -> None:
    """With one line that names it, and exit code 2: half a tree would be worse than none."""
    tree = await start("--config", config(tmp_path, model_url))
    await tree.addresses()
    said = len(tree.lines)
    os.kill(tree.one(part), signal.SIGKILL)
    assert await tree.ended() == 2
    name = {"up.development_broker": "development broker"}.get(part, part.split()[-1])
    assert tree.lines[said:] == [
        f"shadowdrift: the {name} ended unexpectedly (exit code -9); all parts stop",
    ]
    await tree.nothing_left()


async def with_rollback(start: Start, tmp_path: Path, model_url: str) -> tuple[Up, Path, str, str]:
    """A tree of all parts that serves; its file, where its rollback listens, and the line that names the others."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        rollback = f"127.0.0.1:{free.getsockname()[1]}"
    file = Path(config(tmp_path, model_url, more=", stable: v1"))
    edit(file, "models:", f'rollback: {{listen: "{rollback}"}}\nmodels:')
    tree = await start("--config", str(file))
    async with asyncio.timeout(60):
        while (line := await tree.read()) is not None and "serves at" not in line:
            pass
    return tree, file, rollback, str(line)


async def test_a_hangup_lets_all_parts_take_another_shadow_or_none(
    start: Start, tmp_path: Path, model_url: str
) -> None:
    """A new version becomes the shadow without a restart of the proxy; what one part refuses, no part takes."""
    tree, file, rollback, line = await with_rollback(start, tmp_path, model_url)
    proxy, admin, exporter = re.findall(r"http://[0-9.:]+", line)[:3]
    supervisor = tree.one("cli.main proxy")

    async def told(former: str, latter: str) -> str:
        edit(file, former, latter)
        tree.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            return str(await tree.read())

    edit(file, "targets: {", f'targets: {{v3: {{url: "{model_url}"}}, ')
    assert await told("shadow: v1", "shadow: v3") == "shadowdrift: the configuration was taken"
    async with aiohttp.ClientSession() as session:

        async def shadow_of(url: str, *keys: str) -> str:
            async with session.get(url) as answer:
                found = await answer.json()
            for key in keys:
                found = found[key]
            return str(found["shadow"])

        async def asked() -> bool:
            async with session.post(f"{proxy}/predict", json={"amount": 1}) as answer:  # maybe one that drains takes it
                assert answer.status == 200
            return bool((await scrape(session, admin)).total("inference_requests_total", role="shadow", version="v3"))

        async def known() -> bool:
            async with session.get(f"{exporter}/evidence/fraud") as answer:
                return answer.status == 200

        await until(asked, 30, "a clone to v3")
        await until(known, 30, "the exporter's partition")
        assert await shadow_of(f"{exporter}/evidence/fraud") == "v3"
        assert await shadow_of(f"http://{rollback}/status", "models", "fraud") == "v3"
        line = await told("shadow: v3,", "shadow: v1, window: {size: 200},")
        assert line.startswith("shadowdrift: the configuration was not taken; nothing changes: the exporter does not")
        assert "models[0].window must stay as it is" in line
        assert await shadow_of(f"{exporter}/evidence/fraud") == "v3"
        line = await told("shadow: v1, window: {size: 200},", "shadow: v1, capture: {fraction: 2},")
        assert "models[0].capture.fraction must be" in line
        line = await told(", capture: {fraction: 2}", "")
        assert line == "shadowdrift: the configuration was taken"
        assert await shadow_of(f"http://{rollback}/status", "models", "fraud") == "v1"
    assert tree.one("cli.main proxy") == supervisor


async def test_a_hangup_when_the_parts_files_cannot_be_written_changes_nothing_and_says_so(
    start: Start, tmp_path: Path, model_url: str
) -> None:
    """As where something has tidied up the folder for temporary files. Each hangup gets its answer, and parts go on."""
    tree, *_ = await with_rollback(start, tmp_path, model_url)
    (directory,) = (found.parent for found in tree.temporary.glob("*/exporter.yaml"))
    before = tree.running()
    shutil.move(directory, tmp_path / "away")
    for _ in range(2):
        tree.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            line = await tree.read()
        assert line == (
            "shadowdrift: the configuration was not taken; nothing changes: "
            f"{directory}/exporter.yaml cannot be written: No such file or directory"
        )
    shutil.move(tmp_path / "away", directory)
    (directory / "rollback.yaml.new").mkdir()
    tree.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(30):
        line = await tree.read()
    assert line is not None
    assert line.endswith("rollback.yaml cannot be written: Is a directory")
    assert tree.running() == before
    (directory / "rollback.yaml.new").rmdir()
    tree.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(60):
        assert await tree.read() == "shadowdrift: the configuration was taken"
