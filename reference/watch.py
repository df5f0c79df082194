"""A model's profile file while a part runs: what changes in it is taken whole, or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from configuration.model import Model
from lifecycle.refusal import Refusal
from reference.profile import Profile, load_for

LOOK_SECONDS: Final = 1.0
"""How often a part looks."""

_SETTLED_NS: Final = 2_000_000_000
"""A file younger than this may change once more within the same tick of its clock, so it is read once more."""


class Found(NamedTuple):
    """What a look has brought: a profile that is now in force, or why the file's is not."""

    profile: Profile | None
    refused: str | None


class Watched:
    """The file of `models[index].reference`, of which `profile` is in force.

    `look` reads a file and may take a while for a large one; it is for one thread at a time, any thread.
    """

    def __init__(self, model: Model, index: int) -> None:
        """Load it. Raises `Refusal` where it cannot be used: at a start there is nothing else to go by."""
        if model.reference is None:
            raise ValueError(f"{model.name} has no reference")
        self._model, self._index = model, index
        self._path = Path(model.reference)
        self._mark = self._stat()
        self._young = True
        profile = load_for(model, index)
        assert profile is not None
        self.profile: Profile = profile
        self.refused: str | None = None
        """Why the file as it is now is not in force, in one line; None while it is."""

    def look(self) -> Found | None:
        """What has changed since the last look, None if nothing has. A refusal is told once for each reason."""
        mark = self._stat()
        if mark == self._mark and not self._young:
            return None
        self._mark = mark
        self._young = mark is not None and abs(time.time_ns() - mark[0]) < _SETTLED_NS
        try:
            profile = load_for(self._model, self._index)
        except Refusal as refusal:
            told, self.refused = self.refused, str(refusal)
            return Found(None, self.refused) if self.refused != told else None
        if profile is None or (_same(profile, self.profile) and self.refused is None):
            return None
        self.profile, self.refused = profile, None
        return Found(profile, None)

    def _stat(self) -> tuple[int, int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns


def watched_of(models: Sequence[Model]) -> dict[str, Watched]:
    """By model the file of each that names one. Raises `Refusal` for one that cannot be used."""
    return {model.name: Watched(model, index) for index, model in enumerate(models) if model.reference is not None}


async def follow(watched: Mapping[str, Watched], take: Callable[[str, Found], None]) -> None:
    """Look at the files until cancelled, and hand over what has changed, with its model's name."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for name, file in watched.items():
            found = await asyncio.to_thread(file.look)
            if found is not None:
                take(name, found)


def _same(one: Profile, other: Profile) -> bool:
    """Their features' order too: by it values are named that a request lists without names."""
    return one == other and list(one.features) == list(other.features)
