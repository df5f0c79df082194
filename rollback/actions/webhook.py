"""The action `webhook`: one HTTP call, made from a template, that somebody else acts upon."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from active.file import Entry
from configuration import Model
from configuration.certificates import client_context, reason
from configuration.rollback import Webhook
from configuration.target import Tls
from lifecycle.refusal import Refusal
from rollback.actions.action import ActionError, Undo, main_version
from rollback.away import why
from rollback.secret_file import token_of

MAX_TEMPLATE_BYTES: Final = 256 * 1024
FIELDS: Final = ("model", "version", "former", "mode", "reason", "by", "generation")
_FIELD: Final = re.compile(r"\{(" + "|".join(FIELDS) + r")\}")


class Call:
    """The call, with its secrets read at the start."""

    name = "webhook"

    def __init__(self, settings: Webhook, session: aiohttp.ClientSession, path: str = "rollback.webhook") -> None:
        """Raises `Refusal` for a file that cannot be used; `path` is the section's."""
        self._settings = settings
        self._session = session
        self._template = _template(settings.body_file, path)
        token = token_of(f"{path}.token_file", settings.token_file)
        self._headers = {"Content-Type": "application/json", **settings.headers}
        if token is not None:
            self._headers["Authorization"] = f"{settings.token_scheme} {token}".strip()
        self._context = None if settings.ca_file is None else client_context(Tls(settings.ca_file), path)
        self.irreversible: str | None = (
            f"webhook: {settings.method} {settings.url} cannot be undone: what it sets off goes on by itself"
        )

    async def apply(self, model: Model, before: Entry, after: Entry) -> Undo:
        """Any answer from 200 to 299 is success."""
        fields = fields_of(model, before, after)
        url = filled(self._settings.url, fields, lambda value: quote(value, safe=""))
        body = filled(self._template, fields, lambda value: json.dumps(value)[1:-1])
        timeout = aiohttp.ClientTimeout(total=float(self._settings.timeout))
        try:
            async with self._session.request(
                self._settings.method,
                URL(url, encoded=True),
                data=body.encode(),
                headers=self._headers,
                timeout=timeout,
                allow_redirects=False,
                ssl=True if self._context is None else self._context,
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise ActionError(f"webhook: {self._settings.url} answered {answer.status}")
        except TimeoutError:
            raise ActionError(f"webhook: {self._settings.url}: no answer in {self._settings.timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ActionError(f"webhook: {self._settings.url} cannot be asked: {why(error)}") from None

        async def undo() -> None:
            raise ActionError(f"webhook: {self._settings.url} was called, which cannot be undone")

        return undo


def fields_of(model: Model, before: Entry, after: Entry) -> dict[str, str]:
    """What a template may name."""
    return {
        "model": model.name,
        "version": main_version(after),
        "former": main_version(before),
        "mode": after.mode,
        "reason": after.reason,
        "by": after.by,
        "generation": str(after.generation),
    }


def filled(template: str, fields: Mapping[str, str], escape: Callable[[str], str]) -> str:
    """The template with each `{field}` in its place; all other braces stay, so that JSON can be written as it is."""
    return _FIELD.sub(lambda match: escape(fields[match[1]]), template)


def _template(file: str | None, path: str) -> str:
    if file is None:
        return json.dumps({name: f"{{{name}}}" for name in FIELDS})
    where = f"{path}.body_file: {file}"
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{where} cannot be read: {reason(error)}") from None
    if len(text) > MAX_TEMPLATE_BYTES:
        raise Refusal(f"{where} must have at most {MAX_TEMPLATE_BYTES} bytes")
    try:
        json.loads(_FIELD.sub("0", text))
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{where} must be JSON with fields such as {{version}} in it: {error}") from None
    return text
