"""`drift.state`: read when a partition comes, written every few seconds while it is ours.

Its being away costs time at the next start and nothing else: reading goes on, and the next round tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from events import topics
from events.brokers import Brokers
from events.headers import Headers, header
from events.topics import STATE
from exporter.reading.counters import Counters
from exporter.reading.ledger import Ledger, Round
from exporter.reading.stored import EPOCH, encoded
from exporter.windows.models import ModelState

_log = logging.getLogger("shadowdrift.exporter")

_ROUND_SECONDS: Final = 5.0
_CALL_SECONDS: Final = 10.0
_READ_SECONDS: Final = 120.0
_POLL_MS: Final = 500
_FETCH_BYTES: Final = 8 * 1024 * 1024
_MAX_REQUEST_BYTES: Final = 1024 * 1024
_SENT_ON_SECONDS: Final = 10.0
_PATIENCE: Final = 6
"""So many times in a row a model is put off for what waits to be sent on: a topic that takes nothing must not cost the
windows of hours."""


@dataclass
class Stored:
    """What one partition of the topic holds: the newest value of each key that is ours to know, and the last epoch."""

    values: dict[str, bytes] = field(default_factory=dict)
    epoch: int = 0

    def take(self, key: bytes | None, value: bytes | None, epoch: int, models: Iterable[str]) -> None:
        """Read one message. One by an earlier owner that came after a later owner's is not believed."""
        if epoch < self.epoch or key is None:
            return
        self.epoch = epoch
        name = key.decode("utf-8", "replace")
        if name.partition("|")[0] not in models:
            return
        if value is None:
            self.values.pop(name, None)
        else:
            self.values[name] = value


class Standing(NamedTuple):
    """A model that this process owns, at one instant."""

    state: ModelState
    partition: int
    epoch: int
    """Which owner of the partition this process is, counted from 1."""
    offsets: Mapping[str, int]
    """By topic, up to where the state is made of."""


class Owner(Protocol):
    """Who knows what is ours."""

    def models(self) -> list[str]:
        """The models whose state may be written now, each for itself whole."""

    def standing(self, model: str) -> Standing | None:
        """One of them as it stands; None if it is not ours, or not for certain."""

    def epoch(self, model: str) -> int | None:
        """Which owner of the model's partition we are; None if it is not ours, or not for certain."""

    async def sent_on(self, standing: Standing) -> None:
        """Wait until what had to be sent on of what this is made of has been, or can be by nobody."""

    def begin_anew(self, model: str) -> None:
        """Forget what is known of a model."""


class StateStore:
    """Reads what earlier owners have written, and writes for the next one."""

    def __init__(self, brokers: Brokers, counters: Counters, wall: Callable[[], float] = time.time) -> None:
        self.ledger: Final = Ledger(wall)
        self._counters = counters
        self._brokers = brokers
        self._producer: AIOKafkaProducer | None = None
        self._writing = asyncio.Lock()
        self._put_off: Counter[str] = Counter()
        """By model, how many rounds in a row."""
        self._waits_seconds = _SENT_ON_SECONDS
        """How long this round may yet wait for what is to be sent on, all models of it together."""
        self._told = False

    async def read(self, partitions: Iterable[int], models: Iterable[str]) -> dict[int, Stored]:
        """What these partitions hold, to their ends at this moment; nothing where the topic is missing.

        Raises KafkaError, TopicsError, or TimeoutError.
        """
        stored = {number: Stored() for number in partitions}
        count = (await topics.partitions(self._brokers)).get(STATE, 0)
        wanted = [TopicPartition(STATE, number) for number in stored if number < count]
        if not wanted:
            return stored
        consumer = AIOKafkaConsumer(
            **self._brokers.arguments(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=100,
        )
        try:
            async with asyncio.timeout(_READ_SECONDS):
                consumer.assign(wanted)
                await consumer.start()
                await _read_to_end(consumer, wanted, stored, frozenset(models))
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(consumer.stop(), 2)
        return stored

    async def run(self, owner: Owner, every: float = _ROUND_SECONDS) -> None:
        """Write what has changed every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(every)
            await self.write(owner)

    async def write(self, owner: Owner) -> None:
        """One round: of each model what has changed, as of one instant. What fails is left to the next round."""
        async with self._writing:
            self._waits_seconds = _SENT_ON_SECONDS
            for model in owner.models():
                standing = owner.standing(model)
                if standing is not None and not await self._round(owner, standing):
                    return

    async def begin(self, owner: Owner, standings: Iterable[Standing]) -> None:
        """Write where models begin that have no past, so that a crash before their first round loses nothing."""
        async with self._writing:
            self._waits_seconds = _SENT_ON_SECONDS
            for standing in standings:
                if not await self._round(owner, standing):
                    return

    async def close(self) -> None:
        """Let the producer go."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(producer.stop(), 2)

    async def _round(self, owner: Owner, standing: Standing) -> bool:
        """Write what has changed of one model; whether there is any use in going on."""
        try:
            if self.ledger.silent(standing.state):
                await self._forget(owner, standing)
            else:
                made = self.ledger.due(standing.state, standing.offsets)
                if made is not None:
                    await self._write(owner, standing, made)
        except (_Lost, _PutOff):
            return True
        except (KafkaError, OSError, TimeoutError) as error:
            await self._failed(error)
            return False
        self._told = False
        return True

    async def _write(self, owner: Owner, standing: Standing, made: Round) -> None:
        """Pieces, tenants, heads, each when the one before is acknowledged: a head says that all else is there."""
        snapshots = [*made.bodies, *made.heads]
        try:
            messages = await asyncio.to_thread(lambda: {each.key: encoded(each) for each in snapshots})
            await self._sent_on(owner, standing)
            await self._send(
                owner, standing, {key: text for each in messages.values() for key, text in each.pieces.items()}
            )
            await self._send(owner, standing, {each.key: messages[each.key].text for each in made.bodies})
            for head in made.heads:
                await self._send(owner, standing, {head.key: messages[head.key].text})
        except BaseException:
            self._counters.state_writes["failed"] += len(snapshots)
            raise
        self._counters.state_writes["written"] += len(snapshots)
        await self._send(owner, standing, dict.fromkeys(self.ledger.acknowledged(made, messages)))

    async def _sent_on(self, owner: Owner, standing: Standing) -> None:
        """Whoever begins with what is written reads nothing below it, and so would send nothing of it on."""
        model, began = standing.state.measured.name, time.monotonic()
        try:
            async with asyncio.timeout(self._waits_seconds):
                await owner.sent_on(standing)
        except TimeoutError:
            self._put_off[model] += 1
            if self._put_off[model] == 1:
                _log.warning(
                    "windows are not written yet: what has to be sent on is not acknowledged yet",
                    extra={"fields": {"model": model}},
                )
            if self._put_off[model] <= _PATIENCE:
                raise _PutOff from None
            _log.warning(
                "windows are written although rejected or foreign events wait to be sent on",
                extra={"fields": {"model": model}},
            )
        finally:
            self._waits_seconds = max(0.0, self._waits_seconds - (time.monotonic() - began))
        del self._put_off[model]

    async def _forget(self, owner: Owner, standing: Standing) -> None:
        """A tombstone for each key of a model that has long been silent; it begins anew."""
        model = standing.state.measured.name
        await self._send(owner, standing, dict.fromkeys(self.ledger.keys(model)))
        self.ledger.end(model)
        owner.begin_anew(model)

    async def _send(self, owner: Owner, standing: Standing, messages: Mapping[str, bytes | None]) -> None:
        """Send some messages and wait until all are acknowledged. Raises what a producer raises, and `_Lost`."""
        if not messages:
            return
        async with asyncio.timeout(_CALL_SECONDS):
            producer = await self._started()
            if owner.epoch(standing.state.measured.name) != standing.epoch:
                raise _Lost
            headers = [(EPOCH, str(standing.epoch).encode())]
            sent = [
                await producer.send(STATE, value, key.encode(), standing.partition, headers=headers)
                for key, value in messages.items()
            ]
            await asyncio.gather(*sent)

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **self._brokers.arguments(),
                acks="all",
                max_request_size=_MAX_REQUEST_BYTES,
                request_timeout_ms=int(_CALL_SECONDS * 1000),
                retry_backoff_ms=500,
            )
            self._producer = producer
            await producer.start()
        return self._producer

    async def _failed(self, error: BaseException) -> None:
        await self.close()
        if not self._told:
            self._told = True
            _log.warning(
                "windows cannot be written to drift.state; trying again every few seconds",
                extra={"fields": {"reason": str(error) or type(error).__name__}},
            )


class _Lost(Exception):  # noqa: N818 - a decision
    """The partition is not ours any more, or not for certain."""


class _PutOff(Exception):  # noqa: N818 - a decision
    """What this model is made of is not sent on yet. The next round tries again; other models do not wait for it."""


async def _read_to_end(
    consumer: AIOKafkaConsumer, wanted: list[TopicPartition], stored: dict[int, Stored], models: frozenset[str]
) -> None:
    ends = await consumer.end_offsets(wanted)
    await consumer.seek_to_beginning(*wanted)
    while True:
        behind = [each for each in wanted if await consumer.position(each) < ends[each]]
        if not behind:
            return
        batches = await consumer.getmany(*behind, timeout_ms=_POLL_MS)
        for partition, records in batches.items():
            for record in records:
                stored[partition.partition].take(record.key, record.value, _epoch(record.headers), models)


def _epoch(headers: Headers) -> int:
    text = header(tuple(headers), EPOCH) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
