"""Captured exchanges to queued events: extract, pseudonymise, encode, queue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from configuration import Configuration, Schema
from events.codec import encode
from events.headers import InferenceHeaders
from events.inference import ROLES, InferenceEvent, Role
from logs.lines import told
from privacy.keys import Keys
from proxy.checked import BODY, FeatureSchema
from proxy.counters import Counters
from proxy.emitter.extract import Extracted, extract
from proxy.emitter.pseudonym import Pseudonymiser
from proxy.emitter.queue import EventQueue, Queues
from proxy.emitter.tenants import BodyTenant
from proxy.frames import Captured
from proxy.layout import UNEXTRACTED
from reference.profile import Profile

_log = logging.getLogger("shadowdrift.emitter")


class Source:
    """One model's exchanges in one role: all that is the same for each of them, looked up once."""

    def __init__(
        self,
        model: str,
        role: Role,
        names: tuple[str, ...],
        pseudonymiser: Pseudonymiser,
        queue: EventQueue,
        counters: Counters,
        tenant: BodyTenant | None = None,
        schema: Schema | None = None,
    ) -> None:
        place = counters.layout.place
        self.queue = queue
        self.received = [
            place("events_received", *labels)
            for labels, _ in counters.layout.series("events_received")
            if labels[1:] == (model, role)
        ]
        """By the worker's index."""
        self._unextracted = {reason: place("events_unextracted_total", model, role, reason) for reason in UNEXTRACTED}
        self._cells = counters.cells
        self._names = names
        self._pseudonymiser = pseudonymiser
        self._headers = InferenceHeaders(model, role)
        self._tenant = tenant
        self._schema = FeatureSchema(schema) if schema is not None else None
        broken = schema.breakable if schema is not None else ()
        self._broken = {each: place("proxy_schema_violations_total", model, *each) for each in broken}

    def refer(self, names: tuple[str, ...], pseudonymiser: Pseudonymiser) -> None:
        """Go over to another reference."""
        self._names, self._pseudonymiser = names, pseudonymiser

    def take(self, captured: Captured) -> bool:
        """Queue the exchange's event; False where the queue has no room for it."""
        extracted = extract(captured, self._names)
        if extracted.missing is not None:
            self._cells[self._unextracted[extracted.missing]] += 1
        if self._schema is not None:
            self._check(self._schema, extracted)
        event = InferenceEvent(
            id=captured.id,
            request_id=captured.request_id,
            role=captured.role,
            model=captured.model,
            version=captured.version,
            tenant=captured.tenant if captured.tenant is not None or self._tenant is None else self._tenant(captured),
            time=captured.time,
            latency_seconds=captured.latency_seconds,
            status=captured.status,
            outcome=captured.outcome,
            fraction=captured.fraction,
            sampled=captured.sampled,
            truncated=captured.request_truncated or captured.answer_truncated,
            instances=extracted.instances,
        )
        if captured.headers:
            event.headers = captured.headers
        self._pseudonymiser.apply(event)
        return self.queue.offer(encode(event), self._headers(event.id, event.time), int(event.time * 1000))

    def _check(self, schema: FeatureSchema, extracted: Extracted) -> None:
        """Count what the instances break; they go on as they are."""
        cells, places = self._cells, self._broken
        if extracted.missing in {"not_json", "shape"} and not extracted.instances:
            cells[places[BODY]] += 1
        for instance in extracted.instances:
            for broken in schema.broken(instance.features, instance.invalid):
                cells[places[broken]] += 1


class Intake:
    """What every worker's stream hands over."""

    def __init__(
        self,
        configuration: Configuration,
        references: Mapping[str, Profile],
        keys: Keys,
        counters: Counters,
        queues: Queues,
        loss_reason: Callable[[], str],
    ) -> None:
        """`loss_reason` tells why an event that a queue has no room for is lost."""
        self._counters = counters
        self._loss_reason = loss_reason
        self._keys = keys
        self._sources: dict[tuple[str, str], Source] = {}
        self._models = {model.name: model for model in configuration.models}
        for name, model in self._models.items():
            features, pseudonymiser = self._reading(name, references.get(name))
            tenant = BodyTenant(model.tenant) if model.tenant is not None and model.tenant.body is not None else None
            for role in ROLES:
                # A clone is the same request once more.
                schema = model.schema if role == "production" else None
                self._sources[name, role] = Source(
                    name, role, features, pseudonymiser, queues[name, role], counters, tenant, schema
                )

    def refer(self, model: str, profile: Profile) -> None:
        """Read and hide one model's exchanges by another profile from now on."""
        features, pseudonymiser = self._reading(model, profile)
        for role in ROLES:
            self._sources[model, role].refer(features, pseudonymiser)

    def _reading(self, name: str, profile: Profile | None) -> tuple[tuple[str, ...], Pseudonymiser]:
        """How a model's exchanges are read: the features' names, and what hides what must not leave in clear."""
        model = self._models[name]
        pseudonymiser = Pseudonymiser(self._keys, profile, model.privacy, model.text)
        schema = tuple(model.schema.fields) if model.schema is not None else ()
        return profile.inputs if profile is not None else schema, pseudonymiser

    def stream_opened(self, worker: int) -> None:
        """A worker has said who it is. Raises ValueError for one that the configuration does not have."""
        self._count_stream(worker, 1)

    def stream_ended(self, worker: int) -> None:
        """Nothing more comes on this stream: all that was whole on it is counted as received."""
        self._count_stream(worker, -1)

    def _count_stream(self, worker: int, change: int) -> None:
        try:
            place = self._counters.layout.place("emitter_streams", str(worker))
        except KeyError:
            raise ValueError(f"a stream of worker {worker}, which is none") from None
        self._counters.cells[place] += change
        self._counters.changed()

    def take(self, batch: list[Captured], worker: int = 0) -> None:
        """Queue one event for each; what a queue has no room for is lost, and counted."""
        cells, sources = self._counters.cells, self._sources
        touched = set()
        for captured in batch:
            source = sources[captured.model, captured.role]
            cells[source.received[worker]] += 1
            touched.add(source)
            try:
                if not source.take(captured):
                    source.queue.lose(1, self._loss_reason())
            except Exception as error:  # one event must not end its worker's stream
                _log.error("an exchange could not be made an event", extra={"fields": told(error)})
                source.queue.lose(1, "unencodable")
        for source in touched:
            source.queue.show()
