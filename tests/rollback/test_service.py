"""The rollback over HTTP: what Alertmanager sends, what people order, and what stands on the disk afterwards."""

import asyncio
import io
import json
import logging
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from lifecycle.refusal import Refusal
from rollback.decision import key_of
from tests.rollback.making import (
    CALM,
    SEVERE,
    alert_document,
    column,
    configured,
    delivery,
    delivery_document,
    pairs,
    window,
)
from tests.rollback.stand_ins import Exporter, rolling, served
from tests.support.waiting import until


async def test_nginxs_files_are_brought_to_what_is_in_force_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After a deployment they still name the former version. A reload only where they differ; in a dry run too."""
    folder, reloads = tmp_path / "nginx", tmp_path / "reloads"
    folder.mkdir()
    (folder / "active-upstream.conf").write_text("server model-v1:8000 backup;\n")
    nginx = {"directory": str(folder), "test": None, "reload": ["sh", "-c", f"echo >> {reloads}"]}
    settings = {"actions": ["active-file", "nginx"], "nginx": nginx, "dry_run": True}
    with caplog.at_level(logging.WARNING, "shadowdrift.rollback"):
        for _ in range(2):
            async with rolling(tmp_path, **settings):
                await until((folder / "active-version.conf").exists, what="begun, which it ends")
    assert "server 127.0.0.1:1 backup;" in (folder / "active-upstream.conf").read_text()
    assert '["v2"]' in (folder / "active-version.conf").read_text()
    assert reloads.read_text() == "\n"
    assert caplog.records == []


async def test_an_nginx_that_cannot_be_brought_along_at_the_start_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A `test` that no machine knows is seen now, and not at the first switch; the rollback serves."""
    (tmp_path / "nginx").mkdir()
    nginx = {"directory": str(tmp_path / "nginx"), "test": ["no-such-program"], "reload": ["true"]}
    with caplog.at_level(logging.WARNING, "shadowdrift.rollback"):
        async with rolling(tmp_path, actions=["active-file", "nginx"], nginx=nginx) as running:
            await until(lambda: bool(caplog.records), what="a warning")
            assert (await running.post("/rollback"))[0] == 503, "it serves; such an nginx fails a switch too"
    [line] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert line.getMessage() == "nginx's files differ from what is in force, and cannot be brought to it"
    assert line.__dict__["fields"]["model"] == "fraud"
    assert "no-such-program cannot be run" in line.__dict__["fields"]["why"]
    assert list((tmp_path / "nginx").iterdir()) == []


async def test_an_nginx_that_serves_alone_is_left_as_it_is_at_the_start(tmp_path: Path) -> None:
    """There its files are the traffic, which only a switch moves."""
    (tmp_path / "nginx").mkdir()
    nginx = {"directory": str(tmp_path / "nginx"), "test": None, "reload": ["true"], "role": "primary"}
    async with rolling(tmp_path, actions=["nginx"], nginx=nginx) as running:
        await running.status()
    assert list((tmp_path / "nginx").iterdir()) == []


async def test_a_severe_drift_moves_traffic_to_the_stable_version_and_latches(tmp_path: Path) -> None:
    """The active file, the answer, the metrics, the audit log and the status say so."""
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        status, answer = await running.alert()
        assert status == 200
        assert (answer["decision"], answer["reason"]) == ("taken", "feature_drift")
        active = running.active
        assert active is not None
        assert active["weights"] == {"v1": 1.0}
        assert active["mode"] == "serve"
        assert active["reason"] == "rollback: SevereFeatureDrift"
        assert (active["by"], active["generation"], active["config_production"]) == ("alertmanager", 1, "v2")
        metrics = await running.metrics()
        assert metrics['rollback_decisions_total{decision="taken",model="fraud",reason="feature_drift"}'] == 1
        assert metrics['rollback_latched{model="fraud"}'] == 1
        assert metrics['rollback_armed{model="fraud"}'] == 1
        assert metrics['rollback_actions_total{action="active-file",model="fraud",result="done"}'] == 1
        assert [line["what"] for line in running.audit()] == ["begins", "alert"]
        assert running.audit()[1]["findings"][0]["name"] == "feature_drift"
        assert (await running.status())["latch"]["config_production"] == "v2"


async def test_without_drift_an_alert_moves_nothing(tmp_path: Path) -> None:
    """A forged one, for example: what moves traffic is what the exporter says."""
    async with rolling(tmp_path) as running:
        assert await running.decision() == ("refused", "not_confirmed")
        assert await running.decision("LatencySpike") == ("refused", "not_confirmed")
        assert running.active is None


async def test_drift_that_comes_and_goes_makes_one_switch(tmp_path: Path) -> None:
    """A square wave of an hour: each rise fires anew, each fall resolves, and a person never arms it."""
    async with rolling(tmp_path) as running:
        words = []
        for beat in range(30):
            running.exporter.columns = SEVERE
            words.append((await running.decision(starts=time.time() - 300 + beat))[0])
            running.exporter.columns = CALM
            assert await running.decision(status="resolved") == ("refused", "resolved")
        assert words == ["taken"] + ["latched"] * 29
        active = running.active
        assert active is not None
        assert (active["weights"], active["generation"]) == ({"v1": 1.0}, 1)


async def test_a_repeated_delivery_is_a_replay_and_counts_anew_after_restore_and_arm(tmp_path: Path) -> None:
    """Until a person has decided otherwise."""
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        starts = time.time() - 60
        assert await running.decision(starts=starts) == ("taken", "feature_drift")
        assert await running.decision(starts=starts) == ("replayed", "replayed")
        status, answer = await running.post("/restore", {"reason": "a false alarm", "by": "alice"})
        assert (status, answer["generation"]) == (200, 2)
        assert "latched: alerts move nothing" in answer["text"]
        active = running.active
        assert active is not None
        assert (active["weights"], active["by"], active["reason"]) == ({"v2": 1.0}, "alice", "restore: a false alarm")
        assert await running.decision(starts=starts) == ("latched", "latched")
        assert (await running.post("/arm"))[0] == 200
        assert await running.decision(starts=starts) == ("taken", "feature_drift")


async def test_many_deliveries_at_once_move_traffic_once(tmp_path: Path) -> None:
    """They wait for one another, and the second finds the first one's latch."""
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        answers = await asyncio.gather(
            *(running.decision(fingerprint=f"{number:016x}") for number in range(20)),
            *(running.decision() for _ in range(5)),
        )
        words = [word for word, _ in answers]
        assert words.count("taken") == 1
        assert set(words) <= {"taken", "latched", "replayed"}
        active = running.active
        assert active is not None
        assert active["generation"] == 1


async def test_ten_thousand_alerts_in_one_delivery_are_decided(tmp_path: Path) -> None:
    """Evidence is asked for once; each alert has its decision, and the weightiest is told first."""
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        alerts = [alert_document(starts=time.time() - 60, fingerprint=f"{number:016x}") for number in range(10_000)]
        status, answer = await running.post("/alertmanager", delivery_document(*alerts))
        assert (status, answer["decision"], len(answer["decisions"])) == (200, "taken", 10_000)
        assert len(running.exporter.asked) == 1


async def test_what_cannot_be_known_moves_nothing_and_is_counted(tmp_path: Path) -> None:
    """Each with its reason, answered 200: sending it again would not help."""
    async with rolling(tmp_path, on_feature_drift="corroborated") as running:
        exporter, prometheus = running.exporter, running.prometheus
        exporter.columns = SEVERE
        prometheus.status = 500
        assert await running.decision() == ("inconclusive", "prometheus_away")
        exporter.status = 503
        assert await running.decision() == ("inconclusive", "exporter_away")
        exporter.status = 200
        exporter.raw = b'{"format": 1}'
        assert await running.decision() == ("inconclusive", "exporter_away")
        exporter.raw = msgspec.json.encode(exporter.made()).replace(b"0.9", b"null", 1)
        assert await running.decision() == ("inconclusive", "exporter_away")
        exporter.raw = None
        exporter.changes = {"windows": window(500, warming=True)}
        assert await running.decision() == ("inconclusive", "warming")
        prometheus.status, prometheus.p95 = 200, None
        assert await running.decision("LatencySpike") == ("inconclusive", "value_missing")
        assert running.active is None
        metrics = await running.metrics()
        name = 'rollback_decisions_total{{decision="inconclusive",model="fraud",reason="{}"}}'
        assert metrics[name.format("prometheus_away")] == 1
        assert metrics[name.format("exporter_away")] == 3
        assert metrics[name.format("too_few")] == 0


async def test_a_dry_run_tells_and_moves_nothing(tmp_path: Path) -> None:
    """Once for each alert; people's commands act all the same."""
    async with rolling(tmp_path, dry_run=True) as running:
        running.exporter.columns = SEVERE
        starts = time.time() - 60
        assert await running.decision(starts=starts) == ("dry_run", "feature_drift")
        assert await running.decision(starts=starts) == ("replayed", "replayed")
        assert running.active is None
        assert (await running.metrics())["rollback_dry_run"] == 1
        assert (await running.post("/rollback"))[0] == 200
        assert running.active is not None


async def test_what_is_no_webhook_and_what_has_no_token_is_refused_and_written_down(tmp_path: Path) -> None:
    """400, 401 and 413; at most sixty lines a minute, with the number left out."""
    token = tmp_path / "token"
    token.write_text("hush\n")
    async with rolling(tmp_path, token_file=str(token)) as running:
        right = {"headers": {"Authorization": "Bearer hush"}}
        for path in ("/alertmanager", "/rollback", "/arm"):
            assert (await running.post(path, delivery_document()))[0] == 401
        assert (await running.post("/alertmanager", delivery_document(), headers={"Authorization": "Bearer x"}))[
            0
        ] == 401
        for wrong in ([], {"version": "3"}, delivery_document(version="3")):
            status, answer = await running.post("/alertmanager", wrong, **right)
            assert (status, list(answer)) == (400, ["error"])
        assert (await running.post("/rollback", {"modle": "fraud"}, **right))[0] == 400
        async with running.session.post(f"{running.url}/alertmanager", data=b"{", **right) as answer:
            assert answer.status == 400
        async with running.session.post(
            f"{running.url}/alertmanager", data=io.BytesIO(b" " * (17 * 2**20)), **right
        ) as answer:
            assert answer.status == 413
        origin = {**right["headers"], "Origin": "http://evil.example"}
        assert (await running.post("/rollback", headers=origin))[0] == 403
        for _ in range(100):
            await running.post("/arm")
        lines = running.audit()
        assert [line["status"] for line in lines[:11]] == [401] * 4 + [400] * 5 + [413, 403]
        assert len(lines) == 60
        assert "hush" not in (tmp_path / "state" / "rollback" / "audit.jsonl").read_text()
        assert running.active is None
        assert (await running.metrics())['rollback_refused_requests_total{status="401"}'] == 104


@pytest.mark.parametrize(
    ("changes", "word", "reason"),
    [
        ({"starts": 1_500_000_000.0}, "stale", "too_old"),
        ({"starts": time.time() + 7200}, "stale", "future"),
        ({"endsAt": "2026-01-01T00:00:00Z"}, "stale", "ended"),
        ({"labels": {"action": None}}, "refused", "not_asked"),
        ({"labels": {"model": 'x"} or vector(1)'}}, "refused", "unknown_model"),
        ({"labels": {"model": None}}, "refused", "unknown_model"),
        ({"labels": {"feature": 'x"} or vector(1)'}}, "inconclusive", "value_missing"),
        ({"labels": {"version": "v9"}}, "refused", "not_serving"),
    ],
)
async def test_a_delayed_or_forged_alert_moves_nothing(
    tmp_path: Path, changes: dict[str, Any], word: str, reason: str
) -> None:
    """Though the drift is there."""
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        assert await running.decision(**changes) == (word, reason)
        assert running.active is None
        assert "vector" not in "".join(await running.metrics())


async def test_a_new_deployment_or_a_file_that_is_gone_opens_the_latch(tmp_path: Path) -> None:
    """The configuration decides again, as it does for the proxy; it shows without an alert."""
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        assert (await running.decision())[0] == "taken"
    async with rolling(tmp_path) as running:  # a restart alone changes nothing
        assert (await running.status())["latch"] is not None
        assert await running.decision(fingerprint="b" * 16) == ("latched", "latched")
    async with rolling(tmp_path, model={"production": "v3"}) as running:
        status = await running.status()
        assert (status["latch"], status["by_configuration"]) == (None, True)
        assert status["active"]["weights"] == {"v3": 1.0}
        running.exporter.columns = SEVERE
        assert (await running.decision())[0] == "taken"
        (tmp_path / "state" / "active" / "active.json").unlink()
        latched = 'rollback_latched{model="fraud"}'

        async def opened() -> bool:
            return (await running.metrics())[latched] == 0

        await until(opened, what="the latch opens")
        status, answer = await running.post("/rollback")
        assert answer["generation"] == 3


async def test_an_active_file_that_cannot_be_read_is_inconclusive_and_stays(tmp_path: Path) -> None:
    """Who serves is not known, so nothing is decided; people are told what to mend."""
    path = tmp_path / "state" / "active" / "active.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        assert await running.decision() == ("inconclusive", "active_file")
        status, answer = await running.post("/restore")
        assert (status, answer["reason"]) == (409, "active_file")
        assert str(path) in answer["text"]
        assert path.read_text() == "{"


async def test_an_entry_that_cannot_be_used_is_mended_by_a_person(tmp_path: Path) -> None:
    """It names a version that is gone from the configuration: alerts wait, `restore` writes it anew."""
    path = tmp_path / "state" / "active" / "active.json"
    path.parent.mkdir(parents=True)
    gone = {"weights": {"v0": 1.0}, "config_production": "v2", "generation": 4}
    path.write_text(json.dumps({"format": 1, "models": {"fraud": gone}}))
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        assert await running.decision() == ("inconclusive", "active_file")
        assert (await running.post("/restore"))[0] == 200
        active = running.active
        assert active is not None
        assert (active["weights"], active["generation"]) == ({"v2": 1.0}, 5)


@pytest.mark.parametrize("done", [True, False])
async def test_a_life_that_ended_in_the_middle_of_a_switch_is_settled_at_the_next_start(
    tmp_path: Path, done: bool
) -> None:
    """By what stands in the active file: the switch was made, and latches; or it was not, and the alert counts anew."""
    starts = time.time() - 60
    found = delivery(alert_document(starts=starts)).alerts[0]
    after = {
        "weights": {"v1": 1.0}, "config_production": "v2", "mode": "serve", "reason": "rollback: SevereFeatureDrift",
        "by": "alertmanager", "at": "2026-11-20T10:00:00Z", "generation": 1,
    }  # fmt: skip
    fingerprint, starts_at = key_of(found)
    begun = {"after": after, "latches": True, "fingerprint": fingerprint, "starts_at": starts_at}
    for name, document in (
        ("rollback/journal.json", {"format": 1, "models": {"fraud": {"begun": begun}}}),
        ("active/active.json", {"format": 1, "models": {"fraud": after} if done else {}}),
    ):
        path = tmp_path / "state" / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(document))
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        assert ((await running.status())["latch"] is not None) is done
        assert (await running.decision(starts=starts))[0] == ("replayed" if done else "taken")
        assert running.audit()[-1 if done else 0]["what"] == ("alert" if done else "recovered")
        assert not any(line["what"] == "settled" for line in running.audit())


async def test_a_switch_under_way_is_nobody_elses(tmp_path: Path) -> None:
    """Whoever looks while a proxy still takes it writes no other author into the audit log."""
    shares = {"v1": 0, "v2": 1}

    async def metrics(_: web.Request) -> web.Response:
        told = [f'inference_traffic_ratio{{model="fraud",version="{name}"}} {at}' for name, at in shares.items()]
        return web.Response(text="\n".join([*told, 'inference_traffic_ratio{model="fraud",version="v3"} 0', ""]))

    async with served([web.get("/metrics", metrics)]) as url, rolling(tmp_path, proxies=[url]) as running:
        switching = asyncio.create_task(running.post("/rollback"))
        await until(lambda: running.active is not None, what="the new file")
        assert (await running.status())["active"]["generation"] == 1
        shares.update(v1=1, v2=0)
        assert (await switching)[0] == 200
        assert [line["what"] for line in running.audit()] == ["begins", "command"]


async def test_other_models_entries_stay_as_they_were(tmp_path: Path) -> None:
    """Also fields that this version does not know."""
    path = tmp_path / "state" / "active" / "active.json"
    path.parent.mkdir(parents=True)
    spam = {"weights": {"a": 0.5, "b": 0.5}, "config_production": "a", "news": [1]}
    path.write_text(json.dumps({"format": 1, "models": {"spam": spam}}))
    async with rolling(tmp_path) as running:
        assert (await running.post("/rollback"))[0] == 200
    document = json.loads(path.read_text())
    assert document["models"]["spam"] == spam
    assert document["models"]["fraud"]["weights"] == {"v1": 1.0}
    assert [each.name for each in path.parent.iterdir()] == ["active.json"]


async def test_a_cool_down_follows_every_switch(tmp_path: Path) -> None:
    """A person's, too: windows and latency begin anew there."""
    async with rolling(tmp_path, cool_down="1h") as running:
        running.exporter.columns = SEVERE
        assert (await running.post("/pause"))[0] == 200
        assert (await running.post("/restore"))[0] == 200
        assert await running.decision() == ("refused", "cool_down")


async def test_a_persons_rollback_latches_as_an_alerts_does(tmp_path: Path) -> None:
    """Whoever has taken it in hand is not overtaken; `status` says what an alert was answered last."""
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        assert (await running.post("/rollback"))[0] == 200
        assert (await running.post("/restore"))[0] == 200
        assert await running.decision() == ("latched", "latched")
        last = (await running.status())["last"]
        assert (last["alert"], last["decision"], last["reason"]) == ("SevereFeatureDrift", "latched", "latched")
        assert (await running.post("/arm"))[0] == 200
        assert (await running.decision())[0] == "taken"


async def test_disarmed_alerts_move_nothing_over_restarts(tmp_path: Path) -> None:
    """Until somebody arms it."""
    async with rolling(tmp_path) as running:
        assert (await running.post("/disarm", {"reason": "maintenance"}))[0] == 200
    async with rolling(tmp_path) as running:
        running.exporter.columns = SEVERE
        assert await running.decision() == ("refused", "disarmed")
        assert (await running.metrics())['rollback_armed{model="fraud"}'] == 0
        assert (await running.post("/arm"))[0] == 200
        assert (await running.decision())[0] == "taken"


async def test_people_pause_and_restore(tmp_path: Path) -> None:
    """A pause keeps the shares and stops them; what is so already is refused with 409."""
    async with rolling(tmp_path) as running:
        status, answer = await running.post("/pause")
        assert (status, answer["decision"]) == (200, "taken")
        assert "503" in answer["text"]
        active = running.active
        assert active is not None
        assert (active["weights"], active["mode"]) == ({"v2": 1.0}, "paused")
        assert (await running.post("/pause"))[0] == 409
        running.exporter.columns = SEVERE
        assert await running.decision() == ("refused", "paused")
        assert (await running.post("/restore"))[0] == 200
        assert (await running.post("/restore"))[0] == 409
        status, answer = await running.post("/rollback", {"version": "v9"})
        assert (status, answer["reason"]) == (409, "unknown_version")
        status, answer = await running.post("/rollback", {"model": "nobody"})
        assert (status, answer["reason"]) == (409, "unknown_model")


async def test_a_promotion_is_refused_with_its_numbers_and_granted_when_the_evidence_carries_it(tmp_path: Path) -> None:
    """And by force only with a reason."""
    async with rolling(tmp_path) as running:
        running.exporter.changes = {"pairs": pairs(120, ratio=0.3)}
        status, answer = await running.post("/promote")
        assert status == 409
        reasons = {one["rule"]: one for one in answer["reasons"]}
        assert list(reasons) == ["too_few_pairs", "disagreement"]
        assert (reasons["too_few_pairs"]["value"], reasons["too_few_pairs"]["limit"]) == (120, 500)
        assert (await running.post("/promote", {"force": True}))[1]["reason"] == "no_reason"
        assert running.active is None
        running.exporter.changes = {"pairs": pairs(1000, ratio=0.02)}
        status, answer = await running.post("/promote", {"by": "alice"})
        assert (status, answer["text"]) == (200, "v1 serves")
        assert (await running.post("/promote"))[1]["reason"] == "serves_already"
        assert (await running.post("/restore"))[0] == 200
        running.exporter.status = 500
        status, answer = await running.post("/promote", {"force": True, "reason": "v2 leaks memory"})
        assert (status, answer["overridden"][0]["rule"]) == (200, "exporter_away")


async def test_names_reach_prometheus_as_nothing_but_values(tmp_path: Path) -> None:
    """The model's name stands in the queries; nothing of an alert does."""
    async with rolling(tmp_path, on_feature_drift="corroborated") as running:
        running.exporter.columns = (column("amount", 0.9, "severe"),)
        await running.decision(labels={"alertname": "SevereFeatureDrift", "tenant": '"} or vector(1)'})
        assert running.prometheus.queries
        assert all('model="fraud"' in query and "vector" not in query for query in running.prometheus.queries)


async def test_the_exporter_of_the_same_configuration_is_asked_with_its_token(tmp_path: Path) -> None:
    """Unless others are named; of several the one that measures the model counts."""
    (tmp_path / "token").write_text("hush")
    exporter = Exporter()
    exporter.columns = SEVERE
    async with served([web.get("/evidence/{model}", exporter.handle)]) as url:
        parts = {"exporter": {"listen": url.removeprefix("http://"), "token_file": "token"}}
        async with rolling(tmp_path, exporters=[], parts=parts) as running:
            assert (await running.decision())[0] == "taken"
            assert exporter.asked == [("/evidence/fraud", "Bearer hush")]
        async with rolling(tmp_path, exporters=["http://127.0.0.1:1", url]) as running:
            assert (await running.post("/restore"))[0] == 200
            assert (await running.post("/arm"))[0] == 200
            assert (await running.decision(starts=time.time()))[0] == "taken"


async def test_a_second_rollback_of_the_same_state_is_refused(tmp_path: Path) -> None:
    """One alone decides."""
    async with rolling(tmp_path):
        with pytest.raises(Refusal, match="another rollback has"):
            async with rolling(tmp_path):
                pass


async def test_a_journal_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    """It holds the latches: without it an alert might act that must not."""
    folder = tmp_path / "state" / "rollback"
    folder.mkdir(parents=True)
    (folder / "journal.json").write_text("{")
    with pytest.raises(Refusal, match=r"journal\.json cannot be read"):
        async with rolling(tmp_path):
            pass


def test_nothing_listens_beyond_loopback_without_a_token(tmp_path: Path) -> None:
    """The configuration refuses it."""
    with pytest.raises(Refusal, match=r"rollback\.listen must be a loopback address unless token_file is set"):
        configured(tmp_path, listen="0.0.0.0:9109")


async def test_a_persons_commands_are_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Taken or refused, with who ordered it, why, and what came of it."""
    async with rolling(tmp_path) as running:
        with caplog.at_level(logging.INFO, "shadowdrift.rollback"):
            await running.post("/rollback", {"by": "alice", "reason": "ticket 71"})
            await running.post("/rollback", {"model": "x" * 1000})
    lines = [record for record in caplog.records if record.getMessage().startswith("a command")]
    assert [(line.levelname, line.getMessage()) for line in lines] == [
        ("INFO", "a command was taken"), ("INFO", "a command was refused"),
    ]  # fmt: skip
    fields = lines[0].__dict__["fields"]
    assert (fields["command"], fields["model"], fields["by"]) == ("rollback", "fraud", "alice")
    assert fields["because"] == "ticket 71"
    assert fields["text"].startswith("v1 serves; latched")
    assert len(lines[1].__dict__["fields"]["model"]) < 200
