"""The stand-in Slack for a test, as a process of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from lifecycle.tether import Child


class Slack:
    """Where it listens, and what has arrived."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    @property
    def webhook(self) -> str:
        """The secret address that a workspace gives out."""
        return f"{self.url}/services/T000/B000/secret"

    async def messages(self) -> list[dict[str, Any]]:
        """The oldest first."""
        async with self._session.get(f"{self.url}/messages") as answer:
            messages: list[dict[str, Any]] = await answer.json()
        return messages


@asynccontextmanager
async def stand_in_slack() -> AsyncIterator[Slack]:
    """It runs as long as the context lasts."""
    child = await Child.start("stand-in Slack", "demo.slack", ["--listen", "127.0.0.1:0"])
    try:
        url = str((await child.ready())["slack"])
        async with aiohttp.ClientSession() as session:
            yield Slack(url, session)
    finally:
        await child.stop(5)
