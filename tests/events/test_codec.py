"""The codec: what goes in comes out, and what is no event is refused with a reason, whatever it is."""

import json
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from events.codec import (
    MAX_EVENT_BYTES,
    MAX_NAME_CHARACTERS,
    EventError,
    RejectReason,
    decode_inference,
    decode_labels,
    encode,
)
from events.inference import InferenceEvent, Instance
from events.labels import LabelsEvent
from tests.events.making import inference_events, json_values, labels_events, texts

quick = settings(max_examples=150, derandomize=True, deadline=None)

INFERENCE: dict[str, Any] = {
    "id": "0190f1c2-8a53-7b3e-9a4e-0f6d2f1c7a55",
    "request_id": "r1",
    "role": "production",
    "model": "fraud",
    "version": "v2",
    "tenant": "acme",
    "time": 1790000000.123456,
    "latency_seconds": 0.0123,
    "status": 200,
    "outcome": "ok",
    "fraction": 0.05,
    "sampled": True,
    "truncated": False,
    "key_id": "k1",
    "instances": [{"features": {"amount": 12.5, "country": "DE"}, "prediction": 0.93, "invalid": ["age"]}],
}
LABELS: dict[str, Any] = {"id": "0190", "model": "fraud", "time": 1790000000.5, "labels": [1, 0.5, "late", True, None]}
REASONS = set(get_args(RejectReason))


def inference_bytes(**changes: Any) -> bytes:
    """The event of CONTRACTS.md with other fields."""
    return json.dumps(INFERENCE | changes).encode()


def labels_bytes(**changes: Any) -> bytes:
    """A label event with other fields."""
    return json.dumps(LABELS | changes).encode()


def refused(value: bytes | None) -> EventError:
    """How both decoders refuse a message; the inference decoder's error."""
    with pytest.raises(EventError) as of_labels:
        decode_labels(value)
    with pytest.raises(EventError) as of_inference:
        decode_inference(value)
    assert of_labels.value.reason in REASONS
    return of_inference.value


def is_event_or_refused(decode: Callable[[bytes], InferenceEvent | LabelsEvent], value: bytes) -> None:
    """An event that comes back as it went, or an EventError with a reason; any other exception fails the test."""
    reason = None
    try:
        event = decode(value)
        assert decode(encode(event)) == event
    except EventError as error:
        reason = error.reason
    assert reason is None or reason in REASONS


@quick
@given(inference_events)
def test_an_inference_event_comes_back_as_it_went(event: InferenceEvent) -> None:
    """Absent and null predictions included: they are told apart."""
    assert decode_inference(encode(event)) == event


@quick
@given(labels_events)
def test_a_label_event_comes_back_as_it_went(event: LabelsEvent) -> None:
    """With labels of every kind."""
    assert decode_labels(encode(event)) == event


@quick
@given(inference_events, labels_events, st.dictionaries(texts.map(lambda name: f"new {name}"), json_values, max_size=3))
def test_unknown_fields_are_ignored(event: InferenceEvent, labels: LabelsEvent, unknown: dict[str, Any]) -> None:
    """On the event and on its instances: events of later versions are read by this one."""
    document = json.loads(encode(event)) | unknown
    document["instances"] = [instance | unknown for instance in document["instances"]]
    assert decode_inference(json.dumps(document).encode()) == event
    assert decode_labels(json.dumps(json.loads(encode(labels)) | unknown).encode()) == labels


def test_the_event_of_the_contract_is_read_field_by_field() -> None:
    """Nothing is lost or renamed."""
    event = decode_inference(inference_bytes())
    assert msgspec.to_builtins(event) == INFERENCE
    assert event.instances == [Instance({"amount": 12.5, "country": "DE"}, 0.93, ["age"])]
    assert msgspec.to_builtins(decode_labels(labels_bytes())) == LABELS


def test_an_event_is_small_where_nothing_is_to_be_told() -> None:
    """An instance without prediction and without invalid features has neither field."""
    instance = Instance({"a": 1})
    assert msgspec.json.encode(instance) == b'{"features":{"a":1}}'


@pytest.mark.parametrize("field", ["id", "role", "model", "version", "time", "outcome", "instances"])
def test_a_missing_required_field_is_told(field: str) -> None:
    """With its name."""
    rest = {name: value for name, value in INFERENCE.items() if name != field}
    with pytest.raises(EventError, match=field) as raised:
        decode_inference(json.dumps(rest).encode())
    assert raised.value.reason == "missing_field"


@pytest.mark.parametrize("field", ["id", "model", "time", "labels"])
def test_a_missing_required_field_of_labels_is_told(field: str) -> None:
    """With its name."""
    rest = {name: value for name, value in LABELS.items() if name != field}
    with pytest.raises(EventError, match=field) as raised:
        decode_labels(json.dumps(rest).encode())
    assert raised.value.reason == "missing_field"


@pytest.mark.parametrize("field", ["request_id", "tenant", "latency_seconds", "status", "fraction", "key_id"])
def test_an_optional_field_may_be_missing_or_null(field: str) -> None:
    """Both read as None."""
    rest = {name: value for name, value in INFERENCE.items() if name != field}
    assert getattr(decode_inference(json.dumps(rest).encode()), field) is None
    assert getattr(decode_inference(inference_bytes(**{field: None})), field) is None


WRONG_TYPES: dict[str, Any] = {
    "id": 7,
    "request_id": 7,
    "role": 7,
    "model": None,
    "version": 2,
    "tenant": ["acme"],
    "time": "2026-11-20T10:00:00Z",
    "latency_seconds": "12ms",
    "status": "200",
    "outcome": None,
    "fraction": "half",
    "sampled": 1,
    "truncated": "no",
    "key_id": 1,
    "instances": {"features": {}},
}


@pytest.mark.parametrize("field", WRONG_TYPES)
def test_a_wrong_type_is_told_with_its_place(field: str) -> None:
    """Nothing is converted: a text that looks like a number is none."""
    with pytest.raises(EventError, match=rf"\$\.{field}") as raised:
        decode_inference(inference_bytes(**{field: WRONG_TYPES[field]}))
    assert raised.value.reason == "wrong_type"


WRONG_INSTANCES: dict[str, tuple[Any, str]] = {
    "no object": (3, "wrong_type"),
    "no features": ({}, "missing_field"),
    "features that are a list": ({"features": [1]}, "wrong_type"),
    "features that are null": ({"features": None}, "wrong_type"),
    "a prediction that is an object": ({"features": {}, "prediction": {"a": 1}}, "wrong_type"),
    "a prediction that is a list of texts": ({"features": {}, "prediction": ["a"]}, "wrong_type"),
    "a prediction that is a list of lists": ({"features": {}, "prediction": [[1]]}, "wrong_type"),
    "invalid that is a text": ({"features": {}, "invalid": "a"}, "wrong_type"),
    "invalid that holds numbers": ({"features": {}, "invalid": [1]}, "wrong_type"),
}


@pytest.mark.parametrize("case", WRONG_INSTANCES)
def test_one_wrong_instance_refuses_the_event(case: str) -> None:
    """Also behind good ones."""
    instance, reason = WRONG_INSTANCES[case]
    with pytest.raises(EventError) as raised:
        decode_inference(inference_bytes(instances=[{"features": {}}, instance]))
    assert raised.value.reason == reason


WRONG_VALUES: dict[str, dict[str, Any]] = {
    "a role that is none": {"role": "canary"},
    "an outcome that is none": {"outcome": "fine"},
    "an enumeration in another case": {"role": "Production"},
    "an empty id": {"id": ""},
    "an empty model": {"model": ""},
    "an empty version": {"version": ""},
    "a model longer than a name": {"model": "m" * (MAX_NAME_CHARACTERS + 1)},
    "a time before 1970": {"time": -1},
    "a time in milliseconds": {"time": 1790000000123456},
}


@pytest.mark.parametrize("case", WRONG_VALUES)
def test_a_value_of_the_right_type_that_cannot_be_is_told(case: str) -> None:
    """As wrong_value, not as wrong_type."""
    with pytest.raises(EventError) as raised:
        decode_inference(inference_bytes(**WRONG_VALUES[case]))
    assert raised.value.reason == "wrong_value"


@pytest.mark.parametrize("case", [{"id": ""}, {"model": "m" * 257}, {"time": -0.5}, {"time": 1e300}], ids=str)
def test_labels_have_the_same_limits(case: dict[str, Any]) -> None:
    """Names and times are checked alike."""
    with pytest.raises(EventError) as raised:
        decode_labels(labels_bytes(**case))
    assert raised.value.reason == "wrong_value"


@pytest.mark.parametrize("label", [[1], {"a": 1}])
def test_a_label_is_a_scalar(label: Any) -> None:
    """A list or an object is none."""
    with pytest.raises(EventError) as raised:
        decode_labels(labels_bytes(labels=[label]))
    assert raised.value.reason == "wrong_type"


GOOD = inference_bytes()
POISON: dict[str, tuple[bytes | None, set[str]]] = {
    "a tombstone": (None, {"json"}),
    "nothing": (b"", {"json"}),
    "white space": (b"  \n", {"json"}),
    "half an event": (GOOD[:-20], {"json"}),
    "an event and more": (GOOD + b"x", {"json"}),
    "two events": (GOOD + GOOD, {"json"}),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, {"json"}),
    "UTF-16": (GOOD.decode().encode("utf-16"), {"json", "encoding"}),
    "not UTF-8": (GOOD.replace(b"acme", b"\xff\xfe"), {"encoding", "json"}),
    "a list": (b"[]", {"wrong_type"}),
    "null": (b"null", {"wrong_type"}),
    "a text": (b'"event"', {"wrong_type"}),
    "NaN": (inference_bytes(time=float("nan")), {"json"}),
    "Infinity": (inference_bytes(latency_seconds=float("inf")), {"json"}),
    "NaN in a feature": (inference_bytes(instances=[{"features": {"a": float("nan")}}]), {"json"}),
    "1e999": (GOOD.replace(b"12.5", b"1e999"), {"json", "wrong_value"}),
    "1e999 as the time": (GOOD.replace(b"1790000000.123456", b"1e999"), {"json", "wrong_value"}),
    "an integer of 5,000 digits": (GOOD.replace(b"12.5", b"9" * 5000), {"json", "wrong_value"}),
    "a status of 5,000 digits": (GOOD.replace(b"200", b"9" * 5000), {"json", "wrong_value", "wrong_type"}),
    "100,000 levels of lists": (GOOD.replace(b"12.5", b"[" * 100_000 + b"]" * 100_000), {"depth"}),
    "100,000 levels that never close": (b"[" * 100_000, {"depth", "wrong_type"}),
    "100,000 levels in an unknown field": (
        b'{"unknown":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"," + GOOD[1:],
        {"depth"},
    ),
    "a lone surrogate": (GOOD.replace(b"acme", b"\\ud800"), {"json", "encoding"}),
    "a lone surrogate in the model": (GOOD.replace(b"fraud", b"\\udfff"), {"json", "encoding"}),
    "a raw surrogate": (GOOD.replace(b"acme", b"\xed\xa0\x80"), {"json", "encoding"}),
    "a raw control character": (GOOD.replace(b"acme", b"\x00"), {"json"}),
    "single quotes": (GOOD.replace(b'"', b"'"), {"json"}),
    "a comment": (b"// event\n" + GOOD, {"json"}),
    "10 MB": (inference_bytes(instances=[{"features": {"a": "x" * 10_000_000}}]), {"too_large"}),
    "a gzip": (b"\x1f\x8b\x08\x00" + bytes(40), {"json", "encoding"}),
    "zeros": (bytes(100), {"json"}),
}


@pytest.mark.parametrize("case", POISON)
def test_poison_is_refused_with_its_reason(case: str) -> None:
    """FAULTS.md's row, and its kin; the reason is one of the words that the counter has."""
    value, reasons = POISON[case]
    error = refused(value)
    assert error.reason in reasons
    assert str(error)


@pytest.mark.parametrize("size", [MAX_EVENT_BYTES, MAX_EVENT_BYTES + 1])
def test_the_largest_event_is_taken_and_the_next_one_is_not_read(size: int) -> None:
    """Padding in an unknown field is part of the size."""
    value = inference_bytes(padding="")
    value = value.replace(b'"padding": ""', b'"padding": "' + b"x" * (size - len(value)) + b'"')
    assert len(value) == size
    if size == MAX_EVENT_BYTES:
        assert decode_inference(value).model == "fraud"
    else:
        with pytest.raises(EventError) as raised:
            decode_inference(value)
        assert raised.value.reason == "too_large"


def test_of_duplicate_keys_the_last_one_counts() -> None:
    """As everywhere in JSON; it is an event all the same."""
    assert decode_inference(GOOD[:-1] + b', "model": "other"}').model == "other"


def test_what_is_ignored_is_not_looked_at() -> None:
    """Bytes that are not UTF-8, in the name of an unknown field, cost no event."""
    assert decode_inference(GOOD.replace(b'"key_id"', b'"\xff"')).key_id is None


def test_hostile_names_are_names() -> None:
    """Quotes, line breaks, unicode and `__proto__` pass as they are: whoever shows them escapes them."""
    names = {'"', "a\nb", "\u2028", "__proto__", "", "<!channel>", "x" * 1000, "🙂"}
    event = decode_inference(inference_bytes(tenant='"\n', instances=[{"features": dict.fromkeys(names, 1)}]))
    assert set(event.instances[0].features) == names
    assert decode_inference(encode(event)) == event


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xff")
def test_no_bytes_raise_anything_but_an_event_error(value: bytes) -> None:
    """Random bytes are never an event."""
    refused(value)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.data())
def test_no_mutation_raises_anything_but_an_event_error(data: st.DataObject) -> None:
    """An event with a few bytes of it replaced, near enough to reach every part of the decoder."""
    value = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value)))
        value[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    for decode in (decode_inference, decode_labels):
        is_event_or_refused(decode, bytes(value))


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.sampled_from(sorted(INFERENCE)), json_values)
def test_no_value_of_a_field_raises_anything_but_an_event_error(field: str, value: Any) -> None:
    """Any JSON in any field."""
    is_event_or_refused(decode_inference, inference_bytes(**{field: value}))
