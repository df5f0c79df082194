"""Models, profiles, events and messages for the exporter's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from configuration.model import Model, Target, Tenant, Window
from events.codec import encode
from events.headers import inference_headers
from events.inference import InferenceEvent, Instance
from events.partitions import partition_of
from events.topics import TOPIC_OF_ROLE
from exporter.reading.intake import Intake
from exporter.reading.outbox import Message
from exporter.windows.measured import measured_models
from exporter.windows.models import ModelState
from reference.columns import column_of
from reference.profile import Binning, Profile

PARTITIONS = 4
_numbers = count()


def profile(rows: int = 1_000, seed: int = 1, names: Sequence[str] = ("amount", "country")) -> Profile:
    """A numeric feature (normal), a categorical one (DE, FR, US) and a numeric prediction (uniform)."""
    chance = np.random.default_rng(seed)
    amount, country = names
    features = {
        amount: column_of(chance.normal(size=rows).tolist(), Binning()),
        country: column_of(chance.choice(["DE", "FR", "US"], rows).tolist(), Binning()),
    }
    prediction = column_of(chance.random(rows).tolist(), Binning())
    return Profile(1, rows, Binning(), {name: column for name, column in features.items() if column}, prediction)


def model(name: str = "fraud", *, size: int = 100, tenants: Sequence[str] = (), **settings: Any) -> Model:
    """A model with a production and a shadow version."""
    targets = {"v2": Target(url="http://localhost:1"), "v1": Target(url="http://localhost:2")}
    tenant = Tenant(allow=tuple(tenants), thresholds=settings.pop("thresholds", {})) if tenants else None
    given = {"production": "v2", "shadow": "v1", "tenant": tenant, "window": Window(size), **settings}
    return Model(name=name, targets=targets, **given)


def event(*instances: Mapping[str, Any], **fields: Any) -> InferenceEvent:
    """An accepted answer of production to `fraud`, one instance for each mapping of features; ids are unique."""
    number = next(_numbers)
    fields = {"id": f"id-{number}", "role": "production", "model": "fraud", "version": "v2", "outcome": "ok"} | fields
    fields = {"time": 1_790_000_000.0 + number} | fields
    prediction = fields.pop("prediction", 0.5)
    return InferenceEvent(instances=[Instance(dict(each), prediction) for each in instances], **fields)


@dataclass(frozen=True)
class Record:
    """A message as a consumer gives it."""

    value: bytes | None
    topic: str = "inference.production"
    partition: int = partition_of("fraud", PARTITIONS)
    offset: int = 0
    key: bytes | None = b"fraud"
    headers: Sequence[tuple[str, bytes]] = ()


def record(made: InferenceEvent, **fields: Any) -> Record:
    """An event's message, on its own partition unless told otherwise."""
    place = {"topic": TOPIC_OF_ROLE[made.role], "partition": partition_of(made.model, PARTITIONS)}
    return Record(encode(made), **{"headers": tuple(inference_headers(made)), **place, **fields})


class Desk:
    """An intake that owns its models' partitions, and what it sent on."""

    def __init__(self, *models: Model, profiles: Sequence[Profile | None] = ()) -> None:
        self.sent: list[Message] = []
        self.full = False
        models = models or (model(),)
        self.intake = Intake(measured_models(models, profiles or [profile()] * len(models)), self._send)
        self.intake.place(PARTITIONS)
        for measured in self.intake.models.values():
            self.intake.own(ModelState(measured))

    def _send(self, message: Message) -> bool:
        self.sent.append(message)
        return not self.full

    def take(self, *records: Record, sent_below: int = 0) -> None:
        """Take all of them, each partition's at once."""
        places = {(each.topic, each.partition): None for each in records}
        for place in places:
            mine = [each for each in records if (each.topic, each.partition) == place]
            assert self.intake.take(mine, 0, sent_below, 3600.0) == len(mine)

    def window(self, tenant: str = "_all", role: str = "production", name: str = "fraud") -> Any:
        """One window."""
        return self.intake.owned[name].roles[role].windows[tenant]  # type: ignore[index]
