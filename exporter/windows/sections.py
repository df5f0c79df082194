"""What of a model outlives the process, in sections: each is kept, written and restored by itself.

A tenant's window of one role is a section of its own. That of `_all` holds, too, what belongs to the role as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

from events.inference import ROLES, Role
from exporter.windows.models import ALL, ModelState
from exporter.windows.window import Window

HEADS: Final[dict[Role, str]] = {role: f"{ALL}|{role}" for role in ROLES}
"""The section of each role's `_all`. It changes with every event of its role."""


@dataclass(frozen=True)
class Section:
    """One of them; `roles` are those whose events it is made of."""

    name: str
    roles: tuple[Role, ...]
    mark: Callable[[], Hashable]
    """Another value after each change."""
    kept: Callable[[], dict[str, Any]]
    restore: Callable[[dict[str, Any]], None]
    """Raises ValueError, KeyError or TypeError for what `kept` did not give."""


def sections(state: ModelState) -> dict[str, Section]:
    """The sections of a model by name: the tenants' first, the heads last, production's the very last."""
    found = [
        _tenant(role, tenant, window)
        for role in ROLES
        for tenant, window in state.roles[role].windows.items()
        if tenant != ALL
    ]
    found += [_head(role, state) for role in reversed(ROLES)]
    return {section.name: section for section in found}


def _tenant(role: Role, tenant: str, window: Window) -> Section:
    return Section(f"{tenant}|{role}", (role,), lambda: window.revision, window.kept, window.restore)


def _head(role: Role, model: ModelState) -> Section:
    state = model.roles[role]
    window = state.windows[ALL]

    def kept() -> dict[str, Any]:
        kept = {"ids": state.ids.kept(), "window": window.kept(), "last_time": state.last_time}
        return kept | {"early_warning": model.early_warning.kept()} if role == "production" else kept

    def restore(kept: dict[str, Any]) -> None:
        state.ids.restore(kept["ids"])
        window.restore(kept["window"])
        state.last_time = kept["last_time"]
        if role == "production":
            model.early_warning.restore(kept["early_warning"])

    return Section(HEADS[role], (role,), lambda: (state.taken, window.revision), kept, restore)
