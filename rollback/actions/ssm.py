"""The action `ssm`: a parameter in AWS's store names the version, for every host that follows it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from active.file import Entry
from configuration import Model
from configuration.rollback import MODEL, Ssm
from lifecycle.refusal import Refusal
from rollback.actions.action import ActionError, Undo, main_version

PAUSED: Final = "paused"


class Parameter:
    """Writes and reads one parameter for each model: `v1`, or `v1 paused`."""

    name = "ssm"
    irreversible: str | None = None

    def __init__(self, settings: Ssm) -> None:
        """Raises `Refusal` without boto3, or without what it needs."""
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise Refusal("rollback.ssm needs boto3: pip install 'shadowdrift[ssm]'") from None
        self._settings = settings
        self._errors: tuple[type[Exception], ...] = (BotoCoreError, ClientError, ValueError)
        seconds = float(settings.timeout)
        try:
            self._client: Any = boto3.client(
                "ssm",
                region_name=settings.region,
                endpoint_url=settings.endpoint,
                config=Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 2}),
            )
        except self._errors as error:
            raise Refusal(f"rollback.ssm: {error}; name rollback.ssm.region, or set AWS_DEFAULT_REGION") from None

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    async def apply(self, model: Model, before: Entry, after: Entry) -> Undo:
        """Put the version's name. A canary's shares cannot be said there."""
        if len(after.asked) > 1:
            raise ActionError("ssm: the parameter names one version, not shares of several")
        former = await self.read(model)

        async def undo() -> None:
            await self._put(model, written(before) if former is None else former)

        try:
            await self._put(model, written(after))
        except ActionError:
            with contextlib.suppress(ActionError):  # an answer that did not come in time may have been a success
                await undo()
            raise
        return undo

    async def read(self, model: Model) -> str | None:
        """What the parameter says; None where it does not exist. Raises `ActionError`."""
        try:
            answer = await asyncio.to_thread(self._client.get_parameter, Name=self._name(model))
        except self._errors as error:
            response = getattr(error, "response", None) or {}  # without an answer there is one too, and it is None
            if response.get("Error", {}).get("Code") == "ParameterNotFound":
                return None
            raise ActionError(f"ssm: {self._name(model)} cannot be read: {_words(error)}") from None
        return str(answer["Parameter"]["Value"])

    async def _put(self, model: Model, value: str) -> None:
        try:
            await asyncio.to_thread(
                self._client.put_parameter, Name=self._name(model), Value=value, Type="String", Overwrite=True
            )
        except self._errors as error:
            raise ActionError(f"ssm: {self._name(model)} cannot be written: {_words(error)}") from None

    def _name(self, model: Model) -> str:
        return self._settings.parameter.replace(MODEL, model.name)


def written(entry: Entry) -> str:
    """An entry as the parameter says it."""
    return main_version(entry) + (f" {PAUSED}" if entry.mode == "paused" else "")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
