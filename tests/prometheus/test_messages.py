"""From gauges to messages, through a real Prometheus and a real Alertmanager: a played exporter, all of our rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.prometheus.cases import CASES, Series
from tests.support import alertmanager, prometheus
from tests.support.alertmanager import Alertmanager
from tests.support.played import Played, Sample
from tests.support.prometheus import Prometheus
from tests.support.required import require
from tests.support.slack import Slack, stand_in_slack
from tests.support.waiting import until

HOSTILE = 'x"} or vector(1) or y{z="<!channel> & {{ .Labels }}\nnext line'


@pytest.fixture(autouse=True)
def real() -> None:
    """The real parts."""
    require("Prometheus", prometheus.missing())
    require("Alertmanager", alertmanager.missing())


class Growing:
    """A world whose counters grow: ten of its seconds pass in each of ours."""

    def __init__(self, *parts: Played) -> None:
        self.gauges: list[Sample] = []
        self.rates: list[Sample] = []
        self._parts = parts
        self._time = 0

    async def run(self) -> None:
        """Show it anew every fifth of a second."""
        while True:
            self.show()
            await asyncio.sleep(0.2)

    def show(self) -> None:
        """As it is now."""
        self._time += 2
        grown = [(name, labels, value * self._time) for name, labels, value in self.rates]
        for part in self._parts:
            part.show([*self.gauges, *grown])


@contextlib.asynccontextmanager
async def chain(folder: Path, speed: float) -> AsyncIterator[tuple[Growing, Prometheus, Slack]]:
    """Played part, Prometheus, Alertmanager and Slack."""
    async with stand_in_slack() as slack:
        with Played() as part, Alertmanager(alertmanager.adapted(folder, slack.webhook)) as alerts:
            world = Growing(part)
            world.show()
            growing = asyncio.create_task(world.run())
            targets = {"exporter": part.address, "proxy": part.address}
            configuration = prometheus.adapted(
                folder, targets, alertmanager=alerts.address, speed=speed, interval="500ms"
            )
            try:
                with Prometheus(configuration) as server:
                    yield world, server, slack
            finally:
                growing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await growing


def drifting(features: int, tenants: int, level: str) -> Iterator[Sample]:
    """A model that so many features of so many tenants have moved in, to a level and those below it."""
    levels = ("moderate", "large", "severe")
    reached = levels[: levels.index(level) + 1] if level else ()
    psi = {"": 0.01, "moderate": 0.15, "large": 0.3, "severe": 0.9}[level]
    model = {"model": "fraud"}
    for tenant in ("_all", *(f"t{number}" for number in range(tenants))):
        named = {**model, "tenant": tenant}
        yield "drift_window_instances", {**named, "role": "production"}, 1000
        yield "drift_window_warming", {**named, "role": "production"}, 0
        for one in levels:
            drifted = {**named, "against": "reference", "level": one}
            yield "drift_features_drifted", drifted, features + 1 if one in reached else 0
            yield "drift_psi_threshold", {**named, "level": one}, {"moderate": 0.1, "large": 0.2, "severe": 0.35}[one]
            yield "drift_feature_drifted", {**drifted, "feature": "prediction"}, float(one in reached)
        for number in range(features):
            column = {**named, "against": "reference", "feature": HOSTILE if number == 7 else f"f{number}"}
            yield "drift_psi", column, psi + 0.001 * number
            yield "drift_psi_critical", column, 0.054
        share = {**named, "role": "production", "feature": "f1"}
        yield "drift_feature_out_of_range_ratio", share, 0.4 if reached else 0.0
    yield "drift_tenants_drifted", model, tenants if "large" in reached else 0


PRODUCTION = {"model": "fraud", "version": "v2", "role": "production", "status": "2xx", "outcome": "ok"}


@pytest.mark.parametrize(
    ("level", "alert"), [("severe", "CRITICAL: SevereFeatureDrift · fraud"), ("large", "TenantsDrifted · fraud")]
)
async def test_a_fault_that_moves_200_features_in_20_tenants_is_one_message_and_one_end(
    level: str, alert: str, tmp_path: Path
) -> None:
    """While it lasts and after it, for as long as every alert that there is would have taken to speak."""
    async with chain(tmp_path, 120.0) as (world, server, slack):
        world.rates = [("inference_requests_total", PRODUCTION, 100)]
        world.gauges = [*drifting(200, 20, "")]
        await until(lambda: server.query("model:drift_window_instances:judged"), 30, "a window that counts")
        assert await slack.messages() == []

        world.gauges = [*drifting(200, 20, level)]
        await until(lambda: _count(slack, 1), 60, "a message")
        # The slowest that could tell the same again, OutOfDistribution, takes ten minutes: five seconds here.
        expected = {"TenantsDrifted"} if level == "large" else {"TenantsDrifted", "SevereFeatureDrift"}
        await until(lambda: expected <= _firing(server), 60, "every alert of it")
        await _later(server, 7)
        (message,) = await slack.messages()
        title, text = message["texts"][0], message["texts"][1]
        assert title == alert
        assert message["mentions"] == []
        assert "f199: PSI" in text
        assert "critical value 0.054" in text
        assert "window of 1000 instances" in text

        world.gauges = [*drifting(200, 20, "")]
        await until(lambda: _count(slack, 2), 90, "its end")
        await until(lambda: _firing(server) <= {"Watchdog"}, 60, "the end of every alert")
        await _later(server, 4)
        _, over = await slack.messages()
        assert over["texts"][0] == f"Resolved: {alert.removeprefix('CRITICAL: ')}"


async def test_a_feature_named_to_inject_changes_nothing(tmp_path: Path) -> None:
    """It is shown as it is, on its line, with its own numbers."""
    async with chain(tmp_path, 300.0) as (world, server, slack):
        world.rates = [("inference_requests_total", PRODUCTION, 100)]
        world.gauges = [*drifting(9, 0, "severe")]
        message = (await until(lambda: _count(slack, 1), 60, "a message"))[0]
        assert server.value('count(count by (feature) (drift_psi{tenant="_all"}))') == 9
    lines = message["texts"][1].splitlines()
    assert "   " + HOSTILE.replace("\n", "\\n") + ": PSI 0.907, critical value 0.054" in lines
    assert len(lines) == 8  # the summary, five columns, the window, since when
    assert message["mentions"] == []


async def test_every_alerts_texts_are_whole(tmp_path: Path) -> None:
    """All of them fire at once: no text lacks a number, and none shows a template's failure."""
    require("Prometheus", prometheus.missing())
    with contextlib.ExitStack() as stack:
        parts = {name: stack.enter_context(Played()) for name in ("exporter", "proxy", "rollback")}
        world = Growing(*parts.values())
        # One model for each case, or what silences one alert would silence another's.
        for case in CASES:
            for series in case.series:
                if series.name != "up":
                    sample = _bad(series, f"{case.alert}-model")
                    (world.rates if series.counts else world.gauges).append(sample)
        world.show()
        growing = asyncio.create_task(world.run())
        targets = {name: part.address for name, part in parts.items()}
        try:
            with Prometheus(prometheus.adapted(tmp_path, targets, speed=3600.0, interval="500ms")) as server:
                wanted = {case.alert for case in CASES if "up" not in {series.name for series in case.series}}
                await until(lambda: wanted <= _firing(server), 90, f"all of {sorted(wanted)}")
                alerts = [alert for alert in server.alerts() if alert["state"] == "firing"]
        finally:
            growing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await growing
    for alert in alerts:
        for name, text in alert["annotations"].items():
            assert not _broken(text), (alert["labels"]["alertname"], name, text)
        assert not alert["annotations"]["summary"].endswith((" ", ":"))


def _broken(text: str) -> bool:
    return not text.strip() or "<error" in text or "no value" in text or "NaN" in text or "%!" in text


def _bad(series: Series, model: str) -> Sample:
    labels = {name: value for name, value in series.labels.items() if name != "job"}
    return series.name, {**labels, **({"model": model} if "model" in labels else {})}, series.bad


def _firing(server: Prometheus) -> set[str]:
    return {alert["labels"]["alertname"] for alert in server.alerts() if alert["state"] == "firing"}


async def _later(server: Prometheus, seconds: float) -> None:
    """Wait until Prometheus has evaluated for so long: its clock, not the test's patience."""
    began = server.value("vector(time())")
    await until(lambda: server.value("vector(time())") > began + seconds, seconds + 60, "some evaluations more")


async def _count(slack: Slack, count: int) -> list[dict[str, Any]] | None:
    messages = await slack.messages()
    return messages if len(messages) >= count else None
