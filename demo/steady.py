"""Steady traffic for the stack: `python -m demo.steady --url http://nginx/predict --listen 0.0.0.0:8026`.

Posts the demo's flights until it is told to stop, and opens a small page of its own:

- `GET /` tells what became of the requests: `{"drift": "none", "sent": …, "answered": {"2xx": …}, "failed": …}`.
- `POST /drift/season` goes over to the flights of that kind of drift, `POST /drift/none` back to the normal ones.

The normal flights are those of `make demo`, with the same seed, so the same reference fits them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from configuration.units import Address, cannot_listen, parse_address
from demo.drift import KINDS, Kind, drifted, normal
from demo.flights import DataMissingError, Halves, load
from demo.traffic import Traffic
from lifecycle.process import run
from lifecycle.refusal import Refusal
from lifecycle.tether import Tether
from logs.lines import log_to_stdout

CONNECTIONS: Final = 16
_RETRY_SECONDS: Final = 0.5

_log = logging.getLogger("shadowdrift.demo")


class Steady:
    """The traffic and its switch."""

    def __init__(self, url: str, rate: float, halves: Halves, seed: int) -> None:
        self._halves, self._seed = halves, seed
        self._drift: Kind = "none"
        self._url = url
        self._traffic = Traffic(url, normal(halves, seed).rows(), rate=rate, connections=CONNECTIONS)

    async def serve(self, listen: str, stop: asyncio.Event) -> None:
        """Listen, then send until `stop`; a URL that nobody answers yet is tried again. Raises `Refusal`."""
        address = _address(listen)
        application = web.Application()
        application.router.add_get("/", self._counts)
        application.router.add_post("/drift/{kind}", self._switch)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, address.host, address.port).start()
            if await self._started(stop):
                _log.info("sends", extra={"fields": {"url": self._url}})
                await stop.wait()
                await self._traffic.stop()
        except OSError as error:
            raise Refusal(cannot_listen("--listen", listen, error)) from None
        finally:
            await runner.cleanup()
        _log.info("has stopped", extra={"fields": self.counts()})

    async def _started(self, stop: asyncio.Event) -> bool:
        """Begin to send as soon as somebody listens; False when it was told to stop before."""
        while not stop.is_set():
            try:
                await self._traffic.start()
            except OSError:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _RETRY_SECONDS)
            else:
                return True
        return False

    def counts(self) -> dict[str, Any]:
        """What became of the requests so far; sent = answered + failed + those under way."""
        counts = self._traffic.counts
        return {
            "drift": self._drift,
            "sent": counts.sent,
            "answered": dict(counts.answered),
            "failed": counts.failed,
            "skipped": counts.skipped,
        }

    async def _counts(self, _: web.Request) -> web.Response:
        return _json(self.counts())

    async def _switch(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        if kind not in KINDS:
            return _json({"error": f"drift must be one of {', '.join(KINDS)}"}, 400)
        rows = drifted(kind, self._halves, self._seed)
        self._drift = kind
        self._traffic.switch(rows.rows())
        _log.info("goes over to other flights", extra={"fields": {"drift": kind}})
        return _json(self.counts())


def _json(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value) + b"\n", status=status, content_type="application/json")


def _address(listen: str) -> Address:
    try:
        return parse_address(listen)
    except ValueError as error:
        raise Refusal(f"--listen {error}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Send until SIGTERM; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.steady", description="Steady traffic of flights, with drift.")
    parser.add_argument("--url", required=True, help="where to post, like http://nginx/predict")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second; %(default)g")
    parser.add_argument("--listen", default="127.0.0.1:8026", help="its own page and switch; %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    log_to_stdout("traffic")

    async def serve(_: Tether, stop: asyncio.Event) -> None:
        try:
            halves = await asyncio.to_thread(load, options.seed)
            steady = Steady(options.url, options.rate, halves, options.seed)
        except (DataMissingError, ValueError) as error:
            raise Refusal(f"traffic: {error}") from None
        await steady.serve(options.listen, stop)

    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
