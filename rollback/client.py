"""Asking the rollback's service as a person does: what it answered, or one line on why it cannot be asked."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Final

from lifecycle.refusal import Refusal

WITHIN_SECONDS = 60.0
"""What a switch may take: each proxy's confirmation, nginx's reload."""


_WHERE: Final = "--url, or rollback.listen"
_LOOK: Final = "an order may have been carried out: `shadowdrift rollback status` tells, before you give it again"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The service never redirects, and whoever does must not be given the token."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing: the answer is told as it is."""


# No proxy of the environment's either: the service is on this machine, or near it, and the token is for it alone.
_opener: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


@dataclass(frozen=True)
class Client:
    """Where the service is, and with what token; `token_file` is where that came from, for whoever has to mend it."""

    base: str
    token: str | None = None
    token_file: str | None = None
    within: float = field(default_factory=lambda: WITHIN_SECONDS)

    def __post_init__(self) -> None:
        if not self.base.startswith(("http://", "https://")):
            raise Refusal(f"--url must be like http://127.0.0.1:9109, got {self.base!r}")

    def status(self) -> dict[str, Any]:
        """`GET /status`. Raises `Refusal`."""
        _, answer = self._call("/status", None)
        if not isinstance(answer.get("models"), dict) or not isinstance(answer.get("irreversible"), list):
            raise self._no_rollback("a JSON document of something else")
        return answer

    def order(self, command: str, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A command's status, 200, 409 or 503, and what came of it. Raises `Refusal` where nobody decided on it."""
        code, answer = self._call(f"/{command}", order)
        if not {"decision", "text", "model"} <= answer.keys():
            raise self._no_rollback("a JSON document of something else")
        return code, answer

    def _call(self, path: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(  # noqa: S310 - http or https, see above
                f"{self.base.rstrip('/')}{path}", data=data, headers=headers
            )
            code, said = self._said(request)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Refusal(self._away(error)) from None
        found = self._document(code, said)
        return code, found if 200 <= code < 300 else self._refused(code, found)

    def _said(self, request: urllib.request.Request) -> tuple[int, bytes]:
        """The status and the whole body of the answer, whatever its status."""
        try:
            answer = _opener.open(request, timeout=self.within)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.read()

    def _refused(self, code: int, found: dict[str, Any]) -> dict[str, Any]:
        """The document of a refused or failed command; a `Refusal` for what was not even decided."""
        if code in (409, 503) and "decision" in found:
            return found
        if code == 401:
            raise Refusal(f"the rollback at {self.base} {self._unknown()}")
        why = found.get("error")
        if not isinstance(why, str):
            raise self._no_rollback(f"status {code}")
        raise Refusal(f"the rollback at {self.base} answered {code}: {' '.join(why.split())[:300]}")

    def _unknown(self) -> str:
        if self.token is None:
            return "asks for a token (401): name the file that holds it as rollback.token_file, as the service does"
        return (
            f"does not take the token of {self.token_file} (401): it reads its own at its start, so start it anew "
            "where the file has changed, or copy the service's here"
        )

    def _document(self, code: int, body: bytes) -> dict[str, Any]:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            if code == 401:
                return {}
            raise self._no_rollback(f"status {code}, and no JSON object")
        return found

    def _no_rollback(self, what: str) -> Refusal:
        return Refusal(f"what answers at {self.base} is no rollback ({what}); name the service's address: {_WHERE}")

    def _away(self, error: Exception) -> str:
        """What kept us from an answer, and what to do about it; never an exception's own text."""
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        at = f"the rollback at {self.base}"
        match cause:
            case socket.gaierror():
                return (
                    f"{at}: no such host is known ({(cause.strerror or 'no address').lower()}); mend the name: {_WHERE}"
                )
            case ssl.SSLError():
                return (
                    f"{at}: no TLS ({_words_of(cause)}); the service itself speaks http://, and the certificate of a "
                    "server before it must be one that this machine trusts (SSL_CERT_FILE)"
                )
            case TimeoutError():
                return f"{at} does not answer within {self.within:g} s; {_LOOK}"
            case http.client.InvalidURL() | ValueError():
                return f"--url must be like http://127.0.0.1:9109, got {self.base!r}"
            case http.client.HTTPException() | ConnectionResetError() | BrokenPipeError():
                return f"{at} broke off without a whole answer: it stopped, or is none ({_WHERE}); {_LOOK}"
            case OSError(errno=int(number)) if number > 0:
                why = os.strerror(number).lower()
            case _:
                why = "it cannot be reached"
        return (
            f"no rollback answers at {self.base} ({why}); start `shadowdrift rollback`, or name where it runs: {_WHERE}"
        )


def _words_of(error: ssl.SSLError) -> str:
    """`self-signed certificate`, `wrong version number`."""
    return str(getattr(error, "verify_message", "") or error.reason or "handshake failed").replace("_", " ").lower()
