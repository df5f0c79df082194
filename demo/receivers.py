"""Stand-ins for whom Alertmanager calls beside Slack and the rollback: `python -m demo.receivers --slack-file FILE`.

`POST /watchdog` is a dead man's switch: the alert Watchdog comes there every minute, and when it has not for
`--silence` seconds, the switch itself writes to the webhook that FILE holds, because then nobody else would. In earnest
that is a service outside, which lives when this machine does not.

`POST /retraining` takes the place of what starts a training: it writes down what would have been trained, and trains
nothing (`demo.retraining.hook` does). `GET /` tells as JSON what has come.

It announces `{"receivers": "http://127.0.0.1:8066"}` to its parent and ends with it, on SIGTERM and on SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, web

from demo.delivery import delivered
from demo.listening import listening
from lifecycle.process import run
from lifecycle.tether import Tether

KEPT: Final = 200
_LARGEST: Final = 16 * 1024 * 1024
_LOOKS_EVERY: Final = 0.5
_PATIENCE: Final = ClientTimeout(total=5)


class DeadMansSwitch:
    """It has to be told again and again that all is well. Times are seconds of one clock that only goes on."""

    def __init__(self, silence: float, now: float) -> None:
        self._silence = silence
        self._heard = now
        self._gone = False
        self._unsaid: deque[str] = deque(maxlen=2)

    def hear(self, now: float) -> None:
        """It came."""
        if self._gone:
            self._gone = False
            self._unsaid.append(
                f"Alertmanager is back: nothing came from it for {now - self._heard:.0f} s. What fired meanwhile may "
                "not have been told."
            )
        self._heard = now

    def due(self, now: float) -> str | None:
        """What is to be said now; `said` takes it away."""
        if not self._gone and now - self._heard > self._silence:
            self._gone = True
            self._unsaid.append(
                f"Nothing has come from Alertmanager for {now - self._heard:.0f} s: it or Prometheus is away. Until "
                "it is back nobody is told of anything and nothing is rolled back. docs/runbooks/watchdog.md"
            )
        return self._unsaid[0] if self._unsaid else None

    def said(self) -> None:
        """The first of what was to be said is out."""
        self._unsaid.popleft()

    def silent_for(self, now: float) -> float:
        """Seconds since it came last."""
        return now - self._heard


class Receivers:
    """Both stand-ins as one application."""

    def __init__(self, silence: float) -> None:
        self.switch = DeadMansSwitch(silence, time.monotonic())
        self._trainings: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def application(self) -> web.Application:
        """The service."""
        application = web.Application(client_max_size=_LARGEST)
        application.router.add_get("/", self.show)
        application.router.add_get("/-/healthy", self.healthy)
        application.router.add_post("/watchdog", self.watchdog)
        application.router.add_post("/retraining", self.retraining)
        return application

    async def watchdog(self, request: web.Request) -> web.Response:
        """Alertmanager lives, and so does Prometheus: without its alert nothing would come."""
        if (await delivered(request)).status == "firing":
            self.switch.hear(time.monotonic())
        return web.Response(text="ok")

    async def retraining(self, request: web.Request) -> web.Response:
        """Write down what a training would have been started for."""
        delivery = await delivered(request)
        models = sorted({alert.labels.get("model", "") for alert in delivery.alerts} - {""})
        if delivery.status == "firing" and models:
            self._trainings.append({"models": models})
            sys.stderr.write(f"shadowdrift: would start a training of {', '.join(map(repr, models))}\n")
        return web.Response(text="ok")

    async def show(self, _: web.Request) -> web.Response:
        """What has come."""
        told = {"silent_seconds": self.switch.silent_for(time.monotonic()), "trainings": list(self._trainings)}
        return web.Response(body=msgspec.json.encode(told) + b"\n", content_type="application/json")

    async def healthy(self, _: web.Request) -> web.Response:
        """Alive."""
        return web.Response(text="ok\n")


async def watch(switch: DeadMansSwitch, slack_file: Path, session: ClientSession) -> None:
    """Say what is due, and again until it is taken."""
    while True:
        text = switch.due(time.monotonic())
        if text is not None and await _told(text, slack_file, session):
            switch.said()
        await asyncio.sleep(_LOOKS_EVERY)


async def _told(text: str, slack_file: Path, session: ClientSession) -> bool:
    with contextlib.suppress(OSError, ClientError, TimeoutError, ValueError):
        webhook = await asyncio.to_thread(slack_file.read_text)
        async with session.post(webhook.strip(), json={"text": text}, timeout=_PATIENCE) as answer:
            return answer.status == 200
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.receivers", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--listen", default="127.0.0.1:8066", metavar="HOST:PORT", help="%(default)s; port 0: any")
    parser.add_argument("--slack-file", type=Path, required=True, metavar="FILE", help="holds a webhook's address")
    parser.add_argument(
        "--silence", type=float, default=180.0, metavar="SECONDS", help="%(default)s: so long is too long"
    )
    options = parser.parse_args(arguments)

    async def serve(tether: Tether, stop: asyncio.Event) -> None:
        await _serve(options, tether, stop)

    return run(serve)


async def _serve(options: argparse.Namespace, tether: Tether, stop: asyncio.Event) -> None:
    """Listen, say so, and serve until told to stop. Raises `Refusal` for an address that cannot be had."""
    receivers = Receivers(options.silence)
    async with listening(receivers.application(), options.listen) as url, ClientSession() as session:
        sys.stderr.write(f"shadowdrift: stand-in receivers listen at {url}\n")
        tether.announce({"receivers": url})
        watching = asyncio.create_task(watch(receivers.switch, options.slack_file, session))
        await stop.wait()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


if __name__ == "__main__":
    sys.exit(main())
