"""Clones: which requests are chosen, what the shadow gets, and that nothing it does reaches the client."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import proxy.shadowing.mirror
from proxy.sampling import Sampler, threshold
from tests.proxy.conftest import Serve
from tests.proxy.planes import KEYS, Plane
from tests.support.backend import Backend, Call, answer_bytes, answers, chunked, echo, hang, sends
from tests.support.raw_client import Answer, BrokenOffError, connected, request
from tests.support.waiting import until

ALL: dict[str, Any] = {"fraction": 1}


async def ask(plane: Plane, raw: bytes) -> Answer:
    """One request on a connection of its own."""
    async with connected(plane.port) as client:
        return await client.ask(raw)


def with_id(request_id: str) -> bytes:
    """A request of that id."""
    return request(headers=(f"X-Request-Id: {request_id}",))


# The choice.


@pytest.mark.parametrize(("fraction", "expected"), [(0, 0), (1, 50)])
async def test_none_or_all_are_chosen(serve: Serve, shadow: Backend, fraction: float, expected: int) -> None:
    """The two ends of the scale."""
    plane = await serve(mirror={"fraction": fraction})
    for index in range(50):
        await ask(plane, with_id(str(index)))
    await until(lambda: not plane.number("mirror_in_flight", "fraud"), what="the clones' end")
    assert plane.number("mirror_sampled_total", "fraud") == len(shadow.calls) == expected


async def test_half_of_the_requests_are_chosen_by_their_ids_alone(serve: Serve, shadow: Backend) -> None:
    """The same ones each time, and those that the sampler says."""
    plane = await serve(mirror={"fraction": 0.5})
    ids = [f"r-{index}" for index in range(100)]
    sampler = Sampler(KEYS.derived("sampling"))
    expected = [one for one in ids if sampler.position(one.encode()) < threshold(0.5)]
    assert 30 < len(expected) < 70
    for turn in (1, 2):
        for one in ids:
            await ask(plane, with_id(one))
        await until(lambda: len(shadow.calls) == len(expected) * turn, what="the clones")  # noqa: B023 - ends here
    seen = [(call.header(b"x-request-id") or b"").decode() for call in shadow.calls]
    assert sorted(seen) == sorted(expected * 2)


@pytest.mark.parametrize("status", [199 + 101, 400, 401, 404, 429, 500, 503])
async def test_what_production_did_not_answer_with_success_is_not_cloned(
    serve: Serve, production: Backend, shadow: Backend, status: int
) -> None:
    """What authentication or a rate limit refused never reaches the shadow."""
    plane = await serve(mirror=ALL)
    production.script = answers(status)
    assert (await ask(plane, request())).status == status
    assert plane.numbers("mirror_dropped_total") == {("fraud", "not_success"): 1}
    assert shadow.calls == []


async def test_a_clone_leaves_only_after_production_has_answered(
    serve: Serve, production: Backend, shadow: Backend
) -> None:
    """Until then the request waits, and the gauge says so."""
    plane = await serve(mirror=ALL)
    release = asyncio.Event()

    async def slow(call: Call) -> None:
        await release.wait()
        await call.answer()

    production.script = slow
    async with connected(plane.port) as client:
        await client.send(request())
        await until(lambda: production.calls, what="the request")
        assert plane.number("mirror_waiting", "fraud") == 1
        assert shadow.connections == 0
        release.set()
        assert (await client.answer()).status == 200
        await until(lambda: shadow.calls, what="the clone")
    assert plane.number("mirror_waiting", "fraud") == 0


async def test_only_inferences_are_chosen_counted_and_captured(serve: Serve, shadow: Backend) -> None:
    """Health checks and other paths are forwarded, and no more."""
    plane = await serve(mirror=ALL, inference={"methods": ["POST"], "paths": ["/predict", "/v2/models/*/infer"]})
    raws = [request("GET", "/predict", None), request(path="/other"), request(path="/v2/models/a/b/infer")]
    for raw in [*raws, request(path="/v2/models/a/infer"), request(path="/predict?x=1")]:
        assert (await ask(plane, raw)).status == 200
    captured = await plane.emitter.of_role("production", 2)
    assert [one.path for one in captured] == ["/v2/models/a/infer", "/predict"]
    await until(lambda: len(shadow.calls) == 2, what="the clones")
    assert sum(plane.numbers("inference_requests_total").values()) >= 2


DROPPED: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "a body above the bound": (
        {"mirror": {**ALL, "max_body_bytes": 1000}},
        request(body=bytes(1001)),
        "body_too_large",
    ),
    "a chunked body above it": (
        {"mirror": {**ALL, "max_body_bytes": 1000}},
        request(body=bytes(70_000), chunks=9),
        "body_too_large",
    ),
    "the shadow's own version": ({"mirror": ALL, "shadow": "v2"}, request(), "same_version"),
}


@pytest.mark.parametrize("case", DROPPED)
async def test_what_is_not_cloned_is_counted_with_its_reason(serve: Serve, shadow: Backend, case: str) -> None:
    """The client's answer is the same, and the event says that no clone was sent."""
    sections, raw, reason = DROPPED[case]
    plane = await serve(**sections)
    assert (await ask(plane, raw)).body == b'{"prediction": 1}'
    assert plane.numbers("mirror_dropped_total") == {("fraud", reason): 1}
    [captured] = await plane.emitter.of_role("production")
    assert not captured.sampled
    assert shadow.calls == []


async def test_a_body_at_the_bound_is_cloned_whole(serve: Serve, shadow: Backend) -> None:
    """Never cut."""
    body = random.Random(1).randbytes(1_000_000)
    plane = await serve(mirror={**ALL, "max_body_bytes": 1_000_000})
    await ask(plane, request(body=body, chunks=11))
    await until(lambda: shadow.calls and shadow.calls[0].body_read.is_set(), what="the clone")
    assert shadow.calls[0].body == body


async def test_no_more_clones_are_under_way_than_allowed(serve: Serve, shadow: Backend) -> None:
    """With the shadow hung the rest is dropped, and every client has its answer."""
    plane = await serve(mirror={**ALL, "max_in_flight": 3, "timeout": 30})
    shadow.script = hang
    for _ in range(10):
        assert (await ask(plane, request())).status == 200
    assert plane.number("mirror_in_flight", "fraud") == plane.number("mirror_sent_total", "fraud") == 3
    assert plane.numbers("mirror_dropped_total") == {("fraud", "max_in_flight"): 7}
    captured = await plane.emitter.of_role("production", 10)
    assert [one.sampled for one in captured] == [True] * 3 + [False] * 7


async def test_log_only_writes_the_shadows_event_without_asking_it(serve: Serve, shadow: Backend) -> None:
    """No connection is made."""
    plane = await serve(mirror={**ALL, "mode": "log_only"})
    await ask(plane, request(body=b'{"a": 1}'))
    [captured] = await plane.emitter.of_role("shadow")
    [production] = await plane.emitter.of_role("production")
    assert (captured.outcome, captured.status, captured.latency_seconds, captured.answer) == (
        "log_only",
        None,
        None,
        None,
    )
    assert captured.request == b'{"a": 1}'
    assert captured.id == production.id
    assert not production.sampled
    assert plane.number("mirror_log_only_total", "fraud") == 1
    assert shadow.connections == 0


TRUST = {
    # trusted, header, fraction: cloned
    "forced": (True, ("X-Shadow: true",), 0, True),
    "forced in capitals": (True, ("X-Shadow: TRUE",), 0, True),
    "forbidden": (True, ("X-Shadow: false",), 1, False),
    "a clone already": (True, ("X-Shadowdrift-Clone: 1", "X-Shadow: true"), 1, False),
    "neither": (True, ("X-Shadow: maybe",), 1, True),
    "forced without trust": (False, ("X-Shadow: true",), 0, False),
    "forbidden without trust": (False, ("X-Shadow: false",), 1, True),
    "a clone's mark without trust": (False, ("X-Shadowdrift-Clone: 1",), 1, True),
}


@pytest.mark.parametrize("case", TRUST)
async def test_a_client_decides_only_where_it_is_trusted(
    serve: Serve, production: Backend, shadow: Backend, case: str
) -> None:
    """Production sees no mark, but for a clone's where that is trusted: a proxy behind this one must know it too."""
    trusted, headers, fraction, cloned = TRUST[case]
    plane = await serve(mirror={"fraction": fraction, "trust_header": trusted})
    await ask(plane, request(headers=headers))
    assert plane.number("mirror_sampled_total", "fraud") == cloned
    assert production.calls[0].header(b"x-shadow") is None
    passed_on = b"1" if case == "a clone already" else None
    assert production.calls[0].header(b"x-shadowdrift-clone") == passed_on
    await until(lambda: len(shadow.calls) == cloned, what="the clone")


# What the shadow gets.


async def test_a_clone_carries_the_body_and_no_credentials(serve: Serve, production: Backend, shadow: Backend) -> None:
    """Headers by allow-list; framed by length; marked as a clone, so that it is not cloned again."""
    plane = await serve(mirror={**ALL, "headers": ["X-Model-Hint"]})
    headers = (
        "Authorization: Bearer secret", "Cookie: session=secret", "Proxy-Authorization: secret", "X-Api-Key: secret",
        "X-Forwarded-For: 10.0.0.1", "X-Shadow: false", "Content-Type: application/json", "Content-Encoding: gzip",
        "traceparent: 00-1-2-03", "X-Model-Hint: a", "X-Request-Id: abc", "Connection: X-Gone", "X-Gone: 1",
    )  # fmt: skip
    await ask(plane, request(path="/predict?q=1", headers=headers, body=b"abc", chunks=2))
    await until(lambda: shadow.calls and shadow.calls[0].body_read.is_set(), what="the clone")
    call = shadow.calls[0]
    assert (call.method, call.target, call.body) == (b"POST", b"/predict?q=1", b"abc")
    assert sorted(call.headers) == sorted(
        [
            (b"Host", shadow.url.removeprefix("http://").encode()),
            (b"Content-Type", b"application/json"),
            (b"Content-Encoding", b"gzip"),
            (b"traceparent", b"00-1-2-03"),
            (b"X-Model-Hint", b"a"),
            (b"X-Request-Id", b"abc"),
            (b"X-Shadow", b"true"),
            (b"X-Shadowdrift-Clone", b"1"),
            (b"Content-Length", b"3"),
        ]
    )


async def test_the_shadows_answer_is_recorded_beside_productions(serve: Serve, shadow: Backend) -> None:
    """Same id, own version, role, answer and status."""
    plane = await serve(mirror=ALL)
    shadow.script = sends(chunked(b'{"predic', b'tion": 2}', status=201), then="keep")
    answer = await ask(plane, request(body=b'{"a": 1}'))
    [one] = await plane.emitter.of_role("production")
    [other] = await plane.emitter.of_role("shadow")
    assert one.id == other.id == answer.header("x-shadowdrift-id")
    assert (one.version, one.sampled, one.answer) == ("v2", True, b'{"prediction": 1}')
    assert (other.version, other.status, other.outcome) == ("v1", 201, "ok")
    assert (other.request, other.answer) == (b'{"a": 1}', b'{"prediction": 2}')
    assert plane.number("inference_requests_total", "fraud", "v1", "shadow", "2xx", "ok") == 1


async def test_a_shadow_that_closed_its_kept_connection_is_asked_again(serve: Serve, shadow: Backend) -> None:
    """That is no fault of its."""
    plane = await serve(mirror=ALL)
    await ask(plane, request())
    await plane.reaches(1, "mirror_completed_total", "fraud")
    struck = []

    async def once(call: Call) -> None:
        if not struck:
            struck.append(call)
            await call.reset()
        else:
            await echo(call)

    shadow.script = once
    await ask(plane, request())
    await plane.reaches(2, "mirror_completed_total", "fraud")
    assert plane.numbers("mirror_failed_total") == {}


# What the shadow does.


async def endless(call: Call) -> None:
    """Answer and answer."""
    await call.read_body()
    await call.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await call.send(bytes(65536))


async def unread(call: Call) -> None:
    """Do not read the request's body, nor answer."""
    await asyncio.Event().wait()


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
FAULTS = {
    "hung": (hang, "timeout", "timeout"),
    "slow to read": (unread, "timeout", "timeout"),
    "resetting": (sends(b"", then="reset"), "reset", "error"),
    "closing": (sends(b"", then="close"), "reset", "error"),
    "mute in its answer": (sends(HALF, then="hang"), "timeout", "timeout"),
    "cut in its answer": (sends(HALF), "truncated", "truncated"),
    "resetting in its answer": (sends(HALF, then="reset"), "truncated", "truncated"),
    "endless": (endless, "answer_too_large", "truncated"),
    "not HTTP": (sends(b"garbage\r\n\r\n", then="hang"), "malformed", "error"),
    "two framings": (
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "malformed", "error",
    ),
    "headers without end": (sends(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 400_000, then="hang"), "malformed", "error"),
    "refusing": (None, "connect", "error"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_the_shadow_does_reaches_the_client(serve: Serve, shadow: Backend, fault: str) -> None:
    """Production's bytes and status as ever, the failure counted with its reason, the connection given up."""
    script, reason, outcome = FAULTS[fault]
    plane = await serve(mirror={**ALL, "timeout": 0.3})
    if script is None:
        await shadow.stop()
    else:
        shadow.script = script
    body = bytes(900_000)
    async with connected(plane.port) as client:
        for _ in range(3):
            answer = await client.ask(request(body=body))
            assert (answer.status, answer.body) == (200, b'{"prediction": 1}')
    await plane.reaches(3, "mirror_failed_total", "fraud", reason)
    assert plane.numbers("mirror_failed_total") == {("fraud", reason): 3}
    assert [one.outcome for one in await plane.emitter.of_role("shadow", 3)] == [outcome] * 3
    assert plane.number("mirror_in_flight", "fraud") == 0
    assert plane.number("inference_in_flight", "fraud", "v1", "shadow") == 0


@pytest.mark.parametrize("status", [301, 404, 500, 503])
async def test_a_shadow_that_answers_with_an_error_has_completed(serve: Serve, shadow: Backend, status: int) -> None:
    """It is an answer, and its outcome is an error."""
    plane = await serve(mirror=ALL)
    shadow.script = answers(status)
    await ask(plane, request())
    [captured] = await plane.emitter.of_role("shadow")
    assert (captured.status, captured.outcome) == (status, "error")
    assert plane.number("mirror_completed_total", "fraud") == 1


async def test_a_fault_of_our_own_beside_the_request_does_not_reach_the_client(
    serve: Serve, shadow: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply always wins: even a clone that raises leaves the connection serving."""
    plane = await serve(mirror=ALL)
    plane.plane.loop.set_exception_handler(lambda _, __: None)

    def broken(*_: object) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(proxy.shadowing.mirror.Mirror, "settle", broken)
    monkeypatch.setattr(plane, "check_laws", lambda: None)  # a fault in the middle of counting breaks them
    async with connected(plane.port) as client:
        await client.send(request() * 2)
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
    assert shadow.calls == []


# The laws, under everything at once.


HOSTILE: dict[str, dict[str, Any]] = {
    "by default": {"breaker": {"calls": 10_000, "failures": 10_000}},
    "with all limits": {
        "after": "request",
        "breaker": {"calls": 5, "failures": 4, "open_for": "50ms"},
        "budget": {"requests_per_day": 60},
        "deduplicate": "100ms",
    },
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_the_laws_hold_at_every_turn_of_a_hostile_run(
    serve: Serve, production: Backend, shadow: Backend, case: str
) -> None:
    """Random faults on every side, seeded; looked at between all turns of the loop; at the end nothing is open."""
    chance = random.Random(20)
    plane = await serve(
        mirror={"fraction": 0.7, "timeout": 0.2, "max_in_flight": 6, **HOSTILE[case]},
        target={"timeout": 0.3},
        capture={"fraction": 0.8},
    )
    half = sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", then="reset")
    scripts = [
        echo, echo, echo, answers(500), hang, half, sends(b"", then="close"), sends(b"", then="reset"),
        sends(b"rubbish\r\n\r\n"), sends(chunked(b"a", b"b"), then="keep"), sends(answer_bytes(body=b"x" * 300_000)),
    ]  # fmt: skip

    async def anything(call: Call) -> None:
        await chance.choice(scripts)(call)

    production.script = shadow.script = anything
    looks = 0
    done = asyncio.Event()

    async def look() -> None:
        nonlocal looks
        while not done.is_set():
            plane.check_laws()
            looks += 1
            await asyncio.sleep(0)

    async def visit(seed: int) -> None:
        own = random.Random(seed)
        async with connected(plane.port) as client:
            for _ in range(6):
                raw = request(body=own.randbytes(own.choice([0, 10, 70_000])), chunks=own.choice([0, 3]))
                await client.send(own.choice([raw, raw, raw * 2, raw[: len(raw) // 2], b"rubbish\r\n\r\n"]))
                if own.random() < 0.1:
                    client.reset()
                    return
                try:
                    async with asyncio.timeout(0.5):
                        await client.answer()
                except (BrokenOffError, TimeoutError):
                    return

    looking = asyncio.ensure_future(look())
    for start in range(0, 112, 16):
        await asyncio.gather(*(visit(start + index) for index in range(16)))
    await until(lambda: plane.number("proxy_connections") == 0, what="the clients' end")
    await until(lambda: plane.number("mirror_in_flight", "fraud") == 0, what="the clones' end")
    done.set()
    await looking
    assert looks > 1000
    for family in ("mirror_waiting", "mirror_in_flight", "inference_in_flight", "events_waiting", "mirror_held_bytes"):
        await until(lambda: plane.numbers(family) == {}, what=family)  # noqa: B023 - ends here
    captured = plane.number("events_captured_total", "fraud", "production")
    assert len(await plane.emitter.of_role("production", captured)) == captured > 50
    failed, dropped = plane.numbers("mirror_failed_total"), plane.numbers("mirror_dropped_total")
    assert len({reason for _, reason in {**failed, **dropped}}) >= 4
