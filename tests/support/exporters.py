"""Exporters as processes beside an uninterrupted one, fed and scraped throughout, to be killed, stopped and multiplied.

The uninterrupted one is an intake in this process that reads the same topics from their beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from configuration.reading import load
from events.brokers import Brokers
from events.codec import encode
from events.headers import inference_headers, labels_headers
from events.inference import InferenceEvent, Instance
from events.labels import Label, LabelsEvent
from events.obstacles import Obstacle
from events.topics import LABELS, PRODUCTION, SHADOW, TOPIC_OF_ROLE, create
from exporter.reading.intake import Intake
from exporter.showing.collect import Collector
from exporter.showing.exposition import exposition
from exporter.windows.measured import measured_models
from exporter.windows.models import ModelState
from reference.columns import column_of
from reference.profile import Binning, Profile, load_for
from tests.support.kafka import free_ports
from tests.support.waiting import until

NAMES = ("fraud", "churn", "spam", "loans")
"""Each on a partition of its own."""
PARTITIONS = 4
TOPICS = (PRODUCTION, SHADOW, LABELS)
WINDOW = 100
SCRAPES_A_SECOND = 20

Gauges = dict[tuple[str, tuple[tuple[str, str], ...]], float]

_NOT_COMPARED = frozenset({"drift_window_age_seconds", "drift_consumer_lag_events"})
_SAMPLE = re.compile(
    r'(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+)\})? (?P<value>[-+0-9.einfNa]+)'
)
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_EVERYBODYS = frozenset({"drift_reference_info", "drift_psi_threshold"})
"""Gauges of the configuration, which each exporter shows of all models."""


def gauges(text: str) -> Gauges:
    """A scrape's gauges that are the models' own; AssertionError for a scrape that is not whole and valid."""
    assert text.endswith("\n")
    found: Gauges = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds, f"{name} comes twice"
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            sample = _SAMPLE.fullmatch(line)
            assert sample, f"no sample: {line!r}"
            if kinds.get(sample["name"]) == "gauge" and sample["name"].startswith("drift_"):
                series = sample["name"], tuple(sorted(_LABEL.findall(sample["labels"] or "")))
                assert series not in found, f"{series} comes twice"
                found[series] = float(sample["value"])
    return {series: value for series, value in found.items() if series[0] not in _EVERYBODYS}


@dataclass
class Process:
    """One exporter."""

    process: asyncio.subprocess.Process
    url: str
    started: float

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    def send(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def end(self, number: int = signal.SIGTERM) -> None:
        """End it, and wait."""
        self.send(number)
        self.send(signal.SIGCONT)
        await asyncio.wait_for(self.process.wait(), 30)


@dataclass
class Watch:
    """What the scrapes of all exporters have shown."""

    scrapes: int = 0
    faults: list[str] = field(default_factory=list)
    _full: set[tuple[tuple[str, str], ...]] = field(default_factory=set)

    def look(self, texts: dict[str, str]) -> None:
        """Scrapes of one instant, by exporter."""
        owners: dict[str, str] = {}
        for url, text in texts.items():
            self.scrapes += 1
            try:
                if self.scrapes % 50 == 0:  # prometheus-client's parser takes a fifth of a second
                    list(text_string_to_metric_families(text))
                shown = gauges(text)
            except Exception as error:
                self.faults.append(f"{url}: {error!r}")
                continue
            models = {dict(labels)["model"] for name, labels in shown if name == "drift_window_instances"}
            for model in models:
                if model in owners:
                    self.faults.append(f"{model} is shown by {owners[model]} and {url}")
                owners[model] = url
            self._whole(url, shown)

    def _whole(self, url: str, shown: Gauges) -> None:
        """A window that was full once stays so, whoever shows it."""
        for (name, labels), value in shown.items():
            if name == "drift_window_warming":
                if value and labels in self._full:
                    self.faults.append(f"{url}: {labels} warms again")
                if not value:
                    self._full.add(labels)


class Fleet:
    """The exporters of one group."""

    def __init__(self, folder: Path, servers: str, http: aiohttp.ClientSession, seed: int) -> None:
        self.watch = Watch()
        self.processes: list[Process] = []
        self._folder, self._servers, self._http = folder, servers, http
        self._chance = random.Random(seed)
        self._sent: list[InferenceEvent] = []
        self._numbers = iter(range(1 << 62))
        self._producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
        self._uninterrupted = Uninterrupted(servers, self._config(0))

    async def open(self) -> None:
        """Make the topics, and begin to feed and to look."""
        await create(Brokers(self._servers), PARTITIONS, 1)
        await self._producer.start()
        await self._uninterrupted.open()

    async def close(self) -> None:
        """End all that runs."""
        for each in self.processes:
            if each.alive:
                await each.end(signal.SIGKILL)
        await self._producer.stop()
        await self._uninterrupted.close()

    async def start(self, point: str = "never", passes: int = 1, *, armed: bool = False) -> Process:
        """Start one more exporter."""
        (port,) = free_ports(1)
        with (self._folder / "exporters.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.mortal_exporter", str(self._config(port)), point, str(passes)),
                *(["armed"] if armed else []),
                stdout=log,
                stderr=log,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        self.processes = [each for each in self.processes if each.alive]
        self.processes.append(Process(process, f"http://127.0.0.1:{port}", time.monotonic()))
        return self.processes[-1]

    async def ready(self, process: Process, within: float = 60.0) -> float:
        """Wait until an exporter is ready; the seconds since its start."""

        async def answers() -> bool:
            assert process.alive, (self._folder / "exporters.log").read_text()[-3000:]
            async with self._http.get(f"{process.url}/-/ready") as response:
                return response.status == 200

        await until(answers, within, "readiness", tolerating=(aiohttp.ClientError, OSError))
        return time.monotonic() - process.started

    async def feed(self, count: int) -> None:
        """Send so many messages: events of each model, role and tenant, late and early ones, duplicates, poison."""
        for _ in range(count):
            kind = self._chance.random()
            if kind < 0.02:
                topic = self._chance.choice(TOPICS)
                await self._producer.send(topic, b"{", b"fraud", self._chance.randrange(PARTITIONS))
                continue
            if kind < 0.2 and self._sent:
                await self._label(self._chance.choice(self._sent))
                continue
            made = self._chance.choice(self._sent) if kind < 0.3 and self._sent else self._event()
            self._sent = [*self._sent[-50:], made]
            await self._producer.send(
                TOPIC_OF_ROLE[made.role], encode(made), made.model.encode(), headers=inference_headers(made)
            )
        await self._producer.flush()

    async def poison(self, value: bytes) -> tuple[int, int]:
        """Send a message that is no event to production's topic; its partition and offset."""
        sent = await self._producer.send_and_wait(PRODUCTION, value, b"fraud", self._chance.randrange(PARTITIONS))
        return sent.partition, sent.offset

    async def text(self, process: Process) -> str:
        """What an exporter shows; empty of one that does not answer."""
        return await self._text(process) or ""

    @contextlib.asynccontextmanager
    async def fed_and_scraped(self, events_a_second: int = 300) -> AsyncIterator[None]:
        """Feed and scrape all the while."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._feed(events_a_second)), group.create_task(self._scrape())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    @contextlib.asynccontextmanager
    async def scraped(self) -> AsyncIterator[None]:
        """Scrape all the while."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._scrape())
            try:
                yield
            finally:
                task.cancel()

    def describe(self, text: str) -> None:
        """Give the reference another description, which exporters take without beginning anew."""
        reference = self._folder / "reference.json"
        profile = msgspec.json.decode(reference.read_bytes(), type=Profile)
        other = reference.with_suffix(".new")
        other.write_bytes(msgspec.json.encode(msgspec.structs.replace(profile, description=text)))
        other.rename(reference)

    async def differences(self) -> dict[str, tuple[float | None, float | None]]:
        """By series, what the exporters together show and what the uninterrupted one does, where that differs."""
        shown: Gauges = {}
        for text in (await self._texts()).values():
            shown |= gauges(text)
        expected = await self._uninterrupted.gauges()
        return {
            f"{series}": (shown.get(series), expected.get(series))
            for series in shown.keys() | expected.keys()
            if series[0] not in _NOT_COMPARED and shown.get(series) != expected.get(series)
        }

    async def same(self, within: float = 60.0) -> None:
        """Wait until there are none; nothing may be fed meanwhile."""
        found: dict[str, Any] = {}

        async def none() -> bool:
            found.clear()
            found.update(await self.differences())
            return not found

        try:
            await until(none, within)
        except AssertionError:
            raise AssertionError(f"{len(found)} series differ, so {dict(list(found.items())[:10])}") from None

    async def models(self, process: Process) -> set[str]:
        """Which models an exporter shows."""
        texts = await self._texts([process])
        return {dict(labels)["model"] for text in texts.values() for name, labels in gauges(text) if "window" in name}

    async def _feed(self, events_a_second: int) -> None:
        while True:
            await self.feed(max(1, events_a_second // 20))
            await asyncio.sleep(0.05)

    async def _scrape(self) -> None:
        while True:
            self.watch.look(await self._texts())
            await asyncio.sleep(1 / SCRAPES_A_SECOND)

    async def _texts(self, processes: list[Process] | None = None) -> dict[str, str]:
        """A scrape of each exporter that answers."""
        asked = [each for each in (self.processes if processes is None else processes) if each.alive]
        answers = await asyncio.gather(*map(self._text, asked))
        return {each.url: text for each, text in zip(asked, answers, strict=True) if text is not None}

    async def _text(self, process: Process) -> str | None:
        """None of one that is not there, or ends, or sleeps."""
        try:
            async with self._http.get(f"{process.url}/metrics", timeout=aiohttp.ClientTimeout(2)) as response:
                assert response.status == 200
                return await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def _label(self, made: InferenceEvent) -> None:
        labels: list[Label] = [self._chance.choice([0.0, 1.0]) for _ in made.instances]
        truth = LabelsEvent(id=made.id, model=made.model, time=made.time, labels=labels)
        await self._producer.send(LABELS, encode(truth), truth.model.encode(), headers=labels_headers(truth))

    def _event(self) -> InferenceEvent:
        chance, number = self._chance, next(self._numbers)
        features = {"amount": chance.gauss(0, 1 + number / 20_000), "country": chance.choice(["DE", "FR", "US", "XX"])}
        clock = chance.choice([0.0] * 50 + [86_400.0, -86_400.0])
        shadow = chance.random() < 0.3
        asked = chance.choice(self._sent) if shadow and self._sent else None
        if asked is not None and asked.role == "production":
            answer = [Instance(each.features, chance.random()) for each in asked.instances]
            return msgspec.structs.replace(asked, role="shadow", version="v1", outcome="ok", instances=answer)
        return InferenceEvent(
            id=f"{number:032x}",
            role="shadow" if shadow else "production",
            model=chance.choice(NAMES),
            version=chance.choice(["v2"] * 9 + ["v3"]),
            tenant=chance.choice([None, "acme", "acme", "initech", "stranger"]),
            time=1_790_000_000.0 + number / 100 + clock,
            latency_seconds=0.01,
            status=200,
            outcome=chance.choice(["ok"] * 20 + ["error", "log_only"]),  # type: ignore[arg-type]
            sampled=chance.random() < 0.5,
            instances=[Instance(features, chance.random())] * chance.choice([1, 1, 1, 4]),
        )

    def _config(self, port: int) -> Path:
        reference = self._folder / "reference.json"
        if not reference.exists():
            reference.write_bytes(msgspec.json.encode(_profile()))
        models = [
            {
                "name": name,
                "path_prefix": f"/{name}",
                "targets": {"v2": {"url": "http://localhost:1"}, "v1": {"url": "http://localhost:2"}},
                "production": "v2",
                "shadow": "v1",
                "reference": str(reference),
                "window": {"size": WINDOW},
                "tenant": {"header": "X-Tenant-Id", "allow": ["acme", "initech"]},
            }
            for name in NAMES
        ]
        path = self._folder / f"exporter-{port}.yaml"
        whole = {
            "kafka": {"bootstrap_servers": self._servers},
            "models": models,
            "exporter": {"listen": f"127.0.0.1:{port}"},
        }
        path.write_text(json.dumps(whole))
        return path


class Uninterrupted:
    """An exporter that is never interrupted, without endpoints and group."""

    obstacle: Obstacle | None = None

    def __init__(self, servers: str, config: Path) -> None:
        models = load(config).models
        profiles = [load_for(model, index) for index, model in enumerate(models)]
        self._intake = Intake(measured_models(models, profiles), lambda message: True)
        self._intake.place(PARTITIONS)
        for measured in self._intake.models.values():
            self._intake.own(ModelState(measured))
        self._collector = Collector(self._intake, self, time.monotonic, time.time)
        self._consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
        self._partitions = [TopicPartition(topic, number) for topic in TOPICS for number in range(PARTITIONS)]
        self._positions = dict.fromkeys(self._partitions, 0)

    def lag(self) -> dict[tuple[str, int], int]:
        """Of no interest."""
        return {}

    def certain(self) -> bool:
        """Nobody else is there."""
        return True

    async def open(self) -> None:
        """Begin at the beginning."""
        self._consumer.assign(self._partitions)
        await self._consumer.start()
        await self._consumer.seek_to_beginning(*self._partitions)

    async def close(self) -> None:
        """End."""
        await self._consumer.stop()

    async def gauges(self) -> Gauges:
        """After everything that stands in Kafka now."""
        ends = await self._consumer.end_offsets(self._partitions)
        while any(self._positions[each] < ends[each] for each in self._partitions):
            for partition, records in (await self._consumer.getmany(timeout_ms=200)).items():
                self._intake.take(records, 0, 0, 3600.0)
                self._positions[partition] = records[-1].offset + 1
        return gauges(exposition(self._collector.families()).decode())


def _profile() -> Profile:
    chance = random.Random(1)
    columns = {
        "amount": column_of([chance.gauss(0, 1) for _ in range(2000)], Binning()),
        "country": column_of([chance.choice(["DE", "FR", "US"]) for _ in range(2000)], Binning()),
    }
    prediction = column_of([chance.random() for _ in range(2000)], Binning())
    return Profile(1, 2000, Binning(), {name: column for name, column in columns.items() if column}, prediction)
