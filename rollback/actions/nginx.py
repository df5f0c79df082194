"""The action `nginx`: the upstream that nginx includes follows the active version, and nginx says that it does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from active.file import Entry
from configuration import Model
from configuration.rollback import MODEL, Nginx
from lifecycle.refusal import Refusal
from rollback.actions.action import ActionError, Undo
from rollback.away import why
from rollback.journal import replace_whole

UPSTREAM: Final = "active-upstream.conf"
TOLD: Final = "active-version.conf"
_LOOK_SECONDS: Final = 0.05
_IN_A_ROW: Final = 5
_MODE: Final = 0o644


class NginxUpstream:
    """Writes the files, tests them, reloads, and asks nginx what it serves by. On any failure the old ones are back."""

    name = "nginx"
    irreversible: str | None = None

    def __init__(self, settings: Nginx, models: tuple[Model, ...], session: aiohttp.ClientSession) -> None:
        """Raises `Refusal` for a version that nginx cannot reach by such an upstream."""
        self._settings = settings
        self._session = session
        for index, model in enumerate(models):
            for version, target in model.targets.items():
                for url in target.urls:
                    if urlsplit(url).scheme != "http" or urlsplit(url).path.strip("/"):
                        raise Refusal(
                            f"models[{index}].targets.{version}.url: the action nginx reaches versions at "
                            f"http://host:port alone, got {url}"
                        )

    @property
    def is_the_traffic(self) -> bool:
        """Whether all requests go by its files, not only what goes past the proxy."""
        return self._settings.role == "primary"

    def differs(self, model: Model, entry: Entry) -> bool:
        """Whether the files say something else. Raises `ActionError`."""
        return self._former(model) != self._wanted(model, entry)

    async def apply(self, model: Model, before: Entry, after: Entry) -> Undo:
        """A paused model's versions are marked `down`: past the proxy, too, nobody asks them."""
        folder, former, wanted = self._folder(model), self._former(model), self._wanted(model, after)

        async def undo() -> None:
            await self._put(folder, former, None)

        try:
            await self._put(folder, wanted, after)
        except ActionError:
            with contextlib.suppress(ActionError):  # the first failure is the one that is told
                await undo()
            raise
        return undo

    def _folder(self, model: Model) -> Path:
        return Path(self._settings.directory.replace(MODEL, model.name))

    def _former(self, model: Model) -> dict[str, bytes | None]:
        folder = self._folder(model)
        try:
            return {name: _content(folder / name) for name in (UPSTREAM, TOLD)}
        except OSError as error:
            raise ActionError(f"nginx: {folder} cannot be read: {error.strerror}") from None

    def _wanted(self, model: Model, entry: Entry) -> dict[str, bytes | None]:
        return {
            UPSTREAM: upstream(model, entry, self._settings.role).encode(),
            TOLD: told(model, entry).encode(),
        }

    async def _put(self, folder: Path, files: dict[str, bytes | None], after: Entry | None) -> None:
        try:
            for name, content in files.items():
                if content is None:
                    (folder / name).unlink(missing_ok=True)
                else:
                    replace_whole(folder / name, content, _MODE)
        except OSError as error:
            raise ActionError(f"nginx: {folder} cannot be written: {error.strerror}") from None
        for words in (self._settings.test, self._settings.reload):
            if words is not None:
                await self._run(words)
        if after is not None and self._settings.check is not None:
            await self._serves_by(after)

    async def _run(self, words: tuple[str, ...]) -> None:
        """One of nginx's own commands; what it says is told when it fails."""
        # In a thread, so that its standard error is a pipe: uvloop would give it a socket, and nginx opens its error
        # log, /dev/stderr, by that name, which no socket allows.
        within = float(self._settings.timeout)
        try:
            done = await asyncio.to_thread(
                subprocess.run,
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=within,
                check=False,
            )
        except OSError as error:
            raise ActionError(f"nginx: {words[0]} cannot be run: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise ActionError(f"nginx: {' '.join(words)} did not end in {self._settings.timeout:g} s") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            why = next((line for line in said if "[emerg]" in line), said[0])
            raise ActionError(f"nginx: {' '.join(words)} failed: {why[:300]}")

    async def _serves_by(self, after: Entry) -> None:
        """A reload is over when nginx answers by the new files, several times in a row: each answer is one worker's.

        Former workers take connections until they have heard of the reload, so one answer alone may come too early.
        """
        in_a_row, ends = 0, time.monotonic() + float(self._settings.timeout)
        while in_a_row < _IN_A_ROW:
            said = await self._told(after)
            in_a_row = in_a_row + 1 if said == after.generation else 0
            if time.monotonic() >= ends and in_a_row < _IN_A_ROW:
                raise ActionError(
                    f"nginx: {self._settings.check} does not tell generation {after.generation} after "
                    f"{self._settings.timeout:g} s; it said {said!r}"
                )
            if not in_a_row:
                await asyncio.sleep(_LOOK_SECONDS)

    async def _told(self, after: Entry) -> object:
        """The generation that nginx tells, or in words what it said instead."""
        assert self._settings.check is not None
        # A connection that was kept would ask the worker that leaves.
        timeout, headers = aiohttp.ClientTimeout(total=1), {"Connection": "close"}
        try:
            async with self._session.get(self._settings.check, timeout=timeout, headers=headers) as answer:
                if answer.status != 200:
                    return f"status {answer.status}"
                found = json.loads(await answer.text())
                # A deployment changes the versions under the same generation.
                if found.get("versions") != (wanted := sorted(after.weights)):
                    return f"versions {found.get('versions')}, not {wanted}"
                return found["generation"]
        except (aiohttp.ClientError, OSError) as error:  # a deadline is an OSError
            return why(error)
        except (ValueError, LookupError, TypeError, AttributeError):
            return "no generation"


def upstream(model: Model, entry: Entry, role: str) -> str:
    """The servers, by their shares; a version with several addresses shares its own among them."""
    lines = ["# Written by the rollback whenever another version becomes active."]
    suffix = " backup" if role == "backup" else ""
    shares = {version: weight for version, weight in entry.weights.items() if weight > 0}
    if entry.mode == "paused" and model.fallback is not None and model.fallback.target is not None:
        shares = {model.fallback.target: 1.0}
    elif entry.mode == "paused":
        suffix += " down"
    for version in sorted(shares):
        urls = model.targets[version].urls
        weight = max(1, round(1000 * shares[version] / len(urls)))
        written = f" weight={weight}" if len(shares) > 1 else ""
        lines += [f"server {_address(url)}{written}{suffix};" for url in urls]
    return "\n".join(lines) + "\n"


def told(model: Model, entry: Entry) -> str:
    """The location that says by which files nginx serves. No name holds a quote: the configuration sees to that."""
    said = json.dumps(
        {"model": model.name, "versions": sorted(entry.weights), "generation": entry.generation},
        separators=(", ", ": "),
    )
    return (
        "# Written by the rollback, which asks here whether its reload is over.\n"
        f"location = /nginx/active/{model.name} {{\n"
        "    access_log off;\n    allow 127.0.0.0/8;\n    allow ::1;\n    allow 10.0.0.0/8;\n    allow 172.16.0.0/12;\n"
        "    allow 192.168.0.0/16;\n    deny all;\n    default_type application/json;\n"
        f"    return 200 '{said}';\n}}\n"
    )


def _address(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc if parts.port is not None else f"{parts.netloc}:80"


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
