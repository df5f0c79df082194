"""The proxy under test: its data plane in this process, for speed, or the whole of `shadowdrift proxy` as it is run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from events.topics import create
from tests.proxy.lines import remove_ours
from tests.proxy.planes import Plane, document, serving
from tests.support.backend import Backend, answers, backend
from tests.support.kafka import Kafka

Serve = Callable[..., Any]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the proxy itself runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def production() -> AsyncIterator[Backend]:
    """The production model: 200 to everything, until a test says otherwise."""
    async with backend(answers(body=b'{"prediction": 1}')) as server:
        yield server


@pytest.fixture
async def shadow() -> AsyncIterator[Backend]:
    """The shadow model, likewise."""
    async with backend(answers(body=b'{"prediction": 2}')) as server:
        yield server


@pytest.fixture
async def serve(production: Backend, shadow: Backend, tmp_path: Path) -> AsyncIterator[Serve]:
    """`await serve(mirror={...}, capture={...}, target={...}, proxy={...})`: a data plane in front of both models."""
    async with AsyncExitStack() as stack:

        async def start(**sections: Any) -> Plane:
            made = document(production.url, shadow.url, **sections)
            return await stack.enter_async_context(serving(made, tmp_path))

        yield start


@pytest.fixture
async def topics(kafka: Kafka) -> AsyncIterator[Kafka]:
    """The broker with our topics, made as `shadowdrift topics --create` does."""
    await create(kafka.brokers, 4, 1)
    yield kafka
    await remove_ours(kafka)
