"""What production was asked lately and what turned out to be true of it, out of Kafka: rows to train on.

Production's events and the labels stand in two topics, the labels some time later; they belong together by the
request's id. Strings come as the proxy told them: in clear where the reference lists them, else by their hash.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from demo.labelled import TRUTH
from events.brokers import Brokers
from events.codec import EventError, decode_inference, decode_labels
from events.inference import InferenceEvent
from events.labels import Label, LabelsEvent
from events.partitions import partition_of
from events.topics import LABELS, PRODUCTION, TopicsError, partitions

_KEPT: Final = 200_000
"""Answers, and labels, that wait for the other half; and how far back a log is read that cannot be asked for a time."""
_POLL_MS: Final = 200

Half = TypeVar("Half")


class NotEnoughError(Exception):
    """Too few rows came in time, or Kafka could not be read; one line."""


class Joined:
    """Production's answers and labels of one model, as they come, to rows of features with the truth.

    Both halves must be no older than `since` (an event's time, seconds since 1970). At most `most` wait of each.
    Kafka may hold either half twice: an answer counts once, with its first labels.
    """

    def __init__(self, model: str, since: float, most: int = _KEPT) -> None:
        self.rows: list[dict[str, Any]] = []
        self._model, self._since, self._most = model, since, most
        self._answers: OrderedDict[str, Sequence[dict[str, Any]]] = OrderedDict()
        self._labels: OrderedDict[str, Sequence[Label]] = OrderedDict()
        self._joined: OrderedDict[str, None] = OrderedDict()

    def answer(self, event: InferenceEvent) -> None:
        """Take an answer; only production's good ones count."""
        if event.model != self._model or event.outcome != "ok" or event.time < self._since or event.id in self._joined:
            return
        features = [dict(instance.features) for instance in event.instances]
        labels = self._labels.pop(event.id, None)
        if labels is None:
            self._wait(self._answers, event.id, features)
        else:
            self._join(event.id, features, labels)

    def label(self, event: LabelsEvent) -> None:
        """Take what turned out to be true."""
        if event.model != self._model or event.time < self._since or event.id in self._joined:
            return
        features = self._answers.pop(event.id, None)
        if features is None:
            self._labels.setdefault(event.id, event.labels)
            self._bound(self._labels)
        else:
            self._join(event.id, features, event.labels)

    def _join(self, name: str, features: Sequence[dict[str, Any]], labels: Sequence[Label]) -> None:
        self._wait(self._joined, name, None)
        if len(features) == len(labels):
            known = zip(features, labels, strict=True)
            # A word is no truth that is known here: "on time" is not late.
            self.rows += [{**row, TRUTH: bool(label)} for row, label in known if isinstance(label, int | float)]

    def _wait(self, where: OrderedDict[str, Half], name: str, half: Half) -> None:
        where[name] = half
        self._bound(where)

    def _bound(self, where: OrderedDict[str, Any]) -> None:
        if len(where) > self._most:
            where.popitem(last=False)


async def labelled(brokers: Brokers, model: str, since: float, wanted: int, within: float) -> list[dict[str, Any]]:
    """The first `wanted` rows since then, waiting for those that have yet to come. Raises `NotEnoughError`."""
    joined = Joined(model, since)
    consumer = AIOKafkaConsumer(**brokers.arguments(), enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        partition = partition_of(model, (await partitions(brokers, {PRODUCTION, LABELS}))[PRODUCTION])
        await consumer.start()
        places = [TopicPartition(topic, partition) for topic in (PRODUCTION, LABELS)]
        consumer.assign(places)
        for place in places:
            consumer.seek(place, await _begin(consumer, place, since))
        async with asyncio.timeout(within):
            while len(joined.rows) < wanted:
                _take(joined, await consumer.getmany(timeout_ms=_POLL_MS))
    except TimeoutError:
        raise NotEnoughError(f"{len(joined.rows)} labelled rows in {within:g} s, {wanted} are needed") from None
    except (KafkaError, TopicsError, OSError) as error:
        raise NotEnoughError(f"Kafka cannot be read: {str(error) or type(error).__name__}") from None
    finally:
        with contextlib.suppress(Exception):
            await consumer.stop()
    return joined.rows[:wanted]


async def _begin(consumer: AIOKafkaConsumer, place: TopicPartition, since: float) -> int:
    """The offset of the first message since then; of a broker that does not know, one far enough back."""
    found = (await consumer.offsets_for_times({place: int(since * 1000)}))[place]
    if found is not None:
        return int(found.offset)
    first, end = (await consumer.beginning_offsets([place]))[place], (await consumer.end_offsets([place]))[place]
    return max(int(first), int(end) - _KEPT)


def _take(joined: Joined, batches: dict[TopicPartition, list[Any]]) -> None:
    for place, records in batches.items():
        for record in records:
            with contextlib.suppress(EventError):  # the exporter counts it, with its reason
                if place.topic == LABELS:
                    joined.label(decode_labels(record.value))
                else:
                    joined.answer(decode_inference(record.value))
