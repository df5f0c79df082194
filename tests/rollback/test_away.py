"""Why somebody could not be asked, as it stands in the log, in Slack and on a terminal."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack

import aiohttp
import pytest
import trustme
from aiohttp import web

from rollback.away import why
from tests.rollback.stand_ins import served


async def _hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("nobody listens", "connection refused"),
        ("no such host", "name or service not known"),
        ("hangs up", "it closed the connection without an answer"),
        ("not trusted", "unable to get local issuer certificate"),
    ],
)
async def test_why_somebody_cannot_be_asked_is_told_in_words(case: str, words: str) -> None:
    """Neither an errno nor the address, which may be a secret."""
    async with AsyncExitStack() as stack:
        context = None
        if case == "not trusted":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        url = await stack.enter_async_context(served([web.get("/", _hang_up)], ssl=context))
        url = {"nobody listens": "http://127.0.0.1:1", "no such host": "http://rollback.invalid"}.get(case, url)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        with pytest.raises((aiohttp.ClientError, OSError)) as raised:
            await session.get(url)
    said = why(raised.value)
    assert words in said
    assert "Errno" not in said
    assert "127.0.0.1" not in said


def test_a_deadline_and_an_empty_error_have_words_too() -> None:
    """`TimeoutError` alone says nothing."""
    assert why(TimeoutError()) == "no answer in time"
    assert why(aiohttp.ClientError()) == "ClientError"
    assert why(OSError(104, "raw")) == "connection reset by peer"
