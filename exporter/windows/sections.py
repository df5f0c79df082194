"""What of a model outlives the process, in sections: each is kept, written and restored by itself.

A tenant's window of one role is a section of its own. That of `_all` holds, too, what belongs to the role as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from events.inference import ROLES, Role
from events.topics import LABELS, PRODUCTION, SHADOW, TOPIC_OF_ROLE
from evidence.document import ALL
from exporter.windows.models import ModelState
from exporter.windows.window import Window

HEADS: Final[dict[Role, str]] = {role: f"{ALL}|{role}" for role in ROLES}
"""The section of each role's `_all`. It changes with every event of its role."""
PAIRS: Final = "pairs"
"""Pairs and labels."""
MAIN: Final = {**{TOPIC_OF_ROLE[role]: name for role, name in HEADS.items()}, LABELS: PAIRS}
"""By topic, the section that no other one of that topic is ever behind."""


@dataclass(frozen=True)
class Section:
    """One of them."""

    name: str
    topics: tuple[str, ...]
    """It is made of these."""
    settings: Mapping[str, int]
    """What has to be the same for it to go on."""
    mark: Callable[[], Hashable]
    """Another value after each change; one that is false before the first."""
    kept: Callable[[], dict[str, Any]]
    """Its named `parts`, if there are any, may be large: those that are the same object as before are not written."""
    restore: Callable[[dict[str, Any]], None]
    """Raises ValueError, KeyError or TypeError for what `kept` did not give."""


def sections(state: ModelState) -> dict[str, Section]:
    """The sections of a model by name: the tenants', the pairs, then the heads, production's at the very end."""
    found = [
        _tenant(role, tenant, window)
        for role in ROLES
        for tenant, window in state.roles[role].windows.items()
        if tenant != ALL
    ]
    found.append(_pairs(state))
    found += [_head(role, state) for role in reversed(ROLES)]
    return {section.name: section for section in found}


def _tenant(role: Role, tenant: str, window: Window) -> Section:
    return Section(
        f"{tenant}|{role}",
        (TOPIC_OF_ROLE[role],),
        {"size": window.size},
        lambda: window.revision,
        window.kept,
        window.restore,
    )


def _pairs(model: ModelState) -> Section:
    shadowed = model.shadowed
    settings = {"size": model.measured.size, "keep": model.measured.model.labels.keep}
    topics = (PRODUCTION, SHADOW, LABELS)
    return Section(PAIRS, topics, settings, lambda: shadowed.revision, shadowed.kept, shadowed.restore)


def _head(role: Role, model: ModelState) -> Section:
    state = model.roles[role]
    window = state.windows[ALL]

    def kept() -> dict[str, Any]:
        kept = {"ids": state.ids.kept(), "window": window.kept(), "last_time": state.last_time}
        if role == "production":
            return kept | {"early_warning": model.early_warning.kept(), "reference": model.reference_kept()}
        return kept if model.recent is None else kept | {"recent": model.recent.kept()}

    def restore(kept: dict[str, Any]) -> None:
        state.ids.restore(kept["ids"])
        window.restore(kept["window"])
        state.last_time = kept["last_time"]
        if role == "production":
            model.early_warning.restore(kept["early_warning"])
        elif model.recent is not None:
            model.recent.restore(kept["recent"])

    return Section(
        HEADS[role],
        (TOPIC_OF_ROLE[role],),
        {"size": window.size},
        lambda: (state.taken, window.revision) if state.taken or window.revision else None,
        kept,
        restore,
    )
