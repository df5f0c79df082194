"""Which version a request goes to, and that everything that is told of it follows that version."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.routing.serving import Shares
from proxy.sampling import WHOLE, Sampler
from tests.proxy.conftest import Serve
from tests.proxy.planes import KEYS, Plane
from tests.support.backend import Backend, Call, answers
from tests.support.raw_client import connected, request

IDS = [b"request-%d" % number for number in range(20_000)]


def order(mode: str = "serve", **weights: float) -> dict[str, Any]:
    """What a supervisor tells a worker of the model `fraud`."""
    return {"fraud": {"weights": weights, "mode": mode, "generation": 1}}


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    weights=st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), min_size=1).filter(
        lambda weights: sum(weights.values()) > 0.01
    ),
    positions=st.lists(st.integers(0, WHOLE - 1), min_size=1),
)
def test_every_request_has_a_version_with_weight(weights: dict[str, float], positions: list[int]) -> None:
    """Wherever it stands, and however the weights round."""
    shares = Shares(weights)
    for position in [*positions, 0, WHOLE - 1]:
        assert weights[shares.version(position)] > 0


def test_the_shares_are_the_weights() -> None:
    """Of 20,000 request ids, each version has its share to within a percent."""
    shares, router = Shares({"v1": 0.6, "v2": 0.3, "v3": 0.1}), Sampler(KEYS.derived("routing"))
    chosen = [shares.version(router.position(request_id)) for request_id in IDS]
    for version, weight in (("v1", 0.6), ("v2", 0.3), ("v3", 0.1)):
        assert chosen.count(version) / len(IDS) == pytest.approx(weight, abs=0.01)


def test_a_growing_canary_keeps_whom_it_had() -> None:
    """At 10 % it serves those of 5 % and others; nobody goes back and forth."""
    router = Sampler(KEYS.derived("routing"))
    few, more = Shares({"v2": 0.95, "v3": 0.05}), Shares({"v2": 0.9, "v3": 0.1})
    of_few = {one for one in IDS if few.version(router.position(one)) == "v3"}
    of_more = {one for one in IDS if more.version(router.position(one)) == "v3"}
    assert of_few < of_more


def test_routing_is_independent_of_sampling() -> None:
    """Among the 5 % that are cloned, a canary has its share too: with one key for both it would have none, or all."""
    router, sampler = Sampler(KEYS.derived("routing")), Sampler(KEYS.derived("sampling"))
    shares = Shares({"v2": 0.5, "v3": 0.5})
    cloned = [one for one in IDS if sampler.position(one) < WHOLE // 20]
    canary = [one for one in cloned if shares.version(router.position(one)) == "v3"]
    assert len(canary) / len(cloned) == pytest.approx(0.5, abs=0.06)


async def ask(plane: Plane, *ids: str) -> list[bytes]:
    """The answers to requests with these ids."""
    async with connected(plane.port) as client:
        return [(await client.ask(request(headers=(f"X-Request-Id: {one}",)))).body for one in ids]


async def test_a_canary_is_counted_and_recorded_by_the_version_that_answered(serve: Serve) -> None:
    """Two versions with half of the requests each; a request id comes back to its version."""
    plane = await serve()
    plane.plane.plans.apply(order(v2=0.5, v1=0.5))
    ids = [f"r{number}" for number in range(60)]
    first, second = await ask(plane, *ids), await ask(plane, *ids)
    assert first == second
    of_v1 = first.count(b'{"prediction": 2}')
    assert 10 < of_v1 < 50
    captured = await plane.emitter.of_role("production", 120)
    for one in captured:
        assert one.version == ("v1" if b"2" in (one.answer or b"") else "v2")
    for version, count in (("v1", 2 * of_v1), ("v2", 2 * (60 - of_v1))):
        labels = ("fraud", version, "production")
        assert plane.number("inference_requests_total", *labels, "2xx", "ok") == count
        assert plane.number("inference_in_flight", *labels) == 0


async def test_a_clone_is_dropped_where_the_shadow_itself_served(serve: Serve, shadow: Backend) -> None:
    """The others are cloned: each exchange is judged by the version that answered it."""
    plane = await serve(mirror={"fraction": 1})
    plane.plane.plans.apply(order(v2=0.5, v1=0.5))
    served = (await ask(plane, *(f"r{number}" for number in range(40)))).count(b'{"prediction": 2}')
    assert 0 < served < 40
    assert plane.number("mirror_dropped_total", "fraud", "same_version") == served
    await plane.reaches(40 - served, "mirror_completed_total", "fraud")
    assert len(shadow.calls) == 40


async def test_a_switch_leaves_what_is_under_way_where_it_is(
    serve: Serve, production: Backend, shadow: Backend
) -> None:
    """The former version answers what it has; the next request goes to the new one."""
    plane = await serve()

    async def switching(call: Call) -> None:
        plane.plane.plans.apply(order(v1=1.0))
        await call.answer(200, b"former")

    production.script = switching
    shadow.script = answers(body=b"new")
    assert await ask(plane, "a", "b") == [b"former", b"new"]
    assert plane.number("inference_requests_total", "fraud", "v2", "production", "2xx", "ok") == 1
    assert plane.number("inference_requests_total", "fraud", "v1", "production", "2xx", "ok") == 1


async def test_the_timeout_is_the_serving_versions(serve: Serve) -> None:
    """Production would be waited for longer than this test; the version that took over is not."""
    plane = await serve(target={"timeout": 3000})
    plan = plane.plane.plans.all[0]
    plane.plane.plans.apply(order(v1=1.0))
    assert plan.route(b"a").timeout == 30
    plane.plane.plans.apply(order(v2=1.0))
    assert plan.route(b"a").timeout == 3000


async def test_what_is_only_forwarded_follows_the_switch_too(serve: Serve, shadow: Backend) -> None:
    """A GET is no inference, and goes where the model is served."""
    plane = await serve()
    plane.plane.plans.apply(order(v1=1.0))
    async with connected(plane.port) as client:
        assert (await client.ask(request("GET", "/health", body=None))).status == 200
    assert [call.target for call in shadow.calls] == [b"/health"]


async def test_a_paused_model_answers_503_and_forwards_the_rest(serve: Serve, production: Backend) -> None:
    """Nobody is asked for an inference; health checks go on; on with it when the pause ends."""
    plane = await serve(mirror={"fraction": 1})
    plane.plane.plans.apply(order("paused", v2=1.0))
    async with connected(plane.port) as client:
        answer = await client.ask(request())
    assert (answer.status, answer.body) == (503, b'{"error": "the model is paused"}\n')
    assert production.calls == []
    async with connected(plane.port) as client:
        assert (await client.ask(request("GET", "/health", body=None))).status == 200
    plane.plane.plans.apply(order(v2=1.0))
    assert await ask(plane, "a") == [b'{"prediction": 1}']
    assert plane.numbers("proxy_refused_total") == {("paused",): 1}
    assert plane.number("inference_requests_total", "fraud", "v2", "production", "5xx", "error") == 1
    assert plane.number("mirror_dropped_total", "fraud", "not_success") == 1
