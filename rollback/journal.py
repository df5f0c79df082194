"""What the rollback remembers of each model over restarts: armed, latched, decided, and who serves."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from active.file import Entry
from configuration import Model
from lifecycle.refusal import Refusal

FOLDER: Final = "rollback"
MOST_DECIDED: Final = 1000
"""Alerts that are remembered as decided, for each model; the oldest go first."""

Key: TypeAlias = tuple[str, str]
"""An alert's fingerprint and its start."""


NO_ALERT: Final[Key] = ("", "")


class Latch(msgspec.Struct, frozen=True):
    """Set by every rollback; only a person, or a new deployment, opens it."""

    at: float
    reason: str
    config_production: str


class Decided(msgspec.Struct, frozen=True):
    """An alert that was acted upon, and the generation in force since."""

    fingerprint: str
    starts_at: str
    generation: int
    dry_run: bool = False


class Last(msgspec.Struct, frozen=True):
    """What an alert was answered last."""

    at: str
    alert: str
    decision: str
    reason: str
    text: str


class Begun(msgspec.Struct, frozen=True):
    """A switch whose actions had begun when this was written."""

    after: Entry
    latches: bool
    fingerprint: str = ""
    starts_at: str = ""


class Memory(msgspec.Struct):
    """One model's part of it. Decisions change it in place; `Journal.write` keeps it."""

    armed: bool = True
    latch: Latch | None = None
    generation: int = 0
    """The highest that was ever in force or tried."""
    switched_at: float | None = None
    """When traffic was moved last, by whomever. Seconds since 1970."""
    standing: Entry | None = None
    """Who serves, as this part has last decided it."""
    decided: list[Decided] = []
    last: Last | None = None
    """For people; kept with what is written next."""
    begun: Begun | None = None

    def remembers(self, key: Key, generation: int, *, dry_run: bool) -> bool:
        """Whether this alert was decided already, and nobody has decided otherwise since.

        What was only said in a dry run counts in a dry run alone.
        """
        return any(
            (one.fingerprint, one.starts_at, one.generation) == (*key, generation) and (dry_run or not one.dry_run)
            for one in self.decided
        )

    def remember(self, key: Key, generation: int, *, dry_run: bool = False) -> None:
        """This alert is decided."""
        self.decided.append(Decided(*key, generation, dry_run))
        del self.decided[:-MOST_DECIDED]


class _File(msgspec.Struct):
    format: Literal[1] = 1
    models: dict[str, Memory] = {}


class Journal:
    """The file in `state_dir/rollback`, which one process at a time has."""

    def __init__(self, state_dir: Path, models: Iterable[Model]) -> None:
        """Raises `Refusal` where it cannot be used, or another rollback uses it."""
        self._folder = state_dir / FOLDER
        self._path = self._folder / "journal.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refusal(f"state_dir: {self._folder} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise Refusal(f"state_dir: another rollback has {self._folder}; one alone may decide") from None
        try:
            kept = self._read()
        except BaseException:
            self.close()
            raise
        self.of: dict[str, Memory] = {model.name: kept.pop(model.name, Memory()) for model in models}
        self._others = kept
        """Of models that the configuration does not name now."""

    def _read(self) -> dict[str, Memory]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File).models
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Refusal(
                f"{self._path} cannot be read: {' '.join(str(error).split())}; it holds the latches: mend it, or "
                "remove it once you know that the automatic part may act"
            ) from None

    def write(self) -> None:
        """Keep everything: when this returns, it is on the disk. Raises OSError."""
        replace_whole(self._path, msgspec.json.encode(_File(models={**self._others, **self.of})), 0o600)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)


def replace_whole(path: Path, content: bytes, mode: int) -> None:
    """Put a file in its place whole, and on the disk: a reader sees the former one or this one. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """The names in a folder are on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain(memory: Memory) -> dict[str, Any]:
    """For `status`."""
    latch = None if memory.latch is None else msgspec.to_builtins(memory.latch)
    last = None if memory.last is None else msgspec.to_builtins(memory.last)
    return {"armed": memory.armed, "latch": latch, "switched_at": memory.switched_at, "last": last}
