"""What people are told: once, in words that act on nothing, and without anybody waiting for it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from aiohttp import web

from rollback.notices import Notice, annotation, message
from tests.rollback.making import SEVERE
from tests.rollback.stand_ins import Receiver, rolling, served
from tests.support.slack import stand_in_slack
from tests.support.waiting import until

HOSTILE = "<!channel> & <script>alert(1)</script>\n<http://evil.example|click>"


async def test_a_decision_is_an_annotation_and_a_message_and_a_repetition_is_neither(tmp_path: Path) -> None:
    """Taken or refused; the token goes to Grafana, and Slack's address stands nowhere."""
    grafana = Receiver()
    (tmp_path / "grafana").write_text("grafana-token\n")
    async with (
        stand_in_slack() as slack,
        served([web.post("/api/annotations", grafana.handle)]) as url,
    ):
        (tmp_path / "slack").write_text(f"{slack.webhook}\n")
        settings = {"grafana": {"url": url, "token_file": "grafana"}, "slack": {"webhook_file": "slack"}}
        async with rolling(tmp_path, **settings) as running:
            for _ in range(3):
                assert await running.decision() == ("refused", "not_confirmed")
            running.exporter.columns = SEVERE
            assert (await running.decision())[0] == "taken"
            assert await running.decision(status="resolved") == ("refused", "resolved")
            assert (await running.post("/restore", {"by": "alice", "reason": "all is well"}))[0] == 200
            await until(lambda: len(grafana.calls) >= 3, what="three annotations")
        assert [body["tags"] for _, _, _, body in grafana.calls] == [
            ["shadowdrift", "rollback", "fraud", word] for word in ("refused", "taken", "taken")
        ]
        assert {headers["Authorization"] for _, _, headers, _ in grafana.calls} == {"Bearer grafana-token"}
        assert abs(grafana.calls[0][3]["time"] / 1000 - time.time()) < 60
        messages = await slack.messages()
        assert len(messages) == 3
        assert messages[0]["texts"][1] == "Rollback of fraud: refused, nothing has moved (not confirmed)"
        assert messages[1]["texts"][1] == "Rollback of fraud: taken (feature drift)"
        assert "v2 goes to v1" in messages[1]["texts"][0], "what a telephone shows says it as well"
        assert messages[2]["texts"][1] == "fraud: restore done"
        assert "alice" in json.dumps(messages[2])
        for path in (tmp_path / "state").rglob("*"):
            assert not path.is_file() or "secret" not in path.read_text()


async def test_a_slack_that_is_away_holds_nothing_up(tmp_path: Path) -> None:
    """Decisions are answered; what is not taken is counted when the service ends."""
    (tmp_path / "slack").write_text("http://127.0.0.1:1/services/secret\n")
    async with rolling(tmp_path, slack={"webhook_file": "slack"}) as running:
        running.exporter.columns = SEVERE
        assert (await running.decision())[0] == "taken"


async def test_a_receiver_that_refuses_is_counted(tmp_path: Path) -> None:
    """A 404 is final: it is not tried again."""
    receiver = Receiver(status=404)
    async with served([web.post("/hook", receiver.handle)]) as url:
        (tmp_path / "slack").write_text(f"{url}/hook\n")
        async with rolling(tmp_path, slack={"webhook_file": "slack"}) as running:
            assert (await running.post("/rollback"))[0] == 200

            async def failed() -> bool:
                return (await running.metrics()).get('rollback_notices_total{result="failed",to="slack"}') == 1

            await until(failed, what="the failure is counted")
    assert len(receiver.calls) == 1


def test_a_command_that_was_not_done_says_so_first() -> None:
    """It is no rollback, and what it was and why not fit into a telephone's line."""
    notice = Notice("fraud", "refused", "too_few_pairs", "promote: 12 pairs, 1000 are needed", "alice", 1.0, "promote")
    assert message(notice)["text"].startswith("fraud: promote refused (too few pairs): ")


def test_nothing_in_a_notice_acts() -> None:
    """Names and reasons come from outside: they call nobody, run nothing, and stay on one line."""
    notice = Notice("fraud", "refused", "not_confirmed", HOSTILE, HOSTILE, 1.0)
    text = annotation(notice)["text"]
    assert "<" not in text
    assert ">" not in text
    assert "\n" not in text
    made = message(notice)
    assert "<" not in made["text"]
    assert all(block["text"]["type"] == "plain_text" for block in made["blocks"])
    assert all("\n" not in block["text"]["text"] for block in made["blocks"])
