"""The label event: the truth about one request's instances, which arrives long after the answer."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Label: TypeAlias = float | int | str | bool | None


class LabelsEvent(msgspec.Struct, kw_only=True):
    """The true outcome of each instance of the exchange `id`, in the order of its instances.

    A null is an instance whose truth is not known. `time`: when the truth was known, in seconds since 1970.
    """

    id: str
    model: str
    time: float
    labels: list[Label]
