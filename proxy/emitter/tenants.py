"""Whose request it is, by what stands in its body: looked up where the body is read anyway, in no worker's time."""

from __future__ import annotations

from typing import Any

from configuration import Tenant
from proxy.frames import Captured
from reference.json_value import NOTHING, json_value

OTHER: str = "_other"


class BodyTenant:
    """The allowed name at `tenant.body` of a request, `_other` for any other text, None where there is none."""

    def __init__(self, section: Tenant) -> None:
        assert section.body is not None
        self._path = section.body.split(".")
        self._allowed = frozenset(section.allow)

    def __call__(self, captured: Captured) -> str | None:
        """Whose exchange it is."""
        if captured.encoded or captured.request_truncated:
            return None
        found: Any = json_value(captured.request)
        for name in self._path if found is not NOTHING else ():
            found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, str) or not found:
            return None
        return found if found in self._allowed else OTHER
