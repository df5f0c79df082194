"""Latency and errors without a Prometheus: differences of looks at the proxies' counters."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from rollback.looks import Look, Looks, Series, counts_of
from rollback.tally import quantile
from tests.rollback.stand_ins import rolling, served
from tests.support.waiting import until


def exposition(requests: float, failed: float = 0.0, slow: float = 0.0, version: str = "v2") -> str:
    """A proxy's counters of one version in production: `slow` of the answers took between 0.1 and 0.5 s."""
    of = f'model="fraud",version="{version}",role="production"'
    return (
        "# TYPE inference_requests_total counter\n"
        f'inference_requests_total{{{of},status="2xx",outcome="ok"}} {requests - failed}\n'
        f'inference_requests_total{{{of},status="5xx",outcome="error"}} {failed}\n'
        f'inference_requests_total{{{of},status="4xx",outcome="client_closed"}} 7\n'
        "# TYPE inference_latency_seconds histogram\n"
        f'inference_latency_seconds_bucket{{{of},le="0.1"}} {requests - slow}\n'
        f'inference_latency_seconds_bucket{{{of},le="0.5"}} {requests}\n'
        f'inference_latency_seconds_bucket{{{of},le="+Inf"}} {requests}\n'
        "# TYPE events_captured_total counter\nevents_captured_total 12\n"
    )


def looked(*texts: str, over: float = 60.0) -> Looks:
    """Looks at one proxy, ten seconds apart."""
    looks = Looks(over)
    for place, text in enumerate(texts):
        looks.note("proxy", Look(10.0 * place, counts_of(text)))
    return looks


def test_what_came_is_the_difference_of_two_looks() -> None:
    """Of requests, errors and latencies; what says nothing of the version is left out."""
    traffic = looked(exposition(1000), exposition(1100, failed=5, slow=20)).traffic("fraud", 10.0)
    assert traffic is not None
    (found,) = traffic.values()
    assert (found.requests, found.failed) == (100, 5)
    assert found.error_ratio == 0.05
    assert found.p95 == pytest.approx(0.1 + 0.4 * 15 / 20)


def test_one_look_knows_nothing_and_an_old_one_no_more() -> None:
    """None is not zero."""
    assert looked(exposition(10)).traffic("fraud", 0.0) is None
    assert looked(exposition(10), exposition(20)).traffic("fraud", 71.0) is None
    assert Looks(60.0).traffic("fraud", 0.0) is None


def test_of_a_proxy_that_has_fallen_silent_only_what_is_young_enough_counts() -> None:
    """Else an alert would be confirmed by what was slow nearly two windows ago."""
    slow, calm = exposition(1000, slow=1000), exposition(1030, slow=1000)
    looks = looked(exposition(0), *[slow] * 5, calm)  # 30 quick ones come last, at 60 s
    traffic = looks.traffic("fraud", 100.0)
    assert traffic is not None
    assert traffic["production", "v2"].requests == 30
    assert traffic["production", "v2"].p95 == pytest.approx(0.095)
    assert Looks(1.0).every == 0.25, "so that two are young enough at any time"
    assert looks.traffic("fraud", 115.0) is None


def test_a_proxy_that_began_anew_is_counted_from_nothing() -> None:
    """As Prometheus does."""
    traffic = looked(exposition(1000), exposition(1010), exposition(4)).traffic("fraud", 20.0)
    assert traffic is not None
    assert traffic["production", "v2"].requests == 14


def test_only_the_last_while_counts_and_proxies_add_up() -> None:
    """A look that is older than `over` is forgotten; a version that is new counts from nothing."""
    looks = looked(*(exposition(100.0 * count) for count in range(20)), over=50.0)
    looks.note("other", Look(185.0, {}))
    looks.note("other", Look(190.0, counts_of(exposition(3, version="v3"))))
    traffic = looks.traffic("fraud", 190.0)
    assert traffic is not None
    assert traffic["production", "v2"].requests == 500
    assert traffic["production", "v3"].requests == 3
    assert looks.traffic("another", 190.0) == {}


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=8, unique=True), st.data())
def test_a_quantile_lies_in_the_bucket_that_holds_it(bounds: list[float], data: st.DataObject) -> None:
    """Between the bound below and the bucket's own; it never falls as the share rises."""
    bounds = sorted(bounds)
    counts = data.draw(st.lists(st.integers(0, 50), min_size=len(bounds), max_size=len(bounds)))
    below = [sum(counts[: place + 1]) for place in range(len(counts))]
    buckets = {**dict(zip(bounds, map(float, below), strict=True)), math.inf: float(below[-1])}
    found = [quantile(share, buckets) for share in (0.1, 0.5, 0.95)]
    if not below[-1]:
        assert all(math.isnan(value) for value in found)
        return
    assert found == sorted(found)
    assert found[0] >= 0
    assert found[-1] <= bounds[-1]


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    """Nobody knows how much slower it was."""
    assert quantile(0.95, {0.1: 10.0, 0.5: 20.0, math.inf: 100.0}) == 0.5
    assert math.isnan(quantile(0.95, {}))


async def test_without_prometheus_a_promotion_is_judged_by_the_proxies_counters(tmp_path: Path) -> None:
    """Once they were looked at twice: by requests, here too few of them, and not by a Prometheus that is away."""
    asked = 0

    async def metrics(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(text=exposition(1000.0 + asked))

    async with served([web.get("/metrics", metrics)]) as proxy:
        settings = {"prometheus": None, "proxies": [proxy], "evidence": {"over": 4}}
        async with rolling(tmp_path, **settings) as running:

            async def rules() -> dict[str, str]:
                _, answer = await running.post("/promote")
                return {reason["rule"]: reason["text"] for reason in answer["reasons"]}

            async def judged() -> dict[str, str]:
                found = await rules()
                return {} if "prometheus_away" in found else found

            found = await until(judged, 20, "two looks")
            assert "requests to production in 4 s, 20 are needed" in found["too_few_requests"]
            assert await running.decision("BusinessMetric") == ("inconclusive", "prometheus_away")


async def test_a_fault_in_looking_is_told_and_looking_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else nothing would be decided by the proxies any more, and nobody would know why."""
    looked_at = 0

    def faulty(text: str) -> dict[Series, float]:
        nonlocal looked_at
        looked_at += 1
        if looked_at == 1:
            raise KeyError("a fault")
        return counts_of(text)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=exposition(1000.0))

    monkeypatch.setattr("rollback.asking.counts_of", faulty)
    async with (
        served([web.get("/metrics", metrics)]) as proxy,
        rolling(tmp_path, prometheus=None, proxies=[proxy], evidence={"over": 4}),
    ):
        await until(lambda: looked_at > 2, 20, "it looks again")
    assert "failed by a fault" in caplog.text
