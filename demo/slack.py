"""A stand-in for Slack's incoming webhooks: `python -m demo.slack --listen 127.0.0.1:8065`.

`POST` to any path takes a message as Slack does, as JSON or as a form with the JSON in `payload`, and answers `ok`;
what Slack would refuse is refused with Slack's word for it. `GET /` is a page with the last 200 messages,
`GET /messages` the same as JSON: `received`, `path`, `payload`, `texts` (what a reader sees) and `mentions` (whom it
would have called).

It shows what arrived to whoever can reach it, so it listens on loopback unless told otherwise. It announces
`{"slack": "http://127.0.0.1:8065"}` to its parent and ends with it, on SIGTERM and on SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiohttp import web

from demo.listening import listening
from demo.slack_markup import mentions, shown
from demo.slack_page import calls_by_name, page
from lifecycle.process import run
from lifecycle.tether import Tether

KEPT: Final = 200
_LARGEST: Final = 1024 * 1024
_TEXTS: Final = frozenset({"text", "pretext", "title", "value", "footer", "fallback"})
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class RefusedError(Exception):
    """Slack would not take it; the text is Slack's word for why."""


class Slack:
    """The messages that arrived, the oldest first. `now` tells the time."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._messages: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def application(self) -> web.Application:
        """The service as an aiohttp application."""
        application = web.Application(client_max_size=_LARGEST)
        application.router.add_get("/", self.show)
        application.router.add_get("/messages", self.messages)
        application.router.add_get("/-/healthy", self.healthy)
        application.router.add_post("/{path:.*}", self.take)
        return application

    async def take(self, request: web.Request) -> web.Response:
        """Take a message."""
        try:
            payload = _checked(await _read(request))
        except RefusedError as refused:
            return web.Response(text=str(refused), status=400)
        self._messages.append(
            {
                "received": self._now().strftime("%Y-%m-%d %H:%M:%S UTC"),
                "path": request.path,
                "payload": payload,
                "texts": [shown(text, link_names=calls_by_name(payload)) for text in _texts(payload)],
                "mentions": [
                    who for text in _texts(payload) for who in mentions(text, link_names=calls_by_name(payload))
                ],
            }
        )
        return web.Response(text="ok")

    async def show(self, _: web.Request) -> web.Response:
        """The page."""
        return web.Response(text=page(list(self._messages)), content_type="text/html", headers=_PAGE_HEADERS)

    async def messages(self, _: web.Request) -> web.Response:
        """What arrived, as JSON."""
        return web.Response(body=msgspec.json.encode(list(self._messages)) + b"\n", content_type="application/json")

    async def healthy(self, _: web.Request) -> web.Response:
        """Alive."""
        return web.Response(text="ok\n")


async def _read(request: web.Request) -> object:
    """The payload, as JSON or in a form."""
    try:
        body: str | bytes = await request.read()
        if request.content_type == "application/x-www-form-urlencoded":
            field = (await request.post()).get("payload", "")
            body = field if isinstance(field, str) else b""
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError):
        raise RefusedError("invalid_payload") from None


def _checked(payload: object) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise RefusedError("invalid_payload")
    if not any(payload.get(part) for part in ("text", "blocks", "attachments")):
        raise RefusedError("no_text")
    return payload


def _texts(value: object) -> Iterator[str]:
    """Every text that Slack would show or announce, wherever it stands in a payload."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _TEXTS and isinstance(inner, str):
                yield inner
            else:
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.slack", description="A stand-in for Slack's webhooks.")
    parser.add_argument("--listen", default="127.0.0.1:8065", metavar="HOST:PORT", help="%(default)s; port 0: any")
    listen = parser.parse_args(arguments).listen

    async def serve(tether: Tether, stop: asyncio.Event) -> None:
        await _serve(listen, tether, stop)

    return run(serve)


async def _serve(listen: str, tether: Tether, stop: asyncio.Event) -> None:
    """Listen, say so, and serve until told to stop. Raises `Refusal` for an address that cannot be had."""
    async with listening(Slack().application(), listen) as url:
        sys.stderr.write(f"shadowdrift: stand-in Slack listens at {url}\n")
        tether.announce({"slack": url})
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
