"""Events of every shape, for hypothesis."""

from typing import Any

import msgspec
from hypothesis import strategies as st

from events.codec import MAX_NAME_CHARACTERS, MAX_TIME
from events.inference import OUTCOMES, ROLES, InferenceEvent, Instance
from events.labels import LabelsEvent

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_NAME_CHARACTERS)
numbers = st.floats(allow_nan=False, allow_infinity=False)
wholes = st.integers(-(2**63), 2**64 - 1)
times = st.floats(0, MAX_TIME)
scalars = st.none() | st.booleans() | wholes | numbers | texts


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The value, or null."""
    return st.none() | strategy


instances = st.builds(
    Instance,
    features=st.dictionaries(texts, scalars, max_size=5),
    prediction=st.just(msgspec.UNSET) | scalars | st.lists(numbers, max_size=4),
    invalid=st.lists(texts, max_size=3),
)
inference_events = st.builds(
    InferenceEvent,
    id=names,
    request_id=optional(texts),
    role=st.sampled_from(ROLES),
    model=names,
    version=names,
    tenant=optional(texts),
    time=times,
    latency_seconds=optional(numbers),
    status=optional(st.integers(100, 599)),
    outcome=st.sampled_from(OUTCOMES),
    fraction=optional(st.floats(0, 1)),
    sampled=st.booleans(),
    truncated=st.booleans(),
    key_id=optional(texts),
    instances=st.lists(instances, max_size=4),
)
labels_events = st.builds(LabelsEvent, id=names, model=names, time=times, labels=st.lists(scalars, max_size=6))
json_values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=10)
