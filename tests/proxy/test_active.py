"""The active file: what is taken, what is refused, and that a running proxy follows it without losing a request."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration import Model, Target
from configuration.reading import convert
from proxy.routing.active import Active, Order
from proxy.routing.active_file import ActiveFileWatch
from proxy.routing.probe import Probes
from tests.proxy.planes import document
from tests.proxy.trees import Tree, configured, tree
from tests.support.backend import Backend, Call, answers
from tests.support.kafka import free_ports
from tests.support.raw_client import connected, request
from tests.support.waiting import until

V2 = Order({"v2": 1.0}, "serve", "configuration", 0)
URLS = {version: Target(f"http://{version}:1") for version in ("v1", "v2", "v3")}


def models(*names: str) -> list[Model]:
    """Models of three versions, of which v2 is production."""
    return [Model(name=name, path_prefix=f"/{name}", targets=URLS, production="v2") for name in names or ("fraud",)]


def entry(**changes: Any) -> dict[str, Any]:
    """What the rollback writes of one model, with changes."""
    return {
        "weights": {"v1": 1.0},
        "mode": "serve",
        "reason": "rollback",
        "by": "alert",
        "at": "2026-11-20T10:00:00Z",
        "generation": 7,
        "config_production": "v2",
        **changes,
    }


def content(**entries: Any) -> bytes:
    """A file; without entries, of the model `fraud`."""
    return json.dumps({"format": 1, "models": entries or {"fraud": entry()}}).encode()


def test_the_example_of_the_contract_is_taken() -> None:
    """To the letter; unknown fields are a later version's, and no fault."""
    active = Active(models())
    text = b"""{"format": 1, "models": {"fraud": {"weights": {"v2": 1.0}, "mode": "serve", "reason": "configuration",
     "by": "start", "at": "2026-11-20T10:00:00Z", "generation": 7, "config_production": "v2", "more": []}}, "and": 1}"""
    assert active.look(text) == {}
    assert active.refused == {}
    assert active.in_force["fraud"] == Order({"v2": 1.0}, "serve", "configuration", 7)


def test_without_a_file_the_configuration_serves() -> None:
    """From the start on."""
    active = Active(models())
    active.begin(None)
    assert active.in_force == {"fraud": V2}
    assert active.told() == {"fraud": {"weights": {"v2": 1.0}, "mode": "serve", "generation": 0}}


def test_a_move_is_a_wish_until_it_is_taken() -> None:
    """The version has to be tried first."""
    active = Active(models())
    [(name, order)] = active.look(content()).items()
    assert active.in_force == {"fraud": V2}
    active.take(name, order)
    assert active.in_force == {"fraud": Order({"v1": 1.0}, "serve", "rollback", 7)}
    active.refuse(name, "v1 does not pass its probe")
    assert active.in_force["fraud"] is order
    assert active.refused == {"fraud": "v1 does not pass its probe"}


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        ({}, {"weights": {"v2": 1}}, False),
        ({}, {"weights": {"v2": 0.9, "v1": 0.1}}, True),
        ({"weights": {"v2": 0.9, "v1": 0.1}}, {"weights": {"v2": 0.1, "v1": 0.9}}, False),
        ({"weights": {"v2": 0.9, "v1": 0.1}}, {"weights": {"v1": 1, "v2": 0}}, False),
        ({"weights": {"v2": 1, "v1": 0}}, {"weights": {"v1": 1}}, True),
        ({}, {"mode": "paused", "weights": {"v1": 1}}, False),
        ({"mode": "paused", "weights": {"v2": 1}}, {"weights": {"v2": 1}}, True),
    ],
    ids=str,
)
def test_what_asks_a_version_that_is_not_asked_now_moves_traffic(
    before: dict[str, Any], after: dict[str, Any], moves: bool
) -> None:
    """Other weights of the same versions, and a pause, are in force at once."""
    active = Active(models())
    active.begin(content(fraud=entry(**before)) if before else None)
    assert bool(active.look(content(fraud=entry(**after)))) is moves
    assert (active.in_force["fraud"].mode == after.get("mode", "serve")) or moves


def test_at_the_start_the_file_is_what_was_in_force_before() -> None:
    """A restart changes nobody: nothing has to be tried."""
    active = Active(models())
    active.begin(content())
    assert active.in_force == {"fraud": Order({"v1": 1.0}, "serve", "rollback", 7)}


def test_a_new_deployment_is_served_by_the_configuration(caplog: pytest.LogCaptureFixture) -> None:
    """What was decided for another production is passed over, and the log warns of it, once for each entry."""
    active = Active(models())
    with caplog.at_level(logging.INFO, "shadowdrift"):
        for generation in (1, 1, 2):
            active.look(content(fraud=entry(config_production="v3", generation=generation)))
    assert active.in_force == {"fraud": V2}
    assert active.refused == {}
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
        ("WARNING", "the configuration decides who serves")
    ] * 2
    why = "the active file was made for production v3; production is v2 here: it is passed over"
    assert {line.__dict__["fields"]["why"] for line in caplog.records} == {why}


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "half of it": content()[:-20],
    "no JSON": b"models: {}",
    "half a character": b"\xff\xfe",
    "100,000 levels": b"[" * 100_000,
    "a list": b"[]",
    "null": b"null",
    "another format": content().replace(b'"format": 1', b'"format": 2'),
    "no format": b'{"models": {}}',
    "an unknown model": content(fruad=entry()),
    "an unknown version": content(fraud=entry(weights={"v9": 1})),
    "an unknown version without a share": content(fraud=entry(weights={"v1": 1, "v9": 0})),
    "no version": content(fraud=entry(weights={})),
    "too little": content(fraud=entry(weights={"v1": 0.5, "v2": 0.4})),
    "too much": content(fraud=entry(weights={"v1": 1, "v2": 0.1})),
    "less than nothing": content(fraud=entry(weights={"v1": 1.5, "v2": -0.5})),
    "a share that is a text": content(fraud=entry(weights={"v1": "1"})),
    "a share that is true": content(fraud=entry(weights={"v1": True})),
    "a share that is no number": content(fraud=entry(weights={"v1": float("nan")})),
    "a share beyond all": content(fraud=entry(weights={"v1": 1})).replace(b'"v1": 1}', b'"v1": 1e999}'),
    "an unknown mode": content(fraud=entry(mode="off")),
    "no production": content(fraud={"weights": {"v1": 1}}),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("start", ["configuration", "file"])
def test_what_cannot_be_taken_changes_nothing(case: str, start: str, caplog: pytest.LogCaptureFixture) -> None:
    """The last good one stays, with one line that says why; a good one clears it."""
    active = Active(models())
    active.begin(content(fraud=entry(weights={"v3": 1})) if start == "file" else None)
    before = dict(active.in_force)
    caplog.clear()
    with caplog.at_level(logging.ERROR, "shadowdrift"):
        assert active.look(REFUSED[case]) == {}
    assert active.in_force == before
    assert list(active.refused) == ["fraud"]
    [line] = caplog.records
    assert line.getMessage() == "the active file is refused; what was in force stays"
    assert len(line.__dict__["fields"]["why"]) < 300
    for name, order in active.look(content()).items():
        active.take(name, order)
    assert active.refused == {}
    assert active.in_force["fraud"].weights == {"v1": 1.0}


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["format", "models", "fraud", "weights", "v1"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_content_raises(data: bytes) -> None:
    """Whatever stands there, somebody serves."""
    active = Active(models())
    for name, order in active.look(data).items():
        active.take(name, order)
    assert sum(active.in_force["fraud"].weights.values()) == pytest.approx(1)


def test_shares_that_nearly_add_up_are_meant_to() -> None:
    """Three thirds of 0.333 are a whole."""
    active = Active(models())
    active.begin(content(fraud=entry(weights={"v1": 0.333, "v2": 0.333, "v3": 0.333})))
    assert active.in_force["fraud"].weights == {version: pytest.approx(1 / 3) for version in URLS}


def test_each_model_is_judged_by_itself() -> None:
    """A mistake in one entry holds no other model's switch up; what the file does not name is the configuration's."""
    active = Active(models("fraud", "churn", "spam"))
    active.begin(content(spam=entry()))
    wishes = active.look(content(fraud=entry(), churn=entry(weights={"v9": 1})))
    assert {name: order.reason for name, order in wishes.items()} == {"fraud": "rollback", "spam": "configuration"}
    assert list(active.refused) == ["churn"]
    assert list(active.look(content(fraud=entry(), churn=entry(mode="off"), spam=entry(weights=3)))) == ["fraud"]
    assert sorted(active.refused) == ["churn", "spam"]
    assert active.look(content(fraud=entry(), stale=entry()))  # with a model too many
    assert sorted(active.refused) == ["churn", "spam"]  # each may be the one that was meant


def test_a_new_configuration_keeps_who_serves_while_the_file_cannot_be_used() -> None:
    """As long as it has the versions and the same production; a file that can be used decides."""
    former = Active(models())
    former.begin(content(fraud=entry(weights={"v1": 1})))
    for text, version in ((b"{", "v1"), (content(fraud=entry(weights={"v3": 1})), "v3"), (None, "v2")):
        active = Active(models(), former)
        active.begin(text)
        assert active.in_force["fraud"].weights == {version: 1.0}
    for changed in (
        Model(name="fraud", targets={"v2": URLS["v2"]}, production="v2"),
        Model(name="fraud", targets=URLS, production="v3"),
        Model(name="churn", targets=URLS, production="v2"),
    ):
        active = Active([changed], former)
        active.begin(b"{")
        assert active.in_force == {changed.name: Order({changed.production: 1.0}, "serve", "configuration", 0)}


def test_a_reason_is_shown_cut_and_on_one_line() -> None:
    """It becomes a label."""
    active = Active(models())
    active.begin(content(fraud=entry(reason='a\n"b"' + "x" * 100)))
    assert active.in_force["fraud"].reason == 'a\\n"b"' + "x" * 51 + "..."


# The file itself.


class Watched:
    """A watch whose looks are the test's, on models whose v1 has a probe, unless told otherwise."""

    def __init__(self, folder: Path, v1: str, v2: str = "http://127.0.0.1:1", *, probe: bool = True) -> None:
        (folder / "probe.json").write_text('{"path": "/predict", "body": {}}')
        (folder / "schema.json").write_text('{"required": ["prediction"]}')
        made = document(v2, v1)
        if probe:
            made["models"][0]["targets"]["v1"]["probe"] = {"request": "probe.json", "schema": "schema.json"}
        [model] = convert(made, folder, "test").models
        self.path = folder / "active" / "active.json"
        self.path.parent.mkdir()
        self.active = Active([model])
        self.told: list[dict[str, Any]] = []
        self.watch = ActiveFileWatch(self.path, self.active, {"fraud": Probes(model, "m")}, self.told.append)

    def write(self, data: bytes) -> None:
        """Another file in its place."""
        write(self.path, data)
        self.watch.look()

    async def settles(self) -> None:
        """Until no version is tried any more."""
        await until(lambda: not self.watch.trials, what="the end of the trials")


def write(path: Path, data: bytes) -> None:
    """As the rollback writes: beside it, then renamed."""
    path.parent.mkdir(exist_ok=True, parents=True)
    draft = path.with_suffix(".new")
    draft.write_bytes(data)
    draft.replace(path)


async def test_a_switch_waits_for_the_probe_and_is_told(shadow: Backend, tmp_path: Path) -> None:
    """Once; the same file is not tried again."""
    watched = Watched(tmp_path, shadow.url)
    watched.watch.begin()
    watched.write(content())
    assert watched.told == []
    await watched.settles()
    assert watched.told == [{"fraud": {"weights": {"v1": 1.0}, "mode": "serve", "generation": 7}}]
    watched.watch.look()
    assert (len(watched.told), len(shadow.calls)) == (1, 1)


async def test_a_failed_probe_leaves_what_was_in_force(shadow: Backend, tmp_path: Path) -> None:
    """Until another file comes."""
    watched = Watched(tmp_path, shadow.url)
    watched.watch.begin()
    shadow.script = answers(body=b"{}")
    watched.write(content())
    await watched.settles()
    assert (watched.told, watched.active.in_force["fraud"]) == ([], V2)
    assert "v1 does not pass its probe" in watched.active.refused["fraud"]
    shadow.script = answers(body=b'{"prediction": 1}')
    watched.watch.look()
    assert len(shadow.calls) == 1  # once for each file
    watched.write(content(fraud=entry(generation=8)))
    await watched.settles()
    assert watched.active.in_force["fraud"].weights == {"v1": 1.0}
    assert watched.active.refused == {}


async def test_without_a_probe_a_version_must_be_there_before_traffic_moves_to_it(
    shadow: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else every client would get 502: the log names it, its address and the reason. Nothing is sent."""
    watched = Watched(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}", probe=False)
    watched.watch.begin()
    watched.write(content())
    await watched.settles()
    assert (watched.told, watched.active.in_force["fraud"]) == ([], V2)
    address = watched.active.models["fraud"].targets["v1"].urls[0].removeprefix("http://")
    why = f"v1 cannot be connected to: {address} cannot be asked: connection refused"
    assert watched.active.refused == {"fraud": why}
    assert [record.__dict__["fields"]["why"] for record in caplog.records] == [why]
    folder = tmp_path / "there"
    folder.mkdir()
    watched = Watched(folder, shadow.url, probe=False)
    watched.watch.begin()
    watched.write(content())
    await watched.settles()
    assert (watched.told[0]["fraud"]["weights"], watched.active.refused) == ({"v1": 1.0}, {})
    assert shadow.calls == []


async def test_a_newer_file_ends_the_trial_of_the_older(shadow: Backend, tmp_path: Path) -> None:
    """What was wished for before does not come true afterwards."""
    watched = Watched(tmp_path, shadow.url)
    watched.watch.begin()
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> None:
        asked.set()
        await go_on.wait()
        await call.answer(200, b'{"prediction": 1}')

    shadow.script = slow
    watched.write(content())
    await asked.wait()
    watched.write(content(fraud=entry(weights={"v2": 1}, generation=8)))
    go_on.set()
    await watched.settles()
    assert watched.active.in_force["fraud"] == Order({"v2": 1.0}, "serve", "rollback", 8)
    assert [told["fraud"]["generation"] for told in watched.told] == [8]


async def test_a_file_that_goes_leaves_the_configuration(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """Production serves again."""
    watched = Watched(tmp_path, shadow.url, production.url)
    write(watched.path, content())
    watched.watch.begin()
    assert watched.active.in_force["fraud"].weights == {"v1": 1.0}
    watched.path.unlink()
    watched.watch.look()
    await watched.settles()
    assert watched.active.in_force == {"fraud": V2}
    assert watched.told[-1]["fraud"]["weights"] == {"v2": 1.0}


def a_directory(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def too_much(path: Path) -> None:
    path.write_bytes(b" " * (2**20 + 1))


def a_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [a_directory, a_pipe, too_much, a_loop])
async def test_what_is_no_file_is_refused(shadow: Backend, tmp_path: Path, make: Any) -> None:
    """And holds nobody up; what is in force stays."""
    watched = Watched(tmp_path, shadow.url)
    write(watched.path, content())
    watched.watch.begin()
    watched.path.unlink()
    make(watched.path)
    watched.watch.look()
    assert watched.active.in_force["fraud"].weights == {"v1": 1.0}
    assert "cannot be read" in watched.active.refused["fraud"]
    if not watched.path.is_dir():
        watched.path.unlink()


# The whole proxy: two workers, and nothing that a switch could hide behind.

SECTIONS: dict[str, Any] = {"proxy": {"workers": 2}, "capture": {"fraction": 0}}


async def shows(running: Tree, name: str, value: float, **labels: str) -> bool:
    """Whether a gauge stands at a value, or is not there where that is 0."""
    found = [
        one.value
        for one in (await running.metrics()).samples
        if one.name == name and labels.items() <= one.labels.items()
    ]
    return found == [value]


async def test_a_running_proxy_follows_the_file(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """Both workers, under load, there and back: no request fails, and the gauges show who serves and why."""
    seen: Counter[tuple[int, bytes]] = Counter()
    path = tmp_path / "state" / "active" / "active.json"
    async with tree(configured(production, shadow, **SECTIONS), tmp_path) as running:
        done = asyncio.Event()

        async def load() -> None:
            async with connected(running.port) as client:
                while not done.is_set():
                    answer = await client.ask(request())
                    seen[answer.status, answer.body] += 1

        loading = [asyncio.ensure_future(load()) for _ in range(8)]
        new, old = (200, b'{"prediction": 2}'), (200, b'{"prediction": 1}')
        await until(lambda: seen[old] > 100, what="load")
        for generation, (version, answer) in enumerate([("v1", new), ("v2", old), ("v1", new)], start=1):
            write(path, content(fraud=entry(weights={version: 1}, generation=generation, reason=f"try {generation}")))
            await until(lambda version=version: shows(running, "inference_traffic_ratio", 1, version=version))
            for port_of in (old, new):
                seen[port_of] = 0
            await until(lambda answer=answer: seen[answer] > 200, what="answers of the new version")
        done.set()
        await asyncio.gather(*loading)
        assert seen.keys() == {new, old}
        assert await shows(running, "inference_active_info", 1, version="v1", reason="try 3")
        for broken in (b"{", content(fraud=entry(weights={"v9": 1}))):
            write(path, broken)
            await until(lambda: shows(running, "inference_active_refused", 1, model="fraud"))
            assert await shows(running, "inference_traffic_ratio", 1, version="v1")
        write(path, content(fraud=entry(weights={"v1": 1}, mode="paused", generation=9)))
        await until(lambda: shows(running, "inference_paused", 1, model="fraud"))
        assert await shows(running, "inference_active_refused", 0, model="fraud")
        assert await shows(running, "inference_traffic_ratio", 0, version="v1")

        async def paused() -> bool:
            async with connected(running.port) as client:
                return (await client.ask(request())).status == 503

        await until(paused, what="a pause")


async def test_a_switch_to_a_version_that_is_away_reaches_no_client(
    production: Backend, shadow: Backend, tmp_path: Path
) -> None:
    """It is refused, and shows; whoever serves answers on."""
    await shadow.stop()
    async with tree(configured(production, shadow, **SECTIONS), tmp_path) as running:
        write(tmp_path / "state" / "active" / "active.json", content())
        await until(lambda: shows(running, "inference_active_refused", 1, model="fraud"))
        assert await shows(running, "inference_traffic_ratio", 1, version="v2")
        async with connected(running.port) as client:
            assert (await client.ask(request())).body == b'{"prediction": 1}'


async def test_a_start_takes_what_was_in_force(production: Backend, shadow: Backend, tmp_path: Path) -> None:
    """The first request already goes where the file says, and readiness asks that version alone."""
    await production.stop()
    write(tmp_path / "state" / "active" / "active.json", content())
    async with tree(configured(production, shadow, **SECTIONS), tmp_path) as running:
        for _ in range(8):
            async with connected(running.port) as client:
                assert (await client.ask(request())).body == b'{"prediction": 2}'

        async def ready() -> bool:
            return (await running.get("/-/ready"))[0] == 200

        await until(ready, what="readiness")
