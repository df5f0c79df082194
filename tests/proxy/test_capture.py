"""From worker to emitter: frames that may be cut anywhere, and a worker that drops rather than waits."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.inference import OUTCOMES, Outcome, Role
from proxy.capture import MAX_HELD_BYTES
from proxy.frames import MAX_FRAME_BYTES, Captured, FrameReader, encode_frame, encode_hello
from tests.proxy.conftest import Serve
from tests.proxy.planes import ListeningEmitter, Plane
from tests.support.backend import Backend, answers
from tests.support.raw_client import connected, request
from tests.support.waiting import until

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EXCHANGES = st.builds(
    Captured,
    id=TEXT,
    request_id=TEXT,
    role=st.sampled_from(get_args(Role)),
    model=TEXT,
    version=TEXT,
    tenant=st.none() | TEXT,
    time=st.floats(allow_nan=False),
    latency_seconds=st.none() | st.floats(allow_nan=False),
    status=st.none() | st.integers(100, 599),
    outcome=st.sampled_from(get_args(Outcome)),
    fraction=st.floats(0, 1),
    sampled=st.booleans(),
    request_truncated=st.booleans(),
    answer_truncated=st.booleans(),
    encoded=st.booleans(),
    path=TEXT,
    request=st.binary(max_size=300),
    answer=st.none() | st.binary(max_size=300),
)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.lists(EXCHANGES, max_size=3), max_size=4), st.lists(st.integers(1, 400)))
def test_frames_come_out_as_they_went_in_wherever_they_are_cut(batches: list[list[Captured]], cuts: list[int]) -> None:
    """Byte for byte and in order, with nothing left behind."""
    stream, reader = encode_hello(3) + b"".join(encode_frame(batch) for batch in batches), FrameReader()
    seen: list[list[Captured]] = []
    for cut in [*cuts, len(stream)]:
        seen += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert seen == batches
    assert list(reader.feed(b"")) == []
    assert reader.worker == 3


@pytest.mark.parametrize("stream", [b"\xff\xff\xff\xff", (MAX_FRAME_BYTES + 1).to_bytes(4, "big"), b"\0\0\0\1\xc1"])
def test_a_broken_stream_is_an_error_and_not_a_wait(stream: bytes) -> None:
    """A length that no worker writes, or a body that is no batch."""
    with pytest.raises(ValueError, match=r"."):
        list(FrameReader().feed(stream))


@pytest.mark.parametrize("fraction", [0, 0.3, 1])
async def test_capture_thins_by_the_request_id_and_keeps_what_was_cloned(serve: Serve, fraction: float) -> None:
    """Nested: whoever is among the mirror's is among the captured."""
    plane = await serve(mirror={"fraction": 0.5}, capture={"fraction": fraction})
    async with connected(plane.port) as client:
        for index in range(60):
            await client.ask(request(headers=(f"X-Request-Id: {index}",)))
    count = plane.number("events_captured_total", "fraud", "production")
    captured = await plane.emitter.of_role("production", count)
    sampled = plane.number("mirror_sampled_total", "fraud")
    assert count == (60 if fraction == 1 else sampled)
    assert sum(one.sampled for one in captured) == sampled


@pytest.mark.parametrize("size", [0, 99, 100, 101, 200_000])
async def test_bodies_are_kept_up_to_the_bound_and_say_when_they_were_cut(
    serve: Serve, production: Backend, size: int
) -> None:
    """The client's own bytes are whole all the same."""
    plane = await serve(capture={"max_bytes": 100}, mirror={"fraction": 1})
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    production.script = answers(body=body)
    async with connected(plane.port) as client:
        assert (await client.ask(request(body=body, chunks=3))).body == body
    [one] = await plane.emitter.of_role("production")
    assert (one.request, one.answer) == (body[:100], body[:100])
    assert one.request_truncated == one.answer_truncated == (size > 100)


async def _fill(plane: Plane, lost: str) -> None:
    async with connected(plane.port) as client:
        for _ in range(200):
            await client.ask(request(body=bytes(60_000)))
            if plane.number("events_lost_total", "fraud", "production", lost):
                return


async def test_an_emitter_that_does_not_read_costs_events_and_no_memory(serve: Serve, production: Backend) -> None:
    """At most 4 MiB wait; then the newest are lost with their reason; every request is answered."""
    plane = await serve()
    production.script = answers(body=bytes(60_000))
    plane.emitter.stop_reading()
    await _fill(plane, "backlog")
    lost = plane.number("events_lost_total", "fraud", "production", "backlog")
    assert lost == 1
    held = plane.plane.capture._stream.transport.get_write_buffer_size()  # type: ignore[union-attr]
    assert MAX_HELD_BYTES - 400_000 < held <= MAX_HELD_BYTES
    plane.emitter.go_on_reading()
    captured = plane.number("events_captured_total", "fraud", "production")
    assert len(await plane.emitter.of_role("production", captured - lost)) == captured - lost


async def test_without_an_emitter_events_are_lost_and_requests_are_not(serve: Serve) -> None:
    """Counted, with the reason."""
    plane = await serve()
    plane.emitter.stop()
    await until(lambda: plane.plane.capture._stream is None, what="the emitter's end")
    async with connected(plane.port) as client:
        for _ in range(5):
            assert (await client.ask(request())).status == 200
    assert plane.numbers("events_lost_total") == {("fraud", "production", "emitter_gone"): 5}


async def test_another_emitter_is_taken_when_there_is_one(serve: Serve, tmp_path: Path) -> None:
    """The gauge tells which one, and 0 in between; what came in between is lost, what comes after arrives."""
    plane = await serve()
    assert plane.number("emitter_link") == 1
    plane.emitter.stop()
    await until(lambda: plane.number("emitter_link") == 0, what="the emitter's end")
    async with connected(plane.port) as client:
        await client.ask(request())
        await plane.plane.capture.connect(str(tmp_path / "nobody.sock"), 2)
        assert plane.number("emitter_link") == 0
        second = await ListeningEmitter.start(tmp_path / "e3.sock")
        await plane.plane.capture.connect(str(tmp_path / "e3.sock"), 3)
        assert plane.number("emitter_link") == 3
        answer = await client.ask(request())
        [one] = await second.of_role("production")
        assert one.id == answer.header("x-shadowdrift-id")
    assert plane.numbers("events_lost_total") == {("fraud", "production", "emitter_gone"): 1}
    plane.check_laws()
    second.stop()


async def test_an_older_emitter_never_takes_the_place_of_a_newer(serve: Serve, tmp_path: Path) -> None:
    """Told in whatever order; what waited for the first one goes to the first one, and its stream ends whole."""
    plane = await serve()
    second = await ListeningEmitter.start(tmp_path / "e2.sock")
    async with connected(plane.port) as client:
        await client.ask(request())
        await plane.plane.capture.connect(str(tmp_path / "e2.sock"), 2)
        await plane.plane.capture.connect(str(tmp_path / "e.sock"), 1)
        assert plane.number("emitter_link") == 2
        await plane.emitter.of_role("production")
        await client.ask(request())
        await second.of_role("production")
    assert plane.numbers("events_lost_total") == {}
    assert plane.number("events_handed", "fraud", "production") == 2
    second.stop()


def test_every_outcome_has_a_place() -> None:
    """The frames and the events know the same outcomes."""
    assert get_args(Outcome) == OUTCOMES


async def test_a_worker_that_ends_in_order_shows_its_emitter_to_the_last(serve: Serve) -> None:
    """No emitter would mean that nobody reads what it handed over; one that is just starting still will."""
    plane = await serve()
    async with connected(plane.port) as client:
        assert (await client.ask(request())).status == 200
    await plane.emitter.of_role("production")
    await plane.stop()
    assert plane.number("emitter_link") == 1
