"""The action `active-file`: the proxy's own way to be told who serves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from active import file as active_file
from active.file import FILE, Entry
from configuration import Model
from rollback.actions.action import ActionError, Undo
from rollback.away import why
from rollback.journal import replace_whole, sync_folder

CONFIRM_SECONDS: Final = 10.0
"""How long a proxy may take to try the version and to say what is in force: its look, its probe."""

_LOOK_SECONDS: Final = 0.1
_MODE: Final = 0o644
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_log = logging.getLogger("shadowdrift.rollback")


class ActiveFileError(Exception):
    """The file cannot be read; one line."""


class ActiveFile:
    """Writes `state_dir/active/active.json`, and waits until the proxies that it can ask have taken it."""

    name = "active-file"
    irreversible: str | None = None

    def __init__(
        self,
        state_dir: Path,
        session: aiohttp.ClientSession | None = None,
        proxies: tuple[str, ...] = (),
        token: str | None = None,
    ) -> None:
        """`proxies` are their admin addresses."""
        self.path = state_dir / FILE
        self._session = session
        self._proxies = proxies
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.unconfirmed: dict[str, str] = {}
        """Of models whose last switch no proxy could be asked about: each proxy, and why it could not be asked."""

    def read(self) -> Mapping[str, msgspec.Raw] | None:
        """The entries by model; None without a file. Raises `ActiveFileError`."""
        try:
            return active_file.decode(self.path.read_bytes()).models
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ActiveFileError(f"{self.path} cannot be read: {error.strerror}") from None
        except _UNREADABLE as error:
            raise ActiveFileError(f"{self.path} cannot be read: {' '.join(str(error).split())}") from None

    async def apply(self, model: Model, before: Entry, after: Entry) -> Undo:
        """Replace the file; what it says of other models stays."""
        self.unconfirmed.pop(model.name, None)
        refused_already = await self._refusing(model)
        try:
            former = self.read()
            content = None if former is None else self.path.read_bytes()
            written = active_file.encode({**(former or {}), model.name: after})
            self._write(written)
        except (ActiveFileError, OSError) as error:
            raise ActionError(f"active-file: {_words(error)}") from None

        async def undo() -> None:
            try:
                if not self.path.exists() or self.path.read_bytes() == written:
                    self._put_back(content)
                else:
                    self._take_back(model.name, former or {})
            except (ActiveFileError, OSError) as error:
                raise ActionError(f"active-file: {_words(error)}") from None

        away: dict[str, str] = {}
        refused = await self._refused_by(model, after, refused_already, away)
        if refused is not None:
            await undo()
            raise ActionError(f"active-file: {refused}")
        if away and away.keys() >= set(self._proxies):
            self.unconfirmed[model.name] = "; ".join(f"{base}: {reason}" for base, reason in away.items())
            fields = {"model": model.name, "why": self.unconfirmed[model.name]}
            _log.warning("no proxy could be asked whether it has taken the switch", extra={"fields": fields})
        return undo

    def _write(self, content: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(self.path, content, _MODE)

    def _take_back(self, name: str, former: Mapping[str, msgspec.Raw]) -> None:
        """Another model has been switched since: what the file says of it stays."""
        entries = {**(self.read() or {}), **({name: former[name]} if name in former else {})}
        if name not in former:
            entries.pop(name, None)
        self._write(active_file.encode(entries))

    def _put_back(self, content: bytes | None) -> None:
        if content is None:
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        else:
            self._write(content)

    async def _refusing(self, model: Model) -> set[str]:
        """The proxies that refuse what stands in the file now: their refusal says nothing of the next one."""
        answers = await asyncio.gather(*(self._shares(base, model.name) for base in self._proxies))
        told = zip(self._proxies, answers, strict=True)
        return {base for base, answer in told if not isinstance(answer, str) and answer[1]}

    async def _refused_by(
        self, model: Model, after: Entry, refused_already: set[str], away: dict[str, str]
    ) -> str | None:
        """Why a proxy does not take it. One that cannot be asked takes it when it starts: it is put down as `away`."""
        answers = await asyncio.gather(
            *(self._confirmed(base, model, after, base in refused_already, away) for base in self._proxies)
        )
        return next((answer for answer in answers if answer is not None), None)

    async def _confirmed(
        self, base: str, model: Model, after: Entry, refused_already: bool, away: dict[str, str]
    ) -> str | None:
        wanted, ends = shares_of(after, model), time.monotonic() + CONFIRM_SECONDS
        while time.monotonic() < ends:
            told = await self._shares(base, model.name)
            if isinstance(told, str):
                away[base] = told
                return None
            if told[0] == wanted:
                return None
            if told[1] and not refused_already:
                return f"the proxy at {base} refuses it; its log says why, for example that a version fails its probe"
            await asyncio.sleep(_LOOK_SECONDS)
        return (
            f"the proxy at {base} has not taken it after {CONFIRM_SECONDS:g} s; its log says why, "
            "or it reads another state_dir"
        )

    async def _shares(self, base: str, model: str) -> tuple[dict[str, float], bool] | str:
        """Each version's share of the requests, and whether the proxy refuses the file; or why it cannot be asked."""
        if self._session is None:
            return "nobody asks it"
        try:
            timeout = aiohttp.ClientTimeout(total=2)
            async with self._session.get(
                f"{base.rstrip('/')}/metrics", headers=self._headers, timeout=timeout
            ) as answer:
                if answer.status != 200:
                    return f"it answered {answer.status}"
                return shares_in(await answer.text(), model)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return why(error)


def shares_of(entry: Entry, model: Model) -> dict[str, float]:
    """As the proxy shows them: every version's, rounded as weights are compared."""
    return {
        version: round(entry.weights.get(version, 0.0), 3) if entry.mode == "serve" else 0.0
        for version in model.targets
    }


def shares_in(text: str, model: str) -> tuple[dict[str, float], bool]:
    """`inference_traffic_ratio` of a model, and its `inference_active_refused`, out of a proxy's metrics."""
    shares: dict[str, float] = {}
    refused = False
    for line in text.splitlines():
        if not line.startswith(("inference_traffic_ratio{", "inference_active_refused{")):
            continue
        family, _, rest = line.partition("{")
        labels_text, _, value = rest.rpartition("} ")
        # Names of models and versions hold no quotes and no commas: the configuration sees to that.
        labels: dict[str, Any] = dict(part.split("=", 1) for part in labels_text.split(","))
        if labels.get("model") != f'"{model}"':
            continue
        if family == "inference_active_refused":
            refused = float(value) > 0
        else:
            shares[labels["version"].strip('"')] = round(float(value), 3)
    return shares, refused


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
