"""Captured exchanges to queued events: extract, pseudonymise, encode, queue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from configuration import Configuration
from events.codec import encode
from events.headers import InferenceHeaders
from events.inference import ROLES, InferenceEvent, Role
from proxy.counters import Counters
from proxy.emitter.extract import extract
from proxy.emitter.pseudonym import Pseudonymiser
from proxy.emitter.queue import EventQueue, Queues
from proxy.frames import Captured
from proxy.keys import Keys
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

    def refer(self, names: tuple[str, ...], pseudonymiser: Pseudonymiser) -> None:
        """Go over to another reference."""
        self._names, self._pseudonymiser = names, pseudonymiser

    def take(self, captured: Captured) -> bool:
        """Queue the exchange's event; False where the queue has no room for it."""
        extracted = extract(captured, self._names)
        if extracted.missing is not None:
            self._cells[self._unextracted[extracted.missing]] += 1
        event = InferenceEvent(
            id=captured.id,
            request_id=captured.request_id,
            role=captured.role,
            model=captured.model,
            version=captured.version,
            tenant=captured.tenant,
            time=captured.time,
            latency_seconds=captured.latency_seconds,
            status=captured.status,
            outcome=captured.outcome,
            fraction=captured.fraction,
            sampled=captured.sampled,
            truncated=captured.request_truncated or captured.answer_truncated,
            instances=extracted.instances,
        )
        self._pseudonymiser.apply(event)
        return self.queue.offer(encode(event), self._headers(event.id, event.time), int(event.time * 1000))


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
        for name in (model.name for model in configuration.models):
            features, pseudonymiser = self._reading(references.get(name))
            for role in ROLES:
                self._sources[name, role] = Source(name, role, features, pseudonymiser, queues[name, role], counters)

    def refer(self, model: str, profile: Profile) -> None:
        """Read and hide one model's exchanges by another profile from now on."""
        features, pseudonymiser = self._reading(profile)
        for role in ROLES:
            self._sources[model, role].refer(features, pseudonymiser)

    def _reading(self, profile: Profile | None) -> tuple[tuple[str, ...], Pseudonymiser]:
        """How a model's exchanges are read: the features' names, and what hides their strings."""
        pseudonymiser = Pseudonymiser(self._keys.derived("pseudonym"), self._keys.key_id, profile)
        return tuple(profile.features) if profile is not None else (), pseudonymiser

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
            except Exception:  # one event must not end its worker's stream
                _log.exception("an exchange could not be made an event")
                source.queue.lose(1, "unencodable")
        for source in touched:
            source.queue.show()
