"""Random logs of production, shadow and labels about the same requests, and ways to read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import strategies as st

from events.inference import InferenceEvent, Instance
from events.labels import LabelsEvent
from exporter.windows.shadowed import Shadowed

VERSIONS = ("v1", "v2", "v3")
NUMBERS = st.floats(0, 1)
OUTCOMES = ("ok", "ok", "ok", "ok", "error", "log_only")


@dataclass(frozen=True)
class Logs:
    """Three topics, and in which order their messages are read and where the reading is cut."""

    production: list[InferenceEvent]
    shadow: list[InferenceEvent]
    labels: list[LabelsEvent]
    order: list[tuple[str, bool]]
    """Of each message read the topic, and whether what was read enters after it."""
    other_order: list[tuple[str, bool]]

    def read(self, order: Sequence[tuple[str, bool]], take: Callable[[Any], None], flush: Callable[[], Any]) -> None:
        """Read all of it; whatever is cut, one topic's messages enter before another one is read."""
        topics = {"production": iter(self.production), "shadow": iter(self.shadow), "labels": iter(self.labels)}
        before = None
        for topic, cut in order:
            if before not in (None, topic):
                flush()
            take(next(topics[topic]))
            if cut:
                flush()
            before = topic
        flush()


def identity_of(number: int) -> str:
    """A UUIDv7 for even numbers, in their order; for odd ones a text that is none."""
    return f"01932c0f-8a53-7b3e-9a4e-{number:012x}" if number % 2 == 0 else f"request {number}"


@st.composite
def logs(draw: st.DrawFn, requests: int = 14, batches: bool = True, predictions: Any = NUMBERS) -> Logs:
    """Requests that both models answered, mostly, in orders of their own; labels, some twice, some contradicting."""
    numbers = list(range(draw(st.integers(0, requests))))
    sizes = [draw(st.integers(1, 3)) if batches else 1 for _ in numbers]

    def answers(role: str) -> list[InferenceEvent]:
        version = draw(st.sampled_from(VERSIONS))
        made = []
        for number in draw(st.permutations(numbers)):
            version = draw(st.sampled_from((version,) * 9 + VERSIONS))
            size = sizes[number] if draw(st.integers(0, 9)) else draw(st.integers(0, 3))
            features = {"a": number if draw(st.integers(0, 9)) else -1.0}
            instances = [Instance(features, draw(predictions)) for _ in range(size)]
            made.append(
                InferenceEvent(
                    id=identity_of(number), role=role, model="fraud", version=version, time=1.0,  # type: ignore[arg-type]
                    outcome=draw(st.sampled_from(OUTCOMES)), sampled=bool(draw(st.integers(0, 4))),
                    tenant=draw(st.sampled_from(("acme", "evil", None))), instances=instances,
                )
            )  # fmt: skip
        return made

    def truth() -> list[LabelsEvent]:
        made = []
        for number in draw(st.lists(st.sampled_from(numbers), max_size=2 * requests)) if numbers else []:
            count = sizes[number] if draw(st.integers(0, 9)) else draw(st.integers(0, 3))
            values: list[Any] = [draw(st.sampled_from((0, 1, None, 1.0, True, "x", 0.5))) for _ in range(count)]
            made.append(LabelsEvent(id=identity_of(number), model="fraud", time=1.0, labels=values))
        return made

    production, shadow, labels = answers("production"), answers("shadow"), truth()
    topics = ["production"] * len(production) + ["shadow"] * len(shadow) + ["labels"] * len(labels)
    orders = [[(topic, draw(st.booleans())) for topic in draw(st.permutations(topics))] for _ in range(2)]
    return Logs(production, shadow, labels, *orders)


def enter(shadowed: Shadowed, each: Any) -> None:
    """Hand on a message as the model's state does."""
    if isinstance(each, LabelsEvent):
        shadowed.labels.take_labels(each)
    elif each.outcome in ("ok", "log_only"):
        shadowed.take(each)


def through_bytes(kept: Any) -> Any:
    """What is kept, as it comes back from where it is kept."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(kept))
