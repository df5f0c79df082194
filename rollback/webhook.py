"""Alertmanager's webhook, version 4: what it must be like to be believed at all.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

MAX_BYTES: Final = 16 * 1024 * 1024
"""Ten thousand alerts with all their texts are half of it."""

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Alert(msgspec.Struct, frozen=True):
    """One alert of a delivery. Times are aware; an end that is not known yet is the year 1."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    fingerprint: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    starts_at: Time = msgspec.field(name="startsAt")
    ends_at: Time = msgspec.field(name="endsAt")
    annotations: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.labels.get("alertname", "")

    @property
    def model(self) -> str:
        """The model it is about; empty where it names none."""
        return self.labels.get("model", "")

    @property
    def started(self) -> float:
        """Seconds since 1970."""
        return self.starts_at.timestamp()

    @property
    def ended(self) -> float | None:
        """Seconds since 1970; None while no end is known."""
        return None if self.ends_at.year <= 1 else self.ends_at.timestamp()


class Delivery(msgspec.Struct, frozen=True):
    """One call of Alertmanager's."""

    version: Literal["4"]
    status: Literal["firing", "resolved"]
    receiver: str
    group_key: str = msgspec.field(name="groupKey")
    alerts: Annotated[tuple[Alert, ...], msgspec.Meta(min_length=1)]


class MalformedError(ValueError):
    """It is no webhook of version 4; the message is one line that says why."""


_decoder = msgspec.json.Decoder(Delivery)


def decode(body: bytes) -> Delivery:
    """Read a call's body. Raises `MalformedError`."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as error:
        raise MalformedError(f"not a webhook of version 4: {' '.join(str(error).split())[:200]}") from None
