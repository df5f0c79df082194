"""Why somebody cannot be asked over HTTP, in words."""

from __future__ import annotations

import os

import aiohttp


def why(error: Exception) -> str:
    """Without the address, which whoever tells it names, and which may be a secret; of TLS its own words say more."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {_line(error.certificate_error)}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        known = cause.errno is not None and cause.errno > 0
        return (os.strerror(cause.errno or 0) if known else cause.strerror or _line(cause)).lower()
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return _line(error)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
