"""Asking a version whether it can serve: its recorded request, or without one whether it can be connected to."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from configuration import Model, Target, TargetTls
from configuration.certificates import client_context
from configuration.probing import LoadedProbe, load_probe

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
CONNECT_SECONDS: Final = 2.0


class Probes:
    """The probes of one model's versions. What is asked here is no inference: it is not counted and not captured."""

    def __init__(self, model: Model, path: str) -> None:
        """Raises `Refusal`; `path` is the model's in the configuration."""
        self._targets = model.targets
        self._probes: dict[str, LoadedProbe] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        for version, target in model.targets.items():
            where = f"{path}.targets.{version}"
            if target.probe is not None:
                self._probes[version] = load_probe(target.probe, f"{where}.probe")
            if target.encrypted:
                self._contexts[version] = client_context(target.tls or TargetTls(), f"{where}.tls")

    def fault(self, version: str) -> str:
        """What a version does not do, where there is a `failure`: in words that stand before it."""
        return "does not pass its probe" if version in self._probes else "cannot be connected to"

    async def failure(self, version: str) -> str | None:
        """Why a version cannot serve; None where it can. Its first address that answers speaks for all."""
        target = self._targets[version]
        why = None
        for url in target.urls:
            try:
                return await self._ask(version, target, url)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                why = f"{urlsplit(url).netloc} cannot be asked: {_words(error)}"
        return why

    async def _ask(self, version: str, target: Target, url: str) -> str | None:
        context = self._contexts.get(version)
        name = target.tls.server_name if target.tls is not None else None
        probe = self._probes.get(version)
        if probe is None:
            await _connect(url, context, name)
            return None
        request = probe.request
        timeout = aiohttp.ClientTimeout(total=float(target.timeout), connect=CONNECT_SECONDS)
        headers = {"X-Request-Id": "shadowdrift-probe", **request.sent_headers}
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(
                request.method,
                URL(url.rstrip("/") + request.path, encoded=True),
                data=request.payload,
                headers=headers,
                allow_redirects=False,
                ssl=context if context is not None else True,
                server_hostname=name,
            ) as response,
        ):
            answer = bytearray()
            async for piece in response.content.iter_any():
                answer += piece
                if len(answer) > MAX_ANSWER_BYTES:
                    return f"its answer has more than {MAX_ANSWER_BYTES} bytes"
            return probe.expectation.unmet(response.status, bytes(answer))


async def _connect(url: str, context: ssl.SSLContext | None, name: str | None) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    async with asyncio.timeout(CONNECT_SECONDS):
        _, writer = await asyncio.open_connection(
            host,
            parts.port or (443 if context is not None else 80),
            ssl=context,
            server_hostname=(name or host) if context is not None else None,
        )
    writer.close()


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()  # the error's own text repeats the address, as code
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
