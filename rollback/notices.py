"""Telling people what was decided: an annotation in Grafana, a message in Slack. Nothing waits for either."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from configuration import Rollback
from configuration.rollback import url
from configuration.shown import one_line
from lifecycle.refusal import Refusal
from rollback.secret_file import token_of

MOST_WAITING: Final = 100
MOST_TOLD: Final = 1000
ATTEMPTS: Final = 4
_FIRST_WAIT: Final = 0.5
_WITHIN_SECONDS: Final = 5.0
_LONGEST_TEXT: Final = 2000

_log = logging.getLogger("shadowdrift.rollback")


@dataclass(frozen=True)
class Notice:
    """One decision, for people."""

    model: str
    word: str
    reason: str
    text: str
    by: str
    at: float
    """Seconds since 1970."""
    command: str = ""
    """A person's; empty of what was decided about an alert."""


@dataclass(frozen=True)
class _Receiver:
    name: str
    url: str
    headers: dict[str, str]
    body: Callable[[Notice], dict[str, Any]]


class Notices:
    """A bounded queue for each receiver; what it does not take after a few attempts is counted."""

    def __init__(self, settings: Rollback, session: aiohttp.ClientSession, count: Callable[[str, str], None]) -> None:
        """Raises `Refusal` for a secret that cannot be used. `count` is told what became of each notice."""
        self._session = session
        self._count = count
        self._queues = [(receiver, asyncio.Queue[Notice](MOST_WAITING)) for receiver in _receivers(settings)]
        self._told: OrderedDict[tuple[object, ...], None] = OrderedDict()

    def tell(self, notice: Notice, *, once_for: tuple[object, ...] | None = None) -> None:
        """Queue it; what has been told for the same `once_for` already is not told again."""
        if once_for is not None:
            if once_for in self._told:
                return
            self._told[once_for] = None
            if len(self._told) > MOST_TOLD:
                self._told.popitem(last=False)
        for receiver, queue in self._queues:
            try:
                queue.put_nowait(notice)
            except asyncio.QueueFull:
                self._count(receiver.name, "dropped")

    async def run(self) -> None:
        """Send until cancelled."""
        await asyncio.gather(*(self._send_all(receiver, queue) for receiver, queue in self._queues))

    async def finish(self, within: float) -> None:
        """Wait until all is sent, but not longer than that."""
        try:
            async with asyncio.timeout(within):
                await asyncio.gather(*(queue.join() for _, queue in self._queues))
        except TimeoutError:
            for receiver, queue in self._queues:
                for _ in range(queue.qsize()):
                    self._count(receiver.name, "dropped")

    async def _send_all(self, receiver: _Receiver, queue: asyncio.Queue[Notice]) -> None:
        while True:
            notice = await queue.get()
            try:
                await self._send(receiver, notice)
            finally:
                queue.task_done()

    async def _send(self, receiver: _Receiver, notice: Notice) -> None:
        why = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(_FIRST_WAIT * 2 ** (attempt - 1))
            try:
                timeout = aiohttp.ClientTimeout(total=_WITHIN_SECONDS)
                async with self._session.post(
                    receiver.url, json=receiver.body(notice), headers=receiver.headers, timeout=timeout
                ) as answer:
                    if answer.status < 300:
                        self._count(receiver.name, "sent")
                        return
                    why = f"it answered {answer.status}"
                    if answer.status < 500 and answer.status != 429:
                        break
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                why = type(error).__name__  # its text would hold Slack's address, which is a secret
        self._count(receiver.name, "failed")
        fields = {"to": receiver.name, "why": why, "model": notice.model, "decision": notice.word}
        _log.warning("a notice was not taken", extra={"fields": fields})


def _receivers(settings: Rollback) -> list[_Receiver]:
    found = []
    if settings.grafana is not None:
        token = token_of("rollback.grafana.token_file", settings.grafana.token_file)
        address = f"{settings.grafana.url.rstrip('/')}/api/annotations"
        found.append(_Receiver("grafana", address, {"Authorization": f"Bearer {token}"}, annotation))
    if settings.slack is not None:
        address = token_of("rollback.slack.webhook_file", settings.slack.webhook_file) or ""
        try:
            url("address", address)
        except ValueError:
            raise Refusal(
                f"rollback.slack.webhook_file: {settings.slack.webhook_file} must hold the address of Slack's webhook"
            ) from None
        found.append(_Receiver("slack", address, {}, message))
    return found


def annotation(notice: Notice) -> dict[str, Any]:
    """As Grafana's HTTP API takes it; its text is shown as HTML."""
    return {
        "time": int(notice.at * 1000),
        "tags": ["shadowdrift", "rollback", notice.model, notice.word],
        "text": plain(f"{notice.model}: {notice.word} ({notice.reason}) by {notice.by}. {notice.text}"),
    }


def message(notice: Notice) -> dict[str, Any]:
    """As Slack's incoming webhooks take it; nothing in it calls anybody or becomes markup."""
    said, reason = notice.word.replace("_", " "), notice.reason.replace("_", " ")
    if notice.command:
        title = f"{notice.model}: {notice.command} " + ("done" if said == "taken" else f"{said} ({reason})")
    else:
        title = f"Rollback of {notice.model}: {said}{'' if said == 'taken' else ', nothing has moved'} ({reason})"
    block = {"type": "plain_text", "emoji": False}
    return {
        "username": "shadowdrift rollback",
        "text": plain(f"{title}: {notice.text}"),  # the notification; a message with blocks shows these alone
        "blocks": [
            {"type": "header", "text": {**block, "text": one_line(title)[:150]}},
            {"type": "section", "text": {**block, "text": one_line(notice.text)[:_LONGEST_TEXT] or "-"}},
            {"type": "section", "text": {**block, "text": one_line(f"by {notice.by}")[:200]}},
        ],
    }


def plain(text: str) -> str:
    """Text in which nothing acts."""
    text = one_line(text)[:_LONGEST_TEXT]
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
