"""Nothing that a shadow does reaches production: a table of everything it might do, under concurrent load."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import proxy.http.pool
from tests.proxy.planes import Plane, document
from tests.support.backend import Backend, answer_bytes, chunked, echo
from tests.support.hostile import Treatment, Visit, connections_to, deaf, hostile
from tests.support.raw_client import connected, request
from tests.support.waiting import until

CLIENTS, REQUESTS, CAP = 6, 6, 5
HEAD = b"HTTP/1.1 200 OK\r\n"
WHOLE = answer_bytes(body=b'{"prediction": 2}')


def once(*pieces: bytes, then: str = "close") -> Treatment:
    """Read the request, send these pieces one after the other, then close, reset, or stay."""

    async def treatment(visit: Visit) -> None:
        await visit.request()
        for piece in pieces:
            await visit.send(piece)
        if then == "reset":
            visit.reset()
        elif then == "stay":
            await visit.gone()

    return treatment


def unasked(*pieces: bytes, then: str = "close") -> Treatment:
    """Do not wait for a request: send at once, then close, reset, or stay and read nothing."""

    async def treatment(visit: Visit) -> None:
        for piece in pieces:
            await visit.send(piece)
        if then == "reset":
            visit.reset()
        elif then == "stay":
            await visit.stay()

    return treatment


def endlessly(start: bytes, more: bytes) -> Treatment:
    """Answer, and never stop."""

    async def treatment(visit: Visit) -> None:
        await visit.request()
        await visit.send(start)
        while True:
            await visit.send(more)

    return treatment


def drop_by_drop(data: bytes) -> Treatment:
    """A byte at a time, slower than any deadline allows."""

    async def treatment(visit: Visit) -> None:
        await visit.request()
        for index in range(len(data)):
            await visit.send(data[index : index + 1])
            await asyncio.sleep(0.05)  # the fault itself: slow

    return treatment


def kept(then: bytes | None) -> Treatment:
    """Answer one request; whenever the next comes on the same connection, or before, something else happens."""

    async def treatment(visit: Visit) -> None:
        await visit.request()
        await visit.send(WHOLE)
        if then is None:
            visit.reset()
        elif then:
            await visit.send(then)
            await visit.stay()

    return treatment


async def half_read(visit: Visit) -> None:
    """Take some of the request, answer it whole, and read no further."""
    await visit.send(WHOLE)
    await visit.stay()


async def moody(visit: Visit) -> None:
    """Something else on each connection, seeded by its number."""
    chance = random.Random(visit.number)
    junk = chance.randbytes(chance.randrange(1, 3000))
    cut = WHOLE[: chance.randrange(len(WHOLE))]
    treatments = [
        once(junk), unasked(junk), once(cut), once(cut + junk, then="stay"), once(then="reset"), unasked(then="reset"),
        unasked(then="stay"), once(WHOLE, WHOLE), once(chunked(junk)), endlessly(HEAD + b"\r\n", junk),
    ]  # fmt: skip
    await chance.choice(treatments)(visit)


FRAMED = HEAD + b"Content-Length: 9\r\n\r\n"
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ANY = {"connect", "timeout", "reset", "truncated", "malformed", "answer_too_large", "completed"}

FAULTS: dict[str, tuple[Treatment | str, set[str]]] = {
    # before an answer
    "dead": ("dead", {"connect"}),
    "accepting nothing": ("deaf", {"timeout", "connect"}),
    "accepting, and no more": (unasked(then="stay"), {"timeout"}),
    "reading, and no more": (once(then="stay"), {"timeout"}),
    "closing at once": (unasked(), {"reset"}),
    "resetting at once": (unasked(then="reset"), {"reset"}),
    "closing when it has read": (once(), {"reset"}),
    "resetting when it has read": (once(then="reset"), {"reset"}),
    # an answer that is none
    "another protocol": (unasked(b"SSH-2.0-OpenSSH_9.2\r\n", then="stay"), {"malformed", "reset"}),
    "another protocol when asked": (
        once(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc", then="stay"),
        {"malformed"},
    ),
    "zeros": (once(bytes(100), then="stay"), {"malformed"}),
    "a version that is none": (once(b"HTTP/9.9 200 OK\r\n\r\n", then="stay"), {"malformed"}),
    "two framings": (once(HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), {"malformed"}),
    "a length that is none": (once(HEAD + b"Content-Length: -5\r\n\r\n", then="stay"), {"malformed"}),
    "a coding that nobody knows": (once(HEAD + b"Transfer-Encoding: zip\r\n\r\nabc", then="stay"), {"malformed"}),
    "a chunk that is none": (once(CHUNKS + b"zz\r\n", then="stay"), {"malformed"}),
    "a head without end": (endlessly(HEAD, b"X: " + b"a" * 4096 + b"\r\n"), {"malformed"}),
    "a header without end": (endlessly(HEAD + b"X: ", b"a" * 4096), {"malformed"}),
    "interim answers without end": (endlessly(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 64), {"malformed", "timeout"}),
    "a chunk's extension without end": (endlessly(CHUNKS + b"5;x=", b"a" * 4096), {"malformed"}),
    "a trailer without end": (endlessly(CHUNKS + b"0\r\nX: ", b"a" * 4096), {"malformed"}),
    # an answer that does not end well
    "mute in its head": (once(HEAD, then="stay"), {"timeout"}),
    "mute in its body": (once(FRAMED, b"abc", then="stay"), {"timeout"}),
    "mute in a chunk": (once(CHUNKS, b"5\r\nab", then="stay"), {"timeout"}),
    "slow": (drop_by_drop(WHOLE), {"timeout"}),
    "cut in its head": (once(HEAD), {"reset"}),
    "cut in its body": (once(FRAMED, b"abc"), {"truncated"}),
    "cut in a chunk": (once(CHUNKS, b"5\r\nab"), {"truncated"}),
    "resetting in its body": (once(FRAMED, b"abc", then="reset"), {"truncated", "reset"}),
    "endless": (endlessly(HEAD + b"\r\n", bytes(65536)), {"answer_too_large"}),
    "endless in chunks": (endlessly(CHUNKS, b"1\r\na\r\n" * 4096), {"answer_too_large", "timeout"}),
    "a large answer": (once(answer_bytes(body=bytes(1024 * 1024 + 1)), then="stay"), {"answer_too_large"}),
    # an answer that is one, and then something else
    "answering unasked": (unasked(WHOLE), {"completed", "reset", "malformed"}),
    "answering, and not reading": (half_read, {"completed", "reset", "malformed", "timeout"}),
    "answering twice": (once(WHOLE + WHOLE, then="stay"), {"completed", "reset"}),
    "closing a kept connection": (kept(b""), {"completed", "reset"}),
    "resetting a kept connection": (kept(None), {"completed", "reset"}),
    "garbage on a kept connection": (kept(b"garbage"), {"completed", "reset", "malformed"}),
    "hanging on a kept connection": (once(WHOLE, then="stay"), {"completed", "timeout"}),
    "an answer up to the end": (once(HEAD + b"\r\nabc"), {"completed"}),
    "errors": (once(answer_bytes(503)), {"completed"}),
    "all of it": (moody, ANY),
}  # fmt: skip


@dataclass
class Run:
    """A plane between production and a shadow that listens at `port`."""

    plane: Plane
    port: int


@asynccontextmanager
async def running(fault: str, production: Backend, folder: Path, after: str) -> AsyncIterator[Run]:
    """Everything is cloned; the breaker keeps out of it."""
    treatment, _ = FAULTS[fault]
    async with AsyncExitStack() as stack:
        if isinstance(treatment, str):
            port = await stack.enter_async_context(deaf())
            if treatment == "dead":
                await stack.aclose()
        else:
            port = (await stack.enter_async_context(hostile(treatment))).port
        mirror = {
            "fraction": 1,
            "after": after,
            "timeout": 0.3,
            "max_in_flight": CAP,
            "breaker": {"calls": 10_000, "failures": 10_000},
        }
        plane = await Plane.start(document(production.url, f"http://127.0.0.1:{port}", mirror=mirror), folder)
        try:
            yield Run(plane, port)
        finally:
            await plane.stop()


async def one_client(plane: Plane, seed: int) -> int:
    """Ask again and again on one connection; every answer is production's, whole. How many there were."""
    chance = random.Random(seed)
    async with connected(plane.port) as client:
        for _ in range(REQUESTS):
            body = chance.randbytes(chance.choice([2, 2000, 150_000]))
            answer = await client.ask(request(body=body, chunks=chance.choice([0, 2])))
            names = [name for name, _ in answer.headers]
            assert (answer.status, answer.body) == (200, body)
            assert sorted(names) == ["content-length", "date", "x-shadowdrift-id"]
    return REQUESTS


# What the shadow does is met in the same code whenever its clone leaves; one fault of each kind shows that it is.
EARLY = (
    "dead",
    "accepting nothing",
    "reading, and no more",
    "resetting when it has read",
    "a chunk that is none",
    "interim answers without end",
    "mute in its body",
    "cut in a chunk",
    "endless",
    "answering, and not reading",
    "closing a kept connection",
    "all of it",
)
CASES = [(fault, "success") for fault in FAULTS] + [(fault, "request") for fault in EARLY]


@pytest.mark.parametrize(("fault", "after"), CASES)
async def test_production_is_as_if_there_were_no_shadow(
    production: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, after: str
) -> None:
    """Every answer is production's, byte for byte; laws and cap hold at every turn; nothing is left open or held."""
    monkeypatch.setattr(proxy.http.pool, "IDLE_SECONDS", 0.1)
    production.script = echo
    async with running(fault, production, tmp_path, after) as run:
        plane = run.plane
        done = asyncio.Event()
        most = 0

        async def look() -> None:
            nonlocal most
            while not done.is_set():
                plane.check_laws()
                most = max(most, plane.number("mirror_in_flight", "fraud"))
                await asyncio.sleep(0)

        looking = asyncio.ensure_future(look())
        answered = sum(await asyncio.gather(*(one_client(plane, seed) for seed in range(CLIENTS))))
        assert connections_to(run.port) <= 2 * CAP
        await until(lambda: plane.number("mirror_in_flight", "fraud") == 0, what="the clones' end")
        done.set()
        await looking
        assert answered == CLIENTS * REQUESTS == plane.number("mirror_sampled_total", "fraud")
        assert 0 < most <= CAP
        assert {reason for _, reason in plane.numbers("mirror_dropped_total")} <= {"max_in_flight", "overload"}
        seen = {reason for _, reason in plane.numbers("mirror_failed_total")}
        seen |= {"completed"} if plane.number("mirror_completed_total", "fraud") else set()
        expected = FAULTS[fault][1]
        assert seen & expected
        assert seen <= expected | {"timeout"}  # on a busy machine, some do not get as far as their fault
        assert plane.number("mirror_held_bytes") == 0
        await until(lambda: connections_to(run.port) == 0, what="the shadow's connections to be closed")
        assert len(await plane.emitter.of_role("production", answered)) == answered
