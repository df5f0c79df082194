"""What becomes of each message: it enters a window, or it is rejected, a duplicate, or on a foreign partition.

All decisions are made here, without awaiting anything; `consume` brings the messages, `outbox` takes what is sent on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import thread_time
from typing import Final, Protocol

from configuration.model import Model
from events.codec import EventError, decode_inference, decode_labels
from events.headers import CUT, FORWARDED, INFERENCE_TYPE, LABELS_TYPE, Headers, header, rejected_headers
from events.inference import ROLES, InferenceEvent
from events.labels import LabelsEvent
from events.partitions import partition_of
from events.topics import LABELS, REJECTED, TOPIC_OF_ROLE
from exporter.reading.counters import Counters, Reason
from exporter.reading.outbox import Message
from exporter.reading.replay import Replay
from exporter.windows.labelled import RESULTS
from exporter.windows.measured import Measured
from exporter.windows.models import ModelState
from reference.profile import Profile

_CLOCK_EVERY: Final = 16
_LARGE: Final = 64 * 1024
_KEPT_BYTES: Final = 512 * 1024
_OURS: Final = ("ce_type", INFERENCE_TYPE.encode())


class Record(Protocol):
    """A message as a consumer gives it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class _Refused(Exception):  # noqa: N818 - a decision
    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason: Reason = reason


class Intake:
    """The models that this process owns, and the counters of all."""

    def __init__(
        self,
        models: Iterable[Measured],
        send: Callable[[Message], bool],
        clock: Callable[[], float] = thread_time,
    ) -> None:
        self.models: Final = {measured.name: measured for measured in models}
        self.counters: Final = Counters.of(self.models)
        self.owned: dict[str, ModelState] = {}
        """By name, the state of each model whose partition is assigned."""
        self.refused: Final[set[str]] = set()
        """Models whose profile's file has changed into something that cannot be used."""
        self._partitions: dict[str, int] = {}
        self._replays: dict[str, Replay] = {}
        self._send = send
        self._clock = clock

    def refer(self, model: str, profile: Profile) -> None:
        """Measure a configured model by another profile from now on."""
        measured = Measured(self.models[model].model, profile)
        self.models[model] = measured
        self.refused.discard(model)
        if model in self.owned:
            self.owned[model].refer(measured)

    def rename(self, model: Model) -> None:
        """Call other versions of a configured model production and shadow; nothing that is measured changes."""
        known = self.models[model.name]
        self.models[model.name] = Measured(model, known.profile, known.source)
        if model.name in self.owned:
            owned = self.owned[model.name]  # whose reference may be made of the traffic
            owned.refer(Measured(model, owned.measured.profile, owned.measured.source))

    def place(self, partitions: int) -> bool:
        """Learn how many partitions the topics have, and so where each model's events belong.

        Where that is not as it was, every model begins anew, and the answer is True.
        """
        placed = {name: partition_of(name, partitions) for name in self.models}
        moved = placed != self._partitions
        if moved:
            self._partitions = placed
            self.owned.clear()
            self._replays.clear()
        return moved

    def partition(self, model: str) -> int | None:
        """Where a configured model's events belong; None while nobody knows how many partitions there are."""
        return self._partitions.get(model)

    def models_of(self, partition: int) -> list[Measured]:
        """The configured models whose events belong to that partition."""
        return [measured for name, measured in self.models.items() if self._partitions.get(name) == partition]

    def own(self, state: ModelState, replay: Replay | None = None) -> None:
        """Begin, or begin anew, a model whose partition has come. What `replay` tells is read, and not taken again."""
        name = state.measured.name
        self.owned[name] = state
        self._replays.pop(name, None)
        for role in ROLES:
            self.counters.last_event.pop((name, role), None)
            last = state.roles[role].last_time
            if last is not None:
                self.counters.last_event[name, role] = last
        if replay:
            self._replays[name] = replay
            for topic in replay.topics():
                state.mute(topic, replay.waiting(topic))

    def disown(self, partition: int) -> None:
        """Drop the models of a partition that has gone: another process measures them."""
        for measured in self.models_of(partition):
            self.owned.pop(measured.name, None)
            self._replays.pop(measured.name, None)

    def reached(self, topic: str, partition: int, position: int) -> None:
        """Learn that the next message of a partition has this offset or a greater one."""
        for measured in self.models_of(partition) if self._replays else ():
            replay = self._replays.get(measured.name)
            if replay is not None and replay.due(topic, position):
                self._reach(self.owned[measured.name], replay, topic, position)

    def replaying(self, model: str) -> bool:
        """Whether a model is still reading what some of its sections know: they do not yet stand at one instant."""
        return model in self._replays

    def shown(self) -> dict[str, ModelState]:
        """The owned models whose series may be shown: those that are whole."""
        return {name: state for name, state in self.owned.items() if name not in self._replays}

    def take(self, records: Sequence[Record], start: int, sent_below: int, budget: float) -> int:
        """Take records of one owned partition from `start` on, for about `budget` seconds of CPU; where to go on.

        Of CPU: on a busy machine slices would else hold fewer events, each of which then costs more.

        At least one is taken. Below offset `sent_below` an earlier run has sent on what was to be sent on.
        """
        deadline = self._clock() + budget
        position = start
        touched: dict[str, ModelState] = {}
        for position in range(start, len(records)):
            record = records[position]
            self._take_one(record, touched, repeated=record.offset < sent_below)
            # The clock is asked now and then; a large message may take as long as a slice.
            if (position % _CLOCK_EVERY == 0 or len(record.value or b"") > _LARGE) and self._clock() >= deadline:
                break
        for state in touched.values():
            self._flush(state)
        return position + 1

    def leave_out(self, topic: str, partition: int, offset: int, why: str, *, repeated: bool) -> None:
        """Count a message that the client library could not read; there is nothing to keep of it but where it lies."""
        self.counters.consumed[topic] += 1
        self.counters.rejected["unreadable"] += 1
        if not repeated:
            headers = rejected_headers("unreadable", why, topic, partition, offset)
            self._post(Message(REJECTED, None, b"", headers, source=(topic, partition, offset)))

    def _flush(self, state: ModelState) -> None:
        """Let what waits enter, and count what only shows then."""
        counters, name = self.counters, state.measured.name
        for reason, count in state.flush().items():
            counters.left_out[name, reason] += count
        found = state.labels.flush()
        for counter, word in ((counters.events, "events"), (counters.duplicate, "duplicate")):
            if word in found:
                counter[name, "labels"] += found[word]
        for result in RESULTS:
            counters.labels[name, result] += found[result]

    def _take_one(self, record: Record, touched: dict[str, ModelState], repeated: bool) -> None:
        counters = self.counters
        counters.consumed[record.topic] += 1
        try:
            event: InferenceEvent | LabelsEvent
            if record.topic == LABELS:
                event = self._labels(record)
            else:
                event = decode_inference(record.value) if _OURS in record.headers else self._event(record)
                if TOPIC_OF_ROLE[event.role] != record.topic:
                    raise _Refused("wrong_topic", f"an event of role {event.role} does not belong to {record.topic}")
            if event.model not in self.models:
                raise _Refused("unknown_model", "the configuration names no such model")
            if self._partitions[event.model] != record.partition:
                self._forward(record, event, repeated)
                return
        except (EventError, _Refused) as refused:
            counters.rejected[refused.reason] += 1
            if not repeated:
                self._keep(record, refused.reason, str(refused))
            return
        state = self.owned[event.model]
        if self._replays and self._known(record, state):
            counters.consumed[record.topic] -= 1
            return
        if isinstance(event, LabelsEvent):
            state.take_labels(event)
            touched[event.model] = state
            return
        key = (event.model, event.role)
        if not state.take(event):
            counters.duplicate[key] += 1
            return
        counters.events[key] += 1
        counters.last_event[key] = event.time
        touched[event.model] = state

    def _known(self, record: Record, state: ModelState) -> bool:
        """Whether this message is read again and every section of the model has taken it before."""
        replay = self._replays.get(state.measured.name)
        if replay is None:
            return False
        if replay.due(record.topic, record.offset):
            self._reach(state, replay, record.topic, record.offset)
        return replay.known_to_all(record.topic)

    def _reach(self, state: ModelState, replay: Replay, topic: str, offset: int) -> None:
        """Some sections know nothing of what comes now; what they did know must not wait any more."""
        self._flush(state)
        replay.reach(topic, offset)
        state.mute(topic, replay.waiting(topic))
        if not replay:
            del self._replays[state.measured.name]

    def _event(self, record: Record) -> InferenceEvent:
        """Of a message whose headers are not ours: without a type it may be an event, with another it is none."""
        _check_type(record, INFERENCE_TYPE)
        return decode_inference(record.value)

    def _labels(self, record: Record) -> LabelsEvent:
        _check_type(record, LABELS_TYPE)
        return decode_labels(record.value)

    def _forward(self, record: Record, event: InferenceEvent | LabelsEvent, repeated: bool) -> None:
        """Send an event that another client's partitioner has put elsewhere to its model's partition, once."""
        partition = self._partitions[event.model]
        if header(list(record.headers), FORWARDED) is not None:
            raise _Refused("foreign_twice", f"sent on once, and still not on partition {partition}")
        self.counters.foreign[record.topic] += 1
        if not repeated:
            headers: Headers = [*record.headers, (FORWARDED, b"1")]
            self._post(Message(record.topic, event.model.encode(), record.value, headers, partition, _source(record)))

    def _keep(self, record: Record, reason: str, text: str) -> None:
        headers = rejected_headers(reason, text, record.topic, record.partition, record.offset)
        # Kafka's client sends no message that has neither key nor value.
        value = b"" if record.key is None and record.value is None else record.value
        if value is not None and len(value) > _KEPT_BYTES:  # a broker takes no more in one message
            headers.append((CUT, str(len(value)).encode()))
            value = value[:_KEPT_BYTES]
        self._post(Message(REJECTED, record.key, value, [*record.headers, *headers], source=_source(record)))

    def _post(self, message: Message) -> None:
        if not self._send(message):
            self.counters.unkept[message.topic] += 1


def _source(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def _check_type(record: Record, expected: str) -> None:
    """A message without the header may be anybody's; one with another type is not what we read."""
    kind = header(list(record.headers), "ce_type")
    if kind is not None and kind != expected:
        raise _Refused("event_type", f"ce_type is {kind[:100]}, this version reads {expected} from {record.topic}")
