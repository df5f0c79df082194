"""Events that wait in a real Kafka: a model of so many features, its reference, and traffic made from a seed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaProducer
from numpy.typing import NDArray

from events.codec import encode
from events.headers import InferenceHeaders
from events.inference import InferenceEvent, Instance, Role
from events.topics import TOPIC_OF_ROLE
from reference.columns import column_of
from reference.profile import Binning, Profile, save

MODEL: Final = "fraud"
SHADOW_EVERY: Final = 20
"""Of so many requests of production one is cloned."""
REFERENCE_ROWS: Final = 10_000
CATEGORIES: Final = ("DE", "FR", "US", "GB", "IT", "ES", "PL", "NL")
_PLACE: Final = "0" * 36
_BATCH_BYTES: Final = 512 * 1024
FIRST_TIME: Final = 1_790_000_000.0

Values = Mapping[str, NDArray[Any]]


class Traffic:
    """Rows of a model's features: four of five numeric, in turn normal, log-normal, t₂ and uniform, the rest texts."""

    def __init__(self, features: int, seed: int) -> None:
        self.names: Final = [
            f"category_{number // 5}" if number % 5 == 4 else f"number_{number}" for number in range(features)
        ]
        self._chance = np.random.default_rng(seed)

    def rows(self, count: int, shift: Mapping[str, float] | None = None) -> dict[str, NDArray[Any]]:
        """So many, by column; `shift` is added to some of the numeric ones, in standard deviations of the normal."""
        chance = self._chance
        shapes = (
            lambda: chance.normal(size=count),
            lambda: chance.lognormal(size=count),
            lambda: chance.standard_t(2, size=count),
            lambda: chance.random(count),
        )
        found: dict[str, NDArray[Any]] = {}
        for number, name in enumerate(self.names):
            if name.startswith("category"):
                found[name] = chance.choice(CATEGORIES, count, p=_falling(len(CATEGORIES)))
            else:
                found[name] = shapes[number % 5]() + (shift or {}).get(name, 0.0)
        found["prediction"] = chance.beta(2, 5, count)
        return found


def reference_of(rows: Values) -> Profile:
    """The profile of these rows."""
    columns = {name: column_of(values.tolist(), Binning()) for name, values in rows.items()}
    features = {name: column for name, column in columns.items() if column is not None and name != "prediction"}
    return Profile(1, len(rows["prediction"]), Binning(), features, columns["prediction"])


def configure(folder: Path, kafka: str, listen: int, reference: Profile, tenants: Sequence[str] = ()) -> Path:
    """A configuration of one model with a shadow, all else as the defaults are."""
    folder.mkdir(parents=True, exist_ok=True)
    save(reference, folder / "reference.json")
    targets = {"v2": {"url": "http://127.0.0.1:1"}, "v1": {"url": "http://127.0.0.1:2"}}
    model: dict[str, Any] = {"name": MODEL, "targets": targets, "production": "v2", "shadow": "v1"}
    model["reference"] = "reference.json"
    if tenants:
        model["tenant"] = {"allow": list(tenants)}
    document = {
        "kafka": {"bootstrap_servers": kafka},
        "state_dir": "state/",
        "exporter": {"listen": f"127.0.0.1:{listen}"},
        "models": [model],
    }
    file = folder / "shadowdrift.yaml"
    file.write_text(json.dumps(document, indent=1))  # JSON is YAML too
    return file


def bodies(rows: Values, role: Role, tenant: str | None = None, time: float = FIRST_TIME) -> list[bytes]:
    """One event of one instance for each row; all have the same id, which `stamped` replaces, and the same time."""
    names = [name for name in rows if name != "prediction"]
    columns = [rows[name].tolist() for name in names]
    made = []
    for number, (prediction, *values) in enumerate(zip(rows["prediction"].tolist(), *columns, strict=True)):
        event = InferenceEvent(
            id=_PLACE,
            request_id=_PLACE,
            role=role,
            model=MODEL,
            version="v2" if role == "production" else "v1",
            tenant=tenant,
            time=time,
            latency_seconds=0.0123,
            status=200,
            outcome="ok",
            fraction=0.05,
            sampled=role == "production" and number % SHADOW_EVERY == 0,
            key_id="k1",
            instances=[Instance(dict(zip(names, values, strict=True)), prediction)],
        )
        made.append(encode(event))
    return made


def new_ids(count: int) -> list[str]:
    """Of so many exchanges."""
    return [str(uuid.uuid4()) for _ in range(count)]


def stamped(templates: Sequence[bytes], ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """An event with each of these ids, out of the templates, over and over."""
    for number, event_id in enumerate(ids):
        yield event_id, templates[number % len(templates)].replace(_PLACE.encode(), event_id.encode())


class Writer:
    """Writes events to the partition 0 of their topic, in batches that were made before."""

    def __init__(self, kafka: str) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_batch_size=_BATCH_BYTES)

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """End."""
        await self._producer.stop()

    def batches(self, role: Role, events: Iterator[tuple[str, bytes]]) -> list[Any]:
        """Kafka's batches of these events, with the headers that the emitter gives them."""
        headers, made = InferenceHeaders(MODEL, role), []
        batch = self._producer.create_batch()
        for event_id, body in events:
            fields = {"key": MODEL.encode(), "value": body, "timestamp": None}
            given = headers(event_id, FIRST_TIME)
            if batch.append(**fields, headers=given) is None:
                made.append(batch)
                batch = self._producer.create_batch()
                batch.append(**fields, headers=given)
        return [*made, batch]

    async def write(self, role: Role, batches: Sequence[Any]) -> None:
        """Have all of them acknowledged."""
        waiting = [await self._producer.send_batch(batch, TOPIC_OF_ROLE[role], partition=0) for batch in batches]
        for each in waiting:
            await each


def _falling(count: int) -> NDArray[np.float64]:
    weights = 1 / np.arange(1, count + 1)
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares
