"""A tiny model behind HTTP, in a process of its own (tests/support/told.py): `python -m tests.support.live_model`.

`POST` of a flat JSON object is answered with `{"prediction": …}`. It announces its port; `{"delay": seconds}` makes it
slow, and whatever it is told it answers with how often it was asked, and when at first and at last (`time.time()`);
clones are none of that. On `asyncio.Protocol` with httptools: 40 µs a request, where threads take ten times that.
"""

import argparse
import asyncio
import time
from typing import Any

import httptools
import msgspec
import uvloop

from tests.support.told import hear

LOOKS_AT = ("amount", "country")
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_OF_COUNTRY = {"DE": 0.4, "FR": 0.5, "IT": 0.6}


def predict(row: dict[str, Any], looks_at: str, bias: float = 0.0) -> float:
    """What a model says of a row: it looks at one of the features alone."""
    seen = float(row["amount"]) / 200 if looks_at == "amount" else _OF_COUNTRY[row["country"]]
    return seen + bias


class Model:
    """One version, and what it remembers of who asked."""

    def __init__(self, looks_at: str, bias: float) -> None:
        self._looks_at = looks_at
        self._bias = bias
        self.delay = 0.0
        self.asked: dict[str, Any] = {"count": 0, "first": None, "last": None}

    def answer(self, body: bytes, clone: bool) -> bytes:
        """The whole answer."""
        if not clone:
            now = time.time()
            first = now if self.asked["first"] is None else self.asked["first"]
            self.asked = {"count": self.asked["count"] + 1, "first": first, "last": now}
        made = msgspec.json.encode({"prediction": predict(msgspec.json.decode(body), self._looks_at, self._bias)})
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(made), made)

    async def told(self, what: dict[str, Any]) -> dict[str, Any]:
        """Take a delay, and tell who asked."""
        self.delay = float(what.get("delay", self.delay))
        return self.asked


class _Connection(asyncio.Protocol):
    """One of the proxy's, with one request at a time."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._clone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body, self._clone = b"", False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-shadowdrift-clone":
            self._clone = True

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        # nginx asks the model, too, for what it does not know itself yet: who is active, before the first switch.
        made = self._model.answer(self._body, self._clone) if self._body else _NOT_FOUND
        if self._model.delay:
            asyncio.get_running_loop().call_later(self._model.delay, self._write, made)
        else:
            self._write(made)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(looks_at: str, bias: float) -> None:
    """Until nobody can tell it anything."""
    model = Model(looks_at, bias)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(model), "127.0.0.1", 0, backlog=1024)
    await hear({"port": server.sockets[0].getsockname()[1]}, model.told)


if __name__ == "__main__":
    made = argparse.ArgumentParser(prog="python -m tests.support.live_model")
    made.add_argument("--looks-at", choices=LOOKS_AT, required=True)
    made.add_argument("--bias", type=float, required=True)
    options = made.parse_args()
    uvloop.run(serve(options.looks_at, options.bias))
