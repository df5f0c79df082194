"""Where the reading of each partition begins, and with what: windows as they were, or ten windows before the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from events.topics import LABELS, PRODUCTION, SHADOW
from exporter.reading.intake import Intake
from exporter.reading.replay import Replay
from exporter.reading.revive import Revived, revived
from exporter.reading.shedding import WINDOWS_BACK
from exporter.reading.state import Standing, StateStore, Stored
from exporter.windows.models import ModelState
from exporter.windows.sections import MAIN

TOPICS: Final = frozenset({PRODUCTION, SHADOW, LABELS})

_CATCH_UP: Final = 100_000
"""A model is shown when it has read what had come by its partition's assignment; so many messages at most."""
_CALL_SECONDS: Final = 15.0


class Placing:
    """The positions of the partitions that are ours, and how they come about."""

    def __init__(self, intake: Intake, store: StateStore) -> None:
        self.positions: Final[dict[TopicPartition, int]] = {}
        """The next offset to read."""
        self.ends: dict[TopicPartition, int] = {}
        """The log's end at the last assignment."""
        self.sent_below: Final[dict[TopicPartition, int]] = {}
        """Below it an earlier run has sent on what was to be sent on."""
        self._intake = intake
        self._store = store
        self._epochs: dict[int, int] = {}

    def move(self, partitions: int) -> None:
        """Learn how many partitions there are. Where models belong to others than before, all begins anew."""
        if self._intake.place(partitions):
            self.positions.clear()
            self._epochs.clear()

    def keep(self, assigned: frozenset[TopicPartition]) -> None:
        """Drop at once what now belongs to another process."""
        for partition in self.positions.keys() - assigned:
            self._drop(partition.partition)

    def standing(self, model: str) -> Standing | None:
        """One of our models and the offsets it is made of."""
        state, number = self._intake.owned.get(model), self._intake.partition(model)
        if state is None or number is None or number not in self._epochs:
            return None
        offsets = {each.topic: at for each, at in self.positions.items() if each.partition == number}
        return Standing(state, number, self._epochs[number], offsets)

    def epoch(self, model: str) -> int | None:
        """Which owner of the model's partition we are."""
        number = self._intake.partition(model)
        return self._epochs.get(number) if number is not None and model in self._intake.owned else None

    def begin_anew(self, model: str) -> None:
        """Forget what is known of a model, and go on reading."""
        self._intake.own(ModelState(self._intake.models[model]))

    async def place(
        self,
        consumer: AIOKafkaConsumer,
        assigned: frozenset[TopicPartition],
        unbroken: bool,
        current: Callable[[], bool],
    ) -> list[Standing]:
        """Set the positions of an assignment: what stayed ours goes on, what came begins with what was kept of it.

        The models that begin without a past, with their start. Where `current` is no longer true, nothing is done.
        """
        begins = await asyncio.wait_for(consumer.beginning_offsets(assigned), _CALL_SECONDS)
        ends = await asyncio.wait_for(consumer.end_offsets(assigned), _CALL_SECONDS)
        new = [each for each in sorted(assigned) if each not in self.positions]
        committed = await asyncio.wait_for(asyncio.gather(*map(consumer.committed, new)), _CALL_SECONDS)
        numbers = {each.partition for each in (new if unbroken else assigned)}
        numbers |= {each.partition for each in assigned if self.positions.get(each, 0) > ends[each]}
        stored = await self._store.read(numbers, self._intake.models)
        if not current():
            return []
        for partition, at in zip(new, committed, strict=True):
            # Beyond the end it is of a topic that has been made anew since.
            self.sent_below[partition] = at if at and at <= ends[partition] else 0
        self.ends = dict(ends)
        fresh: list[Standing] = []
        for number in sorted(numbers):
            mine = [each for each in assigned if each.partition == number]
            if self._goes_on(mine, stored[number], ends):
                continue
            self._drop(number)
            fresh += self.begin(number, mine, stored[number], begins, ends)
        for partition in assigned:
            consumer.seek(partition, self.positions[partition])
        return fresh

    def _goes_on(self, mine: Iterable[TopicPartition], stored: Stored, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether a partition is as we left it: nobody else has written of it meanwhile."""
        return all(
            each in self.positions
            and self.positions[each] <= ends[each]
            and stored.epoch <= self._epochs.get(each.partition, -1)
            for each in mine
        )

    def begin(
        self,
        number: int,
        mine: list[TopicPartition],
        stored: Stored,
        begins: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> list[Standing]:
        """Begin a partition; its models that have no past."""
        self._epochs[number] = stored.epoch + 1
        self.ends |= ends
        models = self._intake.models_of(number)
        by_topic = {each.topic: ends[each] for each in mine}
        found = [revived(measured, stored.values, by_topic, self._intake.counters.state_dropped) for measured in models]
        largest = max((measured.size for measured in models), default=0)
        anew = {each.topic: max(begins[each], ends[each] - WINDOWS_BACK * largest) for each in mine}
        starts = [each.starts() if each.offsets else anew for each in found]
        for each in mine:
            position = min((start.get(each.topic, anew[each.topic]) for start in starts), default=None)
            if position is None:  # nothing to bring back, yet what lies here has to be sent on
                position = self.sent_below.get(each, 0)
            elif position < begins[each]:
                self._intake.counters.offsets_gone[each.topic] += 1
            self.positions[each] = min(max(position, begins[each]), ends[each])
        for each in found:
            self._own(each, anew, mine)
            self._store.ledger.begin(each)
        epoch = self._epochs[number]
        return [Standing(each.state, number, epoch, anew) for each in found if not each.offsets]

    def _own(self, found: Revived, anew: Mapping[str, int], mine: Iterable[TopicPartition]) -> None:
        until = {each.topic: min(self.ends.get(each, 0), self.positions[each] + _CATCH_UP) for each in mine}
        self._intake.own(found.state, Replay(found.offsets or dict.fromkeys(MAIN.values(), anew), until))
        for each in mine:
            self._intake.reached(each.topic, each.partition, self.positions[each])

    def _drop(self, number: int) -> None:
        for partition in [each for each in self.positions if each.partition == number]:
            del self.positions[partition]
        self._epochs.pop(number, None)
        for measured in self._intake.models_of(number):
            self._store.ledger.end(measured.name)
        self._intake.disown(number)
