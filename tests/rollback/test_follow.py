"""`shadowdrift rollback follow`: what a parameter or a file says is done on this host."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from active.file import Entry
from configuration import Model
from lifecycle.tether import Tether
from rollback.actions.action import ActionError
from rollback.actions.active_file import ActiveFile
from rollback.actions.nginx import NginxUpstream
from rollback.actions.ssm import Parameter
from rollback.actions.steps import Steps
from rollback.follow import Follower, OfActiveFile, OfParameter, follow
from tests.rollback.making import configured
from tests.rollback.test_actions import AFTER, BEFORE, PATIENCE, aws, behind, says
from tests.support.waiting import until

__all__ = ["aws"]


class Spoken:
    """A source that says what a test has it say."""

    def __init__(self) -> None:
        self.says: Entry | ActionError | None = None

    async def entry(self, model: Model) -> Entry | None:
        """That."""
        if isinstance(self.says, ActionError):
            raise self.says
        return self.says


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession() as made:
        yield made


def written(folder: Path) -> dict[str, object]:
    """This host's active file."""
    entry: dict[str, object] = json.loads((folder / "active" / "active.json").read_text())["models"]["fraud"]
    return entry


async def test_what_is_new_is_written_once_with_the_next_generation(tmp_path: Path) -> None:
    """And what is as it was is left alone, over a restart too."""
    source, file = Spoken(), ActiveFile(tmp_path)
    follower = Follower(configured(), source, Steps([file]), file)
    await follower.look()
    assert file.read() is None
    source.says = Entry({"v1": 1.0}, "v2", reason="ssm", by="follow")
    await follower.look()
    assert (written(tmp_path)["weights"], written(tmp_path)["generation"]) == ({"v1": 1.0}, 1)
    before = (tmp_path / "active" / "active.json").stat()
    await follower.look()
    await Follower(configured(), source, Steps([file]), file).look()
    assert (tmp_path / "active" / "active.json").stat().st_mtime_ns == before.st_mtime_ns
    source.says = Entry({"v1": 1.0}, "v2", "paused", reason="ssm", by="follow")
    await follower.look()
    assert (written(tmp_path)["mode"], written(tmp_path)["generation"]) == ("paused", 2)


async def test_a_trouble_is_told_once_and_what_was_in_force_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At every look it is tried again."""
    source, file = Spoken(), ActiveFile(tmp_path)
    follower = Follower(configured(), source, Steps([file]), file)
    source.says = ActionError("ssm: away")
    with caplog.at_level(logging.INFO, "shadowdrift.rollback"):
        for _ in range(3):
            await follower.look()
        source.says = Entry({"v1": 1.0}, "v2")
        await follower.look()
    assert [record.getMessage() for record in caplog.records] == ["cannot follow", "followed", "followed again"]
    assert written(tmp_path)["weights"] == {"v1": 1.0}


async def test_the_parameter_that_one_host_writes_is_done_on_another(tmp_path: Path, aws: str) -> None:
    """The action `ssm` here, `follow` there, AWS's protocol between them; a name that is no version moves nothing."""
    configuration = configured(ssm={"endpoint": aws, "timeout": PATIENCE})
    assert configuration.rollback.ssm is not None
    parameter, file = Parameter(configuration.rollback.ssm), ActiveFile(tmp_path)
    try:
        follower = Follower(configuration, OfParameter(parameter), Steps([file]), file)
        await parameter.apply(configuration.models[0], BEFORE, AFTER)
        await follower.look()
        assert (written(tmp_path)["weights"], written(tmp_path)["by"]) == ({"v1": 1.0}, "follow")
        source = OfParameter(parameter)
        for nonsense in ("v9", "v2 stopped", " "):
            await parameter._put(configuration.models[0], nonsense)
            with pytest.raises(ActionError, match="names no version of fraud"):
                await source.entry(configuration.models[0])
        await follower.look()
        assert written(tmp_path)["weights"] == {"v1": 1.0}
    finally:
        parameter.close()


async def test_an_nginx_that_follows_this_hosts_file_takes_no_token_of_the_proxys(tmp_path: Path) -> None:
    """It is read, and no proxy is asked: beside nginx nobody needs that secret."""
    (tmp_path / "state" / "active").mkdir(parents=True)
    configuration = configured(
        tmp_path,
        follow={"source": "active-file", "actions": ["nginx"]},
        nginx={"directory": str(tmp_path), "test": None, "reload": None, "check": "http://127.0.0.1:1/"},
        parts={"proxy": {"admin": "127.0.0.1:0", "token_file": str(tmp_path / "not here")}},
    )
    announced: dict[str, object] = {}
    stop, tether = asyncio.Event(), Tether(None, b"")
    tether.announce = announced.update  # type: ignore[method-assign]
    stop.set()
    await follow(configuration, tether, stop)
    assert announced == {"follow": "active-file"}


async def test_where_there_is_no_active_file_yet_the_configurations_production_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No switch has been made: that is said once, and looked for again."""
    (tmp_path / "nginx").mkdir()
    configuration = configured(
        tmp_path,
        follow={"source": "active-file", "actions": ["nginx"], "every": 0.1},
        nginx={"directory": str(tmp_path / "nginx"), "test": None, "reload": ["true"]},
    )
    stop, upstream = asyncio.Event(), tmp_path / "nginx" / "active-version.conf"
    with caplog.at_level(logging.INFO, "shadowdrift.rollback"):
        following = asyncio.create_task(follow(configuration, Tether(None, b""), stop))
        try:
            await until(lambda: following.done() or (upstream.exists() and '["v2"]' in upstream.read_text()), what="v2")
            assert not following.done(), following.exception()
            await ActiveFile(tmp_path / "state").apply(configuration.models[0], BEFORE, AFTER)
            await until(lambda: '["v1"]' in upstream.read_text(), what="v1")
        finally:
            stop.set()
            await following
    said = [record for record in caplog.records if record.getMessage().startswith("there is no active file yet")]
    assert [record.__dict__["fields"] for record in said] == [
        {"path": str(tmp_path / "state" / "active" / "active.json")}
    ]


async def test_a_file_that_was_made_for_another_configuration_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After a deployment this process has still read the former one: its log says what to do."""
    (tmp_path / "nginx").mkdir()
    configuration, file = configured(tmp_path), ActiveFile(tmp_path / "state")
    follower = Follower(configuration, OfActiveFile(file), Steps([]), None)
    with caplog.at_level(logging.WARNING, "shadowdrift.rollback"):
        for generation in (2, 3):
            deployed = Entry({"v3": 1.0}, "v3", generation=generation)
            await file.apply(configuration.models[0], BEFORE, deployed)
            await follower.look()
            await follower.look()
        [line] = caplog.records
        assert line.getMessage().startswith("the active file was made for another production than the configuration")
        assert "if the configuration has changed since, start it anew" in line.getMessage()
        fields = {"model": "fraud", "config_production": "v3", "production": "v2"}
        assert line.__dict__["fields"] == fields
        await file.apply(configuration.models[0], BEFORE, AFTER)
        await follower.look()
        await file.apply(configuration.models[0], BEFORE, deployed)
        await follower.look()
    assert len(caplog.records) == 2


async def test_a_version_that_the_configuration_lacks_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By its name."""
    configuration, file = configured(tmp_path), ActiveFile(tmp_path / "state")
    follower = Follower(configuration, OfActiveFile(file), Steps([]), None)
    await file.apply(configuration.models[0], BEFORE, Entry({"v9": 1.0}, "v2", generation=2))
    with caplog.at_level(logging.WARNING, "shadowdrift.rollback"):
        await follower.look()
        await follower.look()
    [line] = caplog.records
    assert line.getMessage() == "cannot follow"
    assert "names versions that the configuration lacks: v9" in line.__dict__["fields"]["why"]


async def test_nginx_follows_an_active_file_that_another_process_writes(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    """Also at its own start, when nginx may serve by whatever was there."""
    async with behind(tmp_path) as (server, configuration, _):
        assert configuration.rollback.nginx is not None
        file = ActiveFile(tmp_path / "state")
        action = NginxUpstream(configuration.rollback.nginx, configuration.models, session)
        await file.apply(configuration.models[0], BEFORE, AFTER)
        follower = Follower(configuration, OfActiveFile(file), Steps([action]), None)
        await follower.look()
        await until(lambda: says(session, server, "v1"), what="the new version")
        back = Entry({"v2": 1.0}, "v2", generation=3)
        await file.apply(configuration.models[0], AFTER, back)
        await follower.look()
        await until(lambda: says(session, server, "v2"), what="the former version again")
