"""The development broker for a test: quick to have, and real enough unless groups of several or retention matter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lifecycle.tether import Child


@asynccontextmanager
async def development_broker() -> AsyncIterator[str]:
    """Its bootstrap servers, as long as the context lasts; it is up within half a second."""
    child = await Child.start("development broker", "up.development_broker")
    try:
        yield str((await child.ready())["bootstrap_servers"])
    finally:
        await child.stop(10.0)
