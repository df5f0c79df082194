"""What the chain's stages are read from, what must hold of a run, and that what is published follows from it."""

import re
from datetime import datetime
from pathlib import Path

import pytest

from bench.chain.__main__ import MARK, PAGE, RESULT, planned
from bench.chain.observed import decided, first_above_zero, first_sent, message_about
from bench.chain.report import tables, told
from bench.chain.results import STAGES, Decision, Message, Results, Run, Traffic, load, merged, musts, save
from bench.machine import machine
from bench.pages import into

DAY = "2026-11-20T10:00:"
TEN = datetime.fromisoformat(f"{DAY}00Z").timestamp()


def logged(seconds: str, route: str, state: str) -> str:
    """A line of Alertmanager's log, of the level `debug`."""
    group = f'{{}}/{{{route}}}:{{alertname="SevereFeatureDrift", model="flights"}}'.replace('"', '\\"')
    head = f"ts={DAY}{seconds}Z caller=dispatch.go:515 level=debug component=dispatcher"
    return f'{head} aggrGroup="{group}" msg=flushing alerts=[SevereFeatureDrift[f50b04e][{state}]]\n'


LOG = (
    f'ts={DAY}00.000Z level=debug msg="Received alert" alert=SevereFeatureDrift[f50b04e][active]\n'
    + logged("00.500", 'severity="critical"', "active")
    + logged("01.250", 'action="rollback"', "active")
    + logged("09.000", 'action="rollback"', "resolved")
)


def test_alertmanager_s_log_tells_when_an_alert_left_along_a_route() -> None:
    """Not when it came, not along another route, and not its end."""
    route = 'action="rollback"'
    assert first_sent(LOG, "SevereFeatureDrift", route, TEN) == TEN + 1.25
    assert first_sent(LOG, "SevereFeatureDrift", 'severity="critical"', TEN) == TEN + 0.5
    assert first_sent(LOG, "FeatureDrift", route, TEN) is None
    assert first_sent(LOG, "SevereFeatureDrift", route, TEN + 2) is None


def test_a_gauge_is_red_from_its_first_sample_above_nothing() -> None:
    """Of the series that Prometheus gives back, and only since the drift."""
    series = [{"values": [[10, "1"], [15, "0"], [20, "0"]]}, {"values": [[15, "0"], [20.5, "1"], [25, "1"]]}]
    assert first_above_zero(series, 11.0) == 20.5
    assert first_above_zero([], 11.0) is None


def test_a_decision_that_moved_traffic_was_made_when_that_began() -> None:
    """And one that was refused when it was written down."""
    alert = '{"time": "2026-11-20T10:00:02.000+00:00", "what": "alert", "alert": "A", "decision": "%s"}\n'
    begins = '{"time": "2026-11-20T10:00:01.000+00:00", "what": "begins"}\n'
    moved = decided(begins + alert % "taken", "A")
    refused = decided(alert % "refused", "A")
    assert moved is not None
    assert refused is not None
    assert (moved["at"], refused["at"]) == (TEN + 1, TEN + 2)
    assert decided(begins, "A") is None


def test_slack_s_message_about_an_alert_is_not_another_alert_s_nor_its_end() -> None:
    """One name may be another's end."""
    texts = ["CRITICAL: SevereFeatureDrift · flights", "1 of its features\n  amount: PSI 2.1, critical value 0.05\n"]
    messages = [{"texts": ["Resolved: FeatureDrift · flights", ""]}, {"texts": texts}]
    assert message_about(messages, "FeatureDrift") is None
    assert message_about(messages, "SevereFeatureDrift") == (texts[0], "amount: PSI 2.1, critical value 0.05")


def run(kind: str = "severe", rate: float = 100.0, **changed: object) -> Run:
    """One that holds what it must."""
    seconds = dict(zip(STAGES, (4.2, 0.1, 1.2, 4.5, 60.0, 0.1, 0.1, 0.1), strict=True))
    moves = kind == "severe"
    values: dict[str, object] = {
        "kind": kind, "rate": rate, "window": 1000, "deviations": 1.5, "requests": 420, "seconds": seconds,
        "in_all": 70.3 if moves else None, "slack": Message(70.2, "title", "amount: PSI 2.1"),
        "decision": Decision(70.1, *(("taken", "feature_drift") if moves else ("refused", "no_witness")), "text"),
        "stable_asked": 100 if moves else 0, "traffic": Traffic(rate, 9000, 0, 0), "others": 0.1,
    }  # fmt: skip
    return Run(**{**values, **changed})  # type: ignore[arg-type]


SPOILT = {
    "too slow": (run(in_all=90.1), "the stable model answers"),
    "too slow at ten": (run(rate=10.0, in_all=130.1), "the stable model answers"),
    "the client did not keep up": (run(traffic=Traffic(90.0, 9000, 0, 0)), "the rate is kept"),
    "the switch takes long": (run(seconds={**run().seconds, "switch": 1.1}), "the switch takes"),
    "a request failed": (run(traffic=Traffic(100.0, 9000, 1, 0)), "no request failed"),
    "Slack was not told": (run(slack=None), "Slack is told"),
    "Slack was told late": (run("ordinary", slack=Message(325.1, "title", "")), "Slack is told"),
    "it moved without a witness": (run("unwitnessed", stable_asked=1), "nothing moves"),
    "another reason": (run("unwitnessed", decision=Decision(70.1, "refused", "cool_down", "")), "refused for want"),
    "it could not tell": (run("unwitnessed", decision=None), "refused for want"),
}


@pytest.mark.parametrize(("spoilt", "what"), SPOILT.values(), ids=SPOILT)
def test_what_must_hold_can_fail(spoilt: Run, what: str) -> None:
    """That alone."""
    assert [must.what.startswith(what) for must in musts(spoilt) if not must.holds] == [True]
    assert any(line.startswith("  FAILS: ") for line in told(spoilt))


@pytest.mark.parametrize("kind", ["severe", "unwitnessed", "ordinary"])
def test_a_run_as_it_should_be_holds_all(kind: str) -> None:
    """At every rate; how long the switch takes at one request a second is not asked, a window takes minutes."""
    for rate in (10.0, 100.0, 1000.0) if kind == "severe" else (100.0,):
        assert all(must.holds for must in musts(run(kind, rate)))
    slow = [must.what for must in musts(run(rate=1.0, in_all=500.0))]
    assert slow == ["no request failed", "the rate is kept", "the switch takes at most 1 s"]


def test_a_run_takes_a_former_one_s_place_and_leaves_the_others(tmp_path: Path) -> None:
    """Through the file."""
    former = Results(machine(), {}, [run(rate=10.0), run("ordinary")])
    save(former, tmp_path / "chain.json")
    assert load(tmp_path / "chain.json") == former
    found = merged(former, Results(machine(), {}, [run(), run(rate=10.0, requests=1)]))
    assert [(one.kind, one.rate, one.requests) for one in found.runs] == [
        ("severe", 10.0, 1), ("severe", 100.0, 420), ("ordinary", 100.0, 420)
    ]  # fmt: skip
    assert planned([1.0, 10.0], ["severe", "ordinary"]) == [("severe", 1.0), ("severe", 10.0), ("ordinary", 100.0)]


def test_what_is_published_is_what_was_measured() -> None:
    """Each kind of drift, severe drift at four rates, and everything that must hold does."""
    found = load(RESULT)
    assert [(one.kind, one.rate) for one in found.runs] == [
        *(("severe", rate) for rate in (1.0, 10.0, 100.0, 1000.0)), ("unwitnessed", 100.0), ("ordinary", 100.0)
    ]  # fmt: skip
    page = PAGE.read_text()
    assert into(page, MARK, tables(found)) == page
    assert all(must.holds for one in found.runs for must in musts(one))
    for one in found.runs:
        assert one.in_all is None or sum(one.seconds.values()) == pytest.approx(one.in_all, abs=0.02)
        assert one.slack is not None
        assert one.slack.moved_most.startswith("amount: ")
    text = RESULT.read_text()
    assert re.findall(r"""(?<![\w.])/\w+|://|\d+\.\d+\.\d+\.\d+|localhost""", text) == []
