"""What puts a decision in force, against the real other side: nginx, AWS's protocol, HTTP; and what is undone."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import trustme
import uvloop
import yaml
from aiohttp import web

from active import file as active_file
from active.file import Entry
from configuration import Configuration
from lifecycle.refusal import Refusal
from rollback.actions.action import Action, ActionError, Undo
from rollback.actions.active_file import ActiveFile, shares_in
from rollback.actions.nginx import NginxUpstream, told, upstream
from rollback.actions.ssm import Parameter
from rollback.actions.steps import Steps
from rollback.actions.webhook import Call
from tests.nginx.conftest import Backend
from tests.rollback.making import SEVERE, configured, model
from tests.rollback.stand_ins import Receiver, rolling, served
from tests.support import nginx
from tests.support.nginx import Nginx
from tests.support.required import require
from tests.support.waiting import until

DOCS = Path(__file__).parents[2] / "docs" / "rollback.md"
PATIENCE = 60.0
"""Seconds for another process on a machine that has much to do."""
BEFORE = Entry({"v2": 1.0}, "v2", generation=1)
AFTER = Entry({"v1": 1.0}, "v2", reason="rollback: SevereFeatureDrift", by="alertmanager", generation=2)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession() as made:
        yield made


class Played:
    """An action that works, or fails when it is applied, or when it is undone."""

    irreversible: str | None = None

    def __init__(self, name: str, log: list[str], fails: str = "") -> None:
        """`fails`: apply, fault (of ours) or undo."""
        self.name = name
        self._log = log
        self._fails = fails

    async def apply(self, model: Any, before: Entry, after: Entry) -> Undo:
        """Write down that it was done."""
        if self._fails == "apply":
            raise ActionError(f"{self.name}: no")
        if self._fails == "fault":
            raise RuntimeError("a fault")
        self._log.append(f"{self.name} {after.generation}")

        async def undo() -> None:
            if self._fails == "undo":
                raise ActionError("stuck")
            self._log.append(f"{self.name} back")

        return undo


async def test_what_was_done_is_undone_when_a_later_action_fails() -> None:
    """In the opposite order; what cannot be taken back is told."""
    log: list[str] = []
    counted: list[tuple[str, str, str]] = []
    actions: list[Action] = [Played("a", log), Played("b", log, "undo"), Played("c", log, "apply")]
    steps = Steps(actions, lambda *what: counted.append(what))
    with pytest.raises(ActionError, match="c: no; and b could not be undone: stuck; fraud stays as it was"):
        await steps.apply(model(), BEFORE, AFTER)
    assert log == ["a 2", "b 2", "a back"]
    assert [(action, result) for _, action, result in counted] == [
        ("a", "done"), ("b", "done"), ("c", "failed"), ("b", "undo_failed"),
    ]  # fmt: skip


async def test_a_fault_of_an_action_is_a_failure_like_any_other() -> None:
    """What was done before it is undone."""
    log: list[str] = []
    with pytest.raises(ActionError, match=r"b: RuntimeError\('a fault'\); fraud stays as it was"):
        await Steps([Played("a", log), Played("b", log, "fault")]).apply(model(), BEFORE, AFTER)
    assert log == ["a 2", "a back"]


# -- active-file ------------------------------------------------------------------------------------------------------

METRICS = """\
# TYPE inference_traffic_ratio gauge
inference_traffic_ratio{{model="fraud",version="v1"}} {v1}
inference_traffic_ratio{{model="fraud",version="v2"}} {v2}
inference_traffic_ratio{{model="fraud",version="v3"}} 0.0
inference_traffic_ratio{{model="spam",version="v1"}} 1.0
inference_active_refused{{model="fraud"}} {refused}
"""


def test_a_proxys_shares_are_read_out_of_its_metrics() -> None:
    """Those of the model, and whether it refuses the file."""
    text = METRICS.format(v1=0.333, v2=0.667, refused="1.0")
    assert shares_in(text, "fraud") == ({"v1": 0.333, "v2": 0.667, "v3": 0.0}, True)


@asynccontextmanager
async def proxy(state: dict[str, Any]) -> AsyncIterator[str]:
    """A proxy's admin address, played: `state` says what it tells; it asks for the token."""

    async def metrics(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer hush"
        state["asked"] = state.get("asked", 0) + 1
        return web.Response(text=METRICS.format(**state))

    async with served([web.get("/metrics", metrics)]) as url:
        yield url


async def test_a_switch_that_the_proxy_refuses_is_taken_back(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """Its probe has failed: what was in force is in the file again."""
    file = tmp_path / "active" / "active.json"
    async with proxy({"v1": 0, "v2": 1, "refused": 0}) as url:
        action = ActiveFile(tmp_path, session, (url,), "hush")
        state: dict[str, Any] = {"v1": 1, "v2": 0, "refused": 0}
    async with proxy(state) as url:
        action = ActiveFile(tmp_path, session, (url,), "hush")
        await action.apply(model(), BEFORE, AFTER)
        former = file.read_bytes()
        refusing = asyncio.create_task(action.apply(model(), AFTER, BEFORE))
        await until(lambda: file.read_bytes() != former, what="the new file")
        state["refused"] = 1
        with pytest.raises(ActionError, match="refuses it; its log says why"):
            await refusing
    assert file.read_bytes() == former


async def test_taking_one_model_back_leaves_what_was_switched_of_another_meanwhile(tmp_path: Path) -> None:
    """They share the file, and each model is decided by itself while a proxy still tries the other's."""
    file = ActiveFile(tmp_path)
    await file.apply(model(), BEFORE, BEFORE)
    spam = msgspec.structs.replace(model(), name="spam")
    undo = await file.apply(model(), BEFORE, AFTER)
    await file.apply(spam, BEFORE, AFTER)
    undo_again = await file.apply(model(), AFTER, BEFORE)
    await undo_again()
    await undo()
    assert {name: active_file.entry(raw) for name, raw in (file.read() or {}).items()} == {
        "fraud": BEFORE,
        "spam": AFTER,
    }


async def test_a_proxy_that_cannot_be_asked_is_not_waited_for(
    tmp_path: Path, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes the file when it starts; where that is so of all of them, it is kept and the log warns of it."""
    action = ActiveFile(tmp_path, session, ("http://127.0.0.1:1",))
    undo = await action.apply(model(), BEFORE, AFTER)
    assert json.loads((tmp_path / "active" / "active.json").read_text())["models"]["fraud"]["weights"] == {"v1": 1.0}
    assert action.unconfirmed == {"fraud": "http://127.0.0.1:1: connection refused"}
    [line] = caplog.records
    assert (line.levelname, line.getMessage()) == ("WARNING", "no proxy could be asked whether it has taken the switch")
    assert line.__dict__["fields"]["why"] == "http://127.0.0.1:1: connection refused"
    await undo()
    assert not (tmp_path / "active" / "active.json").exists()


async def test_one_proxy_that_has_taken_it_speaks_for_those_that_cannot_be_asked(
    tmp_path: Path, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is to be said of it; one that is asked without its token is one that cannot be asked."""
    async with proxy({"v1": 1, "v2": 0, "refused": 0}) as url:
        action = ActiveFile(tmp_path, session, (url, "http://127.0.0.1:1"), "hush")
        await action.apply(model(), BEFORE, AFTER)
    assert (action.unconfirmed, caplog.records) == ({}, [])
    async with served([web.get("/metrics", _unauthorised)]) as url:
        await (action := ActiveFile(tmp_path, session, (url,))).apply(model(), BEFORE, AFTER)
        assert action.unconfirmed == {"fraud": f"{url}: it answered 401"}


async def _unauthorised(_: web.Request) -> web.Response:
    return web.Response(status=401)


async def test_a_proxy_that_never_takes_it_may_read_another_file(
    tmp_path: Path, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log says nothing then."""
    monkeypatch.setattr("rollback.actions.active_file.CONFIRM_SECONDS", 0.2)
    async with proxy({"v1": 0, "v2": 1, "refused": 0}) as url:
        with pytest.raises(ActionError, match=r"has not taken it after 0.2 s; its log says why, or it reads another "):
            await ActiveFile(tmp_path, session, (url,), "hush").apply(model(), BEFORE, AFTER)


async def test_what_no_proxy_could_confirm_is_told_to_people_and_kept(tmp_path: Path) -> None:
    """A command's answer and an alert's say what is known: what stands in the file, and who could not be asked."""
    away = "http://127.0.0.1:1: connection refused"
    asked, paused = (f"no proxy could be asked whether it {word} ({away})" for word in ("serves", "has"))
    async with rolling(tmp_path, proxies=["http://127.0.0.1:1"]) as running:
        running.exporter.columns = SEVERE
        _, answer = await running.alert()
        assert answer["decision"] == "taken"
        assert answer["text"].endswith(f"; {asked}")
        latched = "; latched: alerts move nothing until `shadowdrift rollback arm`"
        for command, told in (
            ("restore", f"the active file names v2; {asked}{latched}"),
            ("rollback", f"the active file names v1; {asked}{latched}"),
            ("pause", f"the active file pauses fraud; {paused}; inferences get 503: there is no fallback"),
        ):
            assert (await running.post(f"/{command}"))[1]["text"] == told
            assert running.audit()[-1]["text"] == told
        await running.post("/restore")
        _, answer = await running.post("/promote", {"force": True, "reason": "so"})
        assert answer["text"].startswith(f"the active file names v1; {asked}, by force")


async def test_a_folder_that_cannot_be_written_fails_and_the_alert_comes_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """503; nothing latched, nothing half done; once it is mended the same delivery moves traffic."""
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        starts, blocked = time.time() - 60, tmp_path / "state" / "active" / "active.json.new"
        blocked.mkdir(parents=True)
        status, answer = await running.alert(starts=starts)
        assert (status, answer["decision"], answer["reason"]) == (503, "failed", "action")
        assert (await running.status())["latch"] is None
        metrics = await running.metrics()
        assert metrics['rollback_decisions_total{decision="failed",model="fraud",reason="action"}'] == 1
        assert metrics['rollback_actions_total{action="active-file",model="fraud",result="failed"}'] == 1
        caplog.clear()
        status, answer = await running.post("/rollback", {"by": "alice"})
        assert (status, answer["decision"]) == (503, "failed")
        [line] = caplog.records
        assert (line.levelname, line.getMessage()) == ("ERROR", "a command failed")
        fields = line.__dict__["fields"]
        assert (fields["command"], fields["by"], fields["text"]) == ("rollback", "alice", answer["text"])
        assert await running.decision(starts=starts) == ("failed", "action")
        line = caplog.records[-1]
        assert (line.levelname, line.getMessage()) == ("ERROR", "an alert's rollback failed")
        assert "active-file: " in line.__dict__["fields"]["text"]
        blocked.rmdir()
        assert await running.decision(starts=starts) == ("taken", "feature_drift")


# -- nginx ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def behind(folder: Path) -> AsyncIterator[tuple[Nginx, Configuration, list[Backend]]]:
    """nginx with the proxy away, so that its backup answers: v2 first; and the configuration that moves it."""
    require("nginx", nginx.missing())
    async with AsyncExitStack() as stack:
        backends = [Backend(name) for name in ("v2", "v1")]
        for backend in backends:
            await backend.start()
            stack.push_async_callback(backend.stop)
        gone = Backend("proxy")
        await gone.start()
        await gone.stop()
        made = Nginx(
            folder, "nginx.conf",
            {"proxy:8080": f"127.0.0.1:{gone.port}", "model-v2:8000": f"127.0.0.1:{backends[0].port}"}, {},
        )  # fmt: skip
        stack.enter_context(made)
        targets = {backend.name: {"url": f"http://127.0.0.1:{backend.port}"} for backend in backends}
        command = made._command()
        configuration = configured(
            folder,
            actions=["active-file", "nginx"],
            nginx={
                "directory": str(folder / "nginx"), "test": [*command, "-t"], "reload": [*command, "-s", "reload"],
                "check": f"{made.url}/nginx/active/fraud", "timeout": PATIENCE,
            },
            model={"targets": targets},
        )  # fmt: skip
        yield made, configuration, backends


async def answered(session: aiohttp.ClientSession, nginx: Nginx) -> str:
    """Who answers a client on a new connection: one that is kept is closed by a reload."""
    async with session.post(f"{nginx.url}/predict", json={}, headers={"Connection": "close"}) as answer:
        return await answer.text() if answer.status == 200 else str(answer.status)


async def test_nginx_follows_a_switch_and_its_undoing(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """A real one."""
    async with behind(tmp_path) as (server, configuration, _):
        assert configuration.rollback.nginx is not None
        action = NginxUpstream(configuration.rollback.nginx, configuration.models, session)
        assert await answered(session, server) == "v2"
        undo = await action.apply(configuration.models[0], BEFORE, AFTER)
        await until(lambda: says(session, server, "v1"), what="the new version")
        await undo()
        await until(lambda: says(session, server, "v2"), what="the former version again")


async def says(session: aiohttp.ClientSession, server: Nginx, name: str) -> bool:
    """Whether this version answers: a worker that has not heard of the reload yet may do so by the old files."""
    return await answered(session, server) == name


async def test_a_paused_model_is_not_served_past_the_proxy(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """Its versions are down in the backup too."""
    async with behind(tmp_path) as (server, configuration, _):
        assert configuration.rollback.nginx is not None
        action = NginxUpstream(configuration.rollback.nginx, configuration.models, session)
        paused = Entry({"v2": 1.0}, "v2", "paused", generation=2)
        await action.apply(configuration.models[0], BEFORE, paused)
        await until(lambda: says(session, server, "502"), what="nobody answers")


def test_nginx_is_reached_from_the_loop_that_the_service_runs_on(tmp_path: Path) -> None:
    """uvloop gives a child's standard error a socket, which nginx cannot open as /dev/stderr."""

    async def follow() -> None:
        async with aiohttp.ClientSession() as session, behind(tmp_path) as (server, configuration, _):
            assert configuration.rollback.nginx is not None
            action = NginxUpstream(configuration.rollback.nginx, configuration.models, session)
            await action.apply(configuration.models[0], BEFORE, AFTER)
            await until(lambda: says(session, server, "v1"), what="the new version")

    uvloop.run(follow())


async def test_an_nginx_that_tells_other_versions_by_the_same_generation_has_not_followed(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    """A deployment changes the versions, and not the generation."""

    async def tells(_: web.Request) -> web.Response:
        return web.json_response({"model": "fraud", "versions": ["v2"], "generation": AFTER.generation})

    async with served([web.get("/told", tells)]) as url:
        settings = {"directory": str(tmp_path), "test": None, "reload": ["true"], "timeout": 0.3}
        configuration = configured(tmp_path, nginx={**settings, "check": f"{url}/told"})
        assert configuration.rollback.nginx is not None
        action = NginxUpstream(configuration.rollback.nginx, configuration.models, session)
        with pytest.raises(ActionError, match="does not tell generation"):
            await action.apply(configuration.models[0], BEFORE, AFTER)


@pytest.mark.parametrize("trouble", ["test", "reload", "check"])
async def test_an_nginx_that_does_not_follow_keeps_its_former_files(
    tmp_path: Path, session: aiohttp.ClientSession, trouble: str
) -> None:
    """Refused by `nginx -t`, a reload that fails, or one that nobody sees: all is as it was, the active file too."""
    async with behind(tmp_path) as (server, configuration, _):
        found = configuration.rollback.nginx
        assert found is not None
        changes: dict[str, Any] = {
            "test": {"test": ("sh", "-c", "echo 'nginx: [emerg] it is broken' >&2; exit 1")},
            "reload": {"reload": ("no-such-program",)},
            "check": {"reload": ("true",), "timeout": 0.3},
        }[trouble]
        action = NginxUpstream(msgspec.structs.replace(found, **changes), configuration.models, session)
        file = ActiveFile(Path(configuration.state_dir))
        former = (tmp_path / "nginx" / "active-upstream.conf").read_bytes()
        said = {
            "test": "it is broken",
            "reload": "no-such-program cannot be run",
            "check": "does not tell generation 2",
        }
        with pytest.raises(ActionError, match=said[trouble]):
            await Steps([file, action]).apply(configuration.models[0], BEFORE, AFTER)
        assert (tmp_path / "nginx" / "active-upstream.conf").read_bytes() == former
        assert file.read() is None
        assert server.check().returncode == 0
        assert await answered(session, server) == "v2"


def test_shares_and_addresses_become_servers() -> None:
    """A canary by weight; several addresses share theirs; `primary` is no backup; a fallback stands in a pause."""
    made = model(
        targets={"v2": {"url": ["http://a:1", "http://b"]}, "v1": {"url": "http://c:3"}}, fallback={"target": "v1"}
    )
    canary = Entry({"v2": 0.9, "v1": 0.1}, "v2", generation=3)
    assert upstream(made, canary, "primary").splitlines()[1:] == [
        "server c:3 weight=100;", "server a:1 weight=450;", "server b:80 weight=450;",
    ]  # fmt: skip
    assert upstream(made, AFTER, "backup").splitlines()[1:] == ["server c:3 backup;"]
    paused = Entry({"v2": 1.0}, "v2", "paused", generation=4)
    assert upstream(made, paused, "backup").splitlines()[1:] == ["server c:3 backup;"]
    assert '"generation": 3' in told(made, canary)


def test_a_version_that_nginx_cannot_reach_by_an_upstream_is_refused(session: aiohttp.ClientSession) -> None:
    """TLS and paths belong to the proxy."""
    for url in ("https://a:1", "http://a:1/v1"):
        made = configured(
            nginx={"directory": "x"}, model={"targets": {"v2": {"url": url}, "v1": {"url": "http://b:1"}}}
        )
        assert made.rollback.nginx is not None
        with pytest.raises(Refusal, match="the action nginx reaches versions at http://host:port alone"):
            NginxUpstream(made.rollback.nginx, made.models, session)


# -- ssm --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """AWS's own protocol, served by moto; its address."""
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        with urllib.request.urlopen(reset, timeout=10):  # noqa: S310 - what another test has left in this process
            yield f"http://{host}:{port}"
    finally:
        server.stop()


async def test_the_parameter_names_the_version_and_comes_back(aws: str) -> None:
    """`v1`, `v1 paused`, and what stood there before."""
    configuration = configured(ssm={"endpoint": aws, "timeout": PATIENCE})
    assert configuration.rollback.ssm is not None
    action, made = Parameter(configuration.rollback.ssm), configuration.models[0]
    try:
        assert await action.read(made) is None
        await action.apply(made, BEFORE, AFTER)
        assert await action.read(made) == "v1"
        undo = await action.apply(made, AFTER, Entry({"v1": 1.0}, "v2", "paused"))
        assert await action.read(made) == "v1 paused"
        await undo()
        assert await action.read(made) == "v1"
        with pytest.raises(ActionError, match="names one version, not shares"):
            await action.apply(made, AFTER, Entry({"v1": 0.5, "v2": 0.5}, "v2"))
    finally:
        action.close()


async def test_a_parameter_store_that_is_away_or_mute_fails_in_one_line(aws: str) -> None:
    """Within the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        for endpoint in ("http://127.0.0.1:1", f"http://127.0.0.1:{mute.getsockname()[1]}"):
            configuration = configured(ssm={"endpoint": endpoint, "timeout": 0.3})
            assert configuration.rollback.ssm is not None
            action = Parameter(configuration.rollback.ssm)
            with pytest.raises(ActionError, match="ssm: /model/current cannot be read"):
                await action.apply(configuration.models[0], BEFORE, AFTER)
            action.close()


# -- webhook ----------------------------------------------------------------------------------------------------------


ANY_PATH = r"/{path:[\s\S]*}"


def recipes() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Those of docs/rollback.md: the name, the settings, the template."""
    text = DOCS.read_text().partition("### Recipes")[2]
    for name, settings, template in re.findall(
        r"\*\*(.*?)\*\*.*?```yaml\n(.*?)```\s+```json\n(.*?)```", text, re.DOTALL
    ):
        yield name, yaml.safe_load(settings)["rollback"], template


RECIPES = {name: (settings, template) for name, settings, template in recipes()}

EXPECTED: dict[str, tuple[str, str, str, str]] = {
    # the method, the path, the content type, and a place in the body with what must stand there
    "Terraform Cloud": ("POST", "/api/v2/runs", "application/vnd.api+json", 'data.attributes.variables.0.value="v1"'),
    "Kubernetes": (
        "PATCH", "/api/v1/namespaces/models/services/fraud", "application/strategic-merge-patch+json",
        "spec.selector.version=v1",
    ),
    "feature flag": (
        "PATCH", "/api/v2/flags/ml/fraud", "application/json; domain-model=launchdarkly.semanticpatch",
        "instructions.0.variationId=v1",
    ),
    "retraining job": (
        "POST", "/repos/acme/models/actions/workflows/retrain.yml/dispatches", "application/json", "inputs.model=fraud",
    ),
}  # fmt: skip


def test_every_recipe_has_its_test() -> None:
    """And the other way round."""
    assert RECIPES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
async def test_a_recipe_makes_the_call_that_its_other_side_takes(
    name: str, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    """As it stands in the docs but for host and secrets, over TLS with an authority of its own."""
    settings, template = RECIPES[name]
    authority, receiver = trustme.CA(), Receiver(status=201)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "token").write_text("t0ken\n")
    (tmp_path / "body.json").write_text(template)
    async with served([web.route("*", ANY_PATH, receiver.handle)], ssl=context) as url:
        webhook = dict(settings["webhook"])
        webhook["url"] = re.sub(r"https://[^/]+", url, webhook["url"])
        webhook |= {"ca_file": "ca.pem", "token_file": "token", "body_file": "body.json"}
        configuration = configured(tmp_path, actions=settings["actions"], webhook=webhook)
        assert configuration.rollback.webhook is not None
        call = Call(configuration.rollback.webhook, session)
        assert call.irreversible is not None
        await call.apply(configuration.models[0], BEFORE, AFTER)
    method, path, kind, place = EXPECTED[name]
    (found_method, found_path, headers, body), *others = receiver.calls
    assert others == []
    assert (found_method, found_path, headers["Content-Type"]) == (method, path, kind)
    assert headers["Authorization"] == ("t0ken" if name == "feature flag" else "Bearer t0ken")
    where, _, wanted = place.partition("=")
    for step in where.split("."):
        body = body[int(step)] if step.isdigit() else body[step]
    assert body == wanted


async def test_no_name_or_reason_can_change_what_a_templatesays(session: aiohttp.ClientSession) -> None:
    """Quotes, braces and line breaks stay a value; without a template all fields are sent."""
    receiver = Receiver()
    async with served([web.route("*", ANY_PATH, receiver.handle)]) as url:
        configuration = configured(webhook={"url": f"{url}/{{reason}}"})
        assert configuration.rollback.webhook is not None
        call = Call(configuration.rollback.webhook, session)
        hostile = '", "admin": true, "x": "{version}\n/../é'
        await call.apply(configuration.models[0], BEFORE, Entry({"v1": 1.0}, "v2", reason=hostile, generation=3))
    _, path, _, body = receiver.calls[0]
    assert body == {
        "model": "fraud", "version": "v1", "former": "v2", "mode": "serve", "reason": hostile, "by": "",
        "generation": "3",
    }  # fmt: skip
    assert path.count("/") == 1


@pytest.mark.parametrize("status", [302, 400, 500])
async def test_any_other_answer_is_a_failure(status: int, session: aiohttp.ClientSession) -> None:
    """A redirection is not followed: it could lead anywhere with the token."""
    receiver = Receiver(status=status)
    async with served([web.route("*", ANY_PATH, receiver.handle)]) as url:
        configuration = configured(webhook={"url": url})
        assert configuration.rollback.webhook is not None
        with pytest.raises(ActionError, match=f"answered {status}"):
            await Call(configuration.rollback.webhook, session).apply(configuration.models[0], BEFORE, AFTER)


def test_a_template_that_makes_no_json_is_refused_at_the_start(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """Before it is needed."""
    (tmp_path / "body.json").write_text('{"version": {version}')
    configuration = configured(tmp_path, webhook={"url": "http://a:1", "body_file": "body.json"})
    assert configuration.rollback.webhook is not None
    with pytest.raises(Refusal, match="must be JSON with fields"):
        Call(configuration.rollback.webhook, session)


def test_what_cannot_be_undone_stands_last(tmp_path: Path) -> None:
    """Else it would have happened though a later action failed."""
    with pytest.raises(Refusal, match=r"rollback\.actions must name webhook last"):
        configured(tmp_path, actions=["webhook", "active-file"], webhook={"url": "http://a:1"})


async def test_an_action_that_cannot_be_undone_says_so_before_it_runs(tmp_path: Path) -> None:
    """In the audit log's first line, and in the status that the command shows."""
    receiver = Receiver(status=500)
    async with (
        served([web.route("*", ANY_PATH, receiver.handle)]) as url,
        rolling(tmp_path, actions=["active-file", "webhook"], webhook={"url": url}) as running,
    ):
        assert (await running.post("/rollback"))[0] == 503
        assert running.active is None
        receiver.status = 200
        assert (await running.post("/rollback"))[0] == 200
        began = running.audit()[0]
        assert began["what"] == "begins"
        assert "cannot be undone" in began["irreversible"][0]
