"""The exporter's and the proxy's own objects, driven event by event on a clock of their own, and scraped.

Everything from the message's bytes to the text of `/metrics` is the code that runs; what is played is Kafka, the two
models' latencies, and the clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.silence.flights import Answered, World
from configuration.reading import convert
from demo.labels import DELAY_SECONDS
from demo.parts import MODEL, TOLERANCE, WINDOW
from events.codec import encode
from events.headers import inference_headers, labels_headers
from events.inference import InferenceEvent, Role
from events.labels import LabelsEvent
from events.obstacles import Obstacle
from events.topics import LABELS, TOPIC_OF_ROLE
from evidence.document import Evidence
from exporter.reading.intake import Intake
from exporter.showing.collect import Collector
from exporter.showing.comparisons import Comparer
from exporter.showing.evidence import Witness
from exporter.windows.measured import measured_models
from exporter.windows.models import ModelState
from proxy.counters import Counters, SharedCounters, buckets, shared_file
from proxy.layout import LATENCY_EDGES, Key, Layout
from proxy.routing.active import Order
from proxy.routing.serving import VersionPlaces
from proxy.supervision.exposition import ProxyMetrics
from proxy.supervision.totals import Process, Totals

BEGINS: Final = 1_790_000_000.0
"""Seconds since 1970 at which every run begins."""
FRACTION: Final = 0.05
MEDIAN_SECONDS: Final = 0.004
"""Of both models' latencies, which are log-normal."""

CONFIGURATION: Final = convert(
    {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "models": [
            {
                "name": MODEL,
                "targets": {version: {"url": "http://127.0.0.1:1"} for version in ("v2", "v1")},
                "production": "v2",
                "shadow": "v1",
                "stable": "v1",
                "mirror": {"fraction": FRACTION},
                "window": {"size": WINDOW},
                "pairs": {"tolerance": TOLERANCE},
            }
        ],
    },
    Path("/nowhere"),
    "bench.silence",
)


class _Record:
    partition, key = 0, MODEL.encode()
    __slots__ = ("headers", "offset", "topic", "value")

    def __init__(self, topic: str, offset: int, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        self.topic, self.offset, self.value, self.headers = topic, offset, value, headers


class Exporter:
    """What `shadowdrift exporter` is made of, with nothing between it and its log."""

    obstacle: Obstacle | None = None

    def __init__(self, world: World) -> None:
        (measured,) = measured_models(CONFIGURATION.models, [world.profile])
        self.now = BEGINS
        self.intake: Final = Intake([measured], lambda _: True)
        self.intake.place(1)
        self.state: Final = ModelState(measured)
        self.intake.own(self.state)
        comparer = Comparer()
        self._collector = Collector(self.intake, self, self._clock, self._clock, comparer)
        self._witness = Witness(self.intake, self, comparer, self._clock)
        self._offsets = dict.fromkeys((*TOPIC_OF_ROLE.values(), LABELS), 0)
        self._headers: dict[str, Sequence[tuple[str, bytes]]] = {}

    def _clock(self) -> float:
        return self.now

    def lag(self) -> Mapping[tuple[str, int], int]:
        """Nothing waits."""
        return {(topic, 0): 0 for topic in self._offsets}

    def certain(self) -> bool:
        """Nobody else measures."""
        return True

    def take(self, topic: str, events: Sequence[InferenceEvent | LabelsEvent]) -> None:
        """Read so many messages of a topic. All have the first one's headers, of which nothing but the type is read."""
        if not events:
            return
        if topic not in self._headers:
            first = events[0]
            made = inference_headers(first) if isinstance(first, InferenceEvent) else labels_headers(first)
            self._headers[topic] = tuple(made)
        headers, offset = self._headers[topic], self._offsets[topic]
        records = [_Record(topic, offset + each, encode(event), headers) for each, event in enumerate(events)]
        self._offsets[topic] += len(records)
        done = 0
        while done < len(records):
            done = self.intake.take(records, done, 0, 3600.0)

    def metrics(self) -> bytes:
        """The exposition."""
        return self._collector.metrics()

    def evidence(self) -> Evidence:
        """The document that the rollback asks for."""
        found = self._witness.of(MODEL)
        assert found is not None
        return found

    @property
    def full(self) -> bool:
        """Whether production's window has its size."""
        window = self.state.roles["production"].windows["_all"]
        return window.filled == window.size


class Proxy:
    """What the proxy counts, in the layout and the words of the proxy; `serving` is who answers."""

    def __init__(self, seed: int) -> None:
        layout = Layout(CONFIGURATION)
        loop = asyncio.new_event_loop()
        loop.close()  # nothing is published but by hand
        descriptor = shared_file(2, layout)
        shared, totals = SharedCounters(descriptor, 2, layout), Totals()
        self._worker, self._emitter = (Counters(descriptor, slot, layout, loop) for slot in range(2))
        totals.begin(Process("worker", shared, 0))
        totals.begin(Process("emitter", shared, 1))
        self._metrics = ProxyMetrics(CONFIGURATION, totals)
        self._layout = layout
        self._moving = [entry for entry in layout.entries() if entry[1].kind in {"counter", "histogram"}]
        self._shown: dict[Key, list[int]] = {}
        self._chance = np.random.default_rng([seed, 9])
        self.serving = "v2"

    def switch(self, version: str, reason: str) -> None:
        """Another version answers from now on."""
        self.serving = version
        self._metrics.active.take(MODEL, Order({version: 1.0}, "serve", reason, 1))

    def sampled(self, count: int) -> NDArray[np.bool_]:
        """Which of so many requests are chosen to be cloned."""
        return np.asarray(self._chance.random(count) < FRACTION)

    def answered(self, role: Role, version: str, count: int) -> None:
        """So many requests have been answered, captured, and delivered to Kafka."""
        if not count:
            return
        cells, place = self._worker.cells, self._layout.place
        places = VersionPlaces.of(self._layout, MODEL, version, role)
        cells[places.ok] += count
        for first, scale in ((places.latency, 1.0), (places.first_byte, 0.9)):
            seconds = self._chance.lognormal(np.log(MEDIAN_SECONDS * scale), 0.5, count)
            buckets = np.bincount(np.searchsorted(LATENCY_EDGES, seconds), minlength=len(LATENCY_EDGES) + 1)
            for number, found in enumerate(buckets.tolist()):
                cells[first + number] += found
            cells[first + len(LATENCY_EDGES) + 1] += int(seconds.sum() * 1e9)
        for name in ("events_captured_total", "events_handed"):
            cells[place(name, MODEL, role)] += count
        self._emitter.cells[place("events_received", "0", MODEL, role)] += count
        self._emitter.cells[place("events_delivered_total", MODEL, role)] += count

    def chosen(self, count: int) -> None:
        """So many were chosen to be cloned; whoever is production's own version is not asked twice."""
        names = ("mirror_sampled_total", "mirror_sent_total", "mirror_completed_total")
        for name in names[:1] if self.serving == "v1" else names:
            self._worker.cells[self._layout.place(name, MODEL)] += count
        if self.serving == "v1":
            self._worker.cells[self._layout.place("mirror_dropped_total", MODEL, "same_version")] += count
        else:
            self.answered("shadow", "v1", count)

    def metrics(self) -> bytes:
        """The exposition."""
        self._worker.publish()
        self._emitter.publish()
        return self._metrics.text()

    def changed(self) -> Iterator[tuple[str, float]]:
        """The samples of counters and histograms that are not as they were when this was asked last.

        The whole exposition takes longer than the events between two of them, and hardly any of it changes.
        """
        worker, emitter = self._worker.cells.tolist(), self._emitter.cells.tolist()
        for key, family, place in self._moving:
            end = place + family.cells
            cells = [one + other for one, other in zip(worker[place:end], emitter[place:end], strict=True)]
            if self._shown.get(key) != cells:
                self._shown[key] = cells
                labels = dict(zip(family.labels, key[1:], strict=True))
                if family.kind == "counter":
                    yield _sample(family.name, labels), float(cells[0])
                    continue
                counts, seconds = buckets(cells, 0)
                for edge, count in zip((*map(str, LATENCY_EDGES), "+Inf"), counts, strict=True):
                    yield _sample(f"{family.name}_bucket", {**labels, "le": edge}), float(count)
                yield _sample(f"{family.name}_count", labels), float(counts[-1])
                yield _sample(f"{family.name}_sum", labels), seconds


class Played:
    """Both, under the same traffic; labels come as late as in the demo."""

    def __init__(self, world: World) -> None:
        self.exporter: Final = Exporter(world)
        self.proxy: Final = Proxy(world.seed)
        self.requests = 0
        self._labels: deque[tuple[float, str, list[int]]] = deque()

    def pass_on(self, requests: Sequence[tuple[float, Answered, Sequence[int]]], now: float) -> None:
        """Let requests be answered until `now`: when each was sent, and which flights of which table it is about."""
        sampled = self.proxy.sampled(len(requests)).tolist()
        version = self.proxy.serving
        events: list[InferenceEvent] = []
        clones: list[InferenceEvent] = []
        for (at, table, which), chosen in zip(requests, sampled, strict=True):
            identity = f"{self.requests:032x}"
            self.requests += 1
            cloned = chosen and version != "v1"
            events.append(_event(identity, "production", version, BEGINS + at, table, which, cloned))
            if cloned:
                clones.append(_event(identity, "shadow", "v1", BEGINS + at, table, which, False))
            self._labels.append((at + DELAY_SECONDS, identity, [table.truths[each] for each in which]))
        self.proxy.answered("production", version, len(events))
        self.proxy.chosen(sum(sampled))
        self.exporter.take(TOPIC_OF_ROLE["production"], events)
        self.exporter.take(TOPIC_OF_ROLE["shadow"], clones)
        due: list[LabelsEvent] = []
        while self._labels and self._labels[0][0] <= now:
            at, identity, truths = self._labels.popleft()
            due.append(LabelsEvent(id=identity, model=MODEL, time=BEGINS + at, labels=[*truths]))
        self.exporter.take(LABELS, due)
        self.exporter.now = BEGINS + now


def _sample(name: str, labels: Mapping[str, str]) -> str:
    """As the proxy's exposition writes it: labels by their names."""
    inside = ",".join(f'{each}="{labels[each]}"' for each in sorted(labels))
    return f"{name}{{{inside}}}"


def _event(
    identity: str, role: Role, version: str, time: float, table: Answered, which: Sequence[int], sampled: bool
) -> InferenceEvent:
    instances: list[Any] = [table.instances[version][each] for each in which]
    return InferenceEvent(
        id=identity, role=role, model=MODEL, version=version, time=time, latency_seconds=MEDIAN_SECONDS, status=200,
        outcome="ok", fraction=FRACTION, sampled=sampled, instances=instances,
    )  # fmt: skip
