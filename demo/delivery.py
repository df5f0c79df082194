"""Alertmanager's webhook (version 4), as far as the demo's receivers read it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from aiohttp import web


class Alert(msgspec.Struct, frozen=True, rename="camel"):
    """What counts of an alert."""

    labels: dict[str, str]
    starts_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """When it began to fire, with its zone."""


class Delivery(msgspec.Struct, frozen=True):
    """A call of Alertmanager's, as far as it counts here."""

    status: str
    alerts: tuple[Alert, ...]


_decoder: Final = msgspec.json.Decoder(Delivery)


async def delivered(request: web.Request) -> Delivery:
    """The delivery in a request's body; 400 for what is none."""
    try:
        return _decoder.decode(await request.read())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise web.HTTPBadRequest(text="not a webhook of Alertmanager's\n") from None
