"""Instances and predictions out of bodies: by shape, and with a reason where there are none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import decode_inference, encode
from events.inference import InferenceEvent
from privacy.keys import Keys
from proxy.emitter.extract import extract
from proxy.emitter.pseudonym import Pseudonymiser
from proxy.frames import Captured

NAMES = ("amount", "country")


def captured(request: bytes, answer: bytes | None = b"1", **changes: Any) -> Captured:
    """An exchange with these bodies."""
    one = Captured(
        id="0190", request_id="r-1", role="production", model="fraud", version="v2", tenant=None, time=1.79e9,
        latency_seconds=0.01, status=200, outcome="ok", fraction=0.05, sampled=False, request_truncated=False,
        answer_truncated=False, encoded=False, path="/predict", request=request, answer=answer,
    )  # fmt: skip
    return msgspec.structs.replace(one, **changes)


def plain(one: Captured) -> tuple[list[Any], str | None]:
    """(features, prediction, invalid) of each instance, and why something is missing."""
    result = extract(one, NAMES)
    rows = [
        (instance.features, None if instance.prediction is msgspec.UNSET else instance.prediction, instance.invalid)
        for instance in result.instances
    ]
    return rows, result.missing


REQUESTS: dict[str, tuple[bytes, list[tuple[Any, list[str]]] | str]] = {
    "a flat object": (b'{"a": 1, "b": "x", "c": null, "d": true}', [({"a": 1, "b": "x", "c": None, "d": True}, [])]),
    "an empty object": (b"{}", [({}, [])]),
    "a list of objects": (b'[{"a": 1}, {"a": 2}]', [({"a": 1}, []), ({"a": 2}, [])]),
    "instances of objects": (b'{"instances": [{"a": 1}, {"a": 2}]}', [({"a": 1}, []), ({"a": 2}, [])]),
    "instances of values": (b'{"instances": [[1, "DE"]]}', [({"amount": 1, "country": "DE"}, [])]),
    "instances of other values": (b'{"instances": [[1, 2, 3]]}', [({"f0": 1, "f1": 2, "f2": 3}, [])]),
    "no instances": (b'{"instances": []}', []),
    "instances that are none": (b'{"instances": 5}', [({"instances": 5}, [])]),
    "a feature given twice": (b'{"a": 1, "a": 2}', [({"a": 2}, [])]),
    "NaN": (b'{"a": NaN, "b": 1}', [({"a": None, "b": 1}, ["a"])]),
    "Infinity": (b'{"a": Infinity, "b": -Infinity}', [({"a": None, "b": None}, ["a", "b"])]),
    "a number beyond a double": (b'{"a": 1e999}', [({"a": None}, ["a"])]),
    "a number beyond 64 bits": (b'{"a": 123456789012345678901234567890}', [({"a": None}, ["a"])]),
    "a list as a value": (b'{"a": [1], "b": 1}', [({"a": None, "b": 1}, ["a"])]),
    "an object as a value": (b'{"a": {"b": 1}}', [({"a": None}, ["a"])]),
    "a mixed list": (b'[{"a": 1}, 2]', "shape"),
    "an empty list": (b"[]", "shape"),
    "a bare value": (b"5", "shape"),
    "instances of bare values": (b'{"instances": [1, 2]}', "shape"),
    "nothing": (b"", "not_json"),
    "not JSON": (b"a=1&b=2", "not_json"),
    "not UTF-8": (b'{"a": "\xff"}', "not_json"),
    "half a surrogate pair as a value": (b'{"a": "\\ud800"}', "not_json"),
    "half a surrogate pair as a name": (b'{"\\ud800": 1}', "not_json"),
    "half a surrogate pair beside NaN": (b'{"a": NaN, "\\udfff": 1}', "not_json"),
    "five thousand digits": (b'{"a": ' + b"9" * 5000 + b"}", "not_json"),
    "endless nesting": (b'{"a": ' + b"[" * 100_000, "not_json"),
    "deep nesting": (b"[" * 5_000 + b"]" * 5_000, "not_json"),
}  # fmt: skip


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_is_read_by_its_shape(case: str) -> None:
    """A value that cannot stand in an event is null, and named."""
    body, expected = REQUESTS[case]
    rows, missing = plain(captured(body, None))
    if isinstance(expected, str):
        assert (rows, missing) == ([], expected)
    else:
        assert ([(features, invalid) for features, _, invalid in rows], missing) == (expected, None)


ONE, TWO = b'{"a": 1}', b'[{"a": 1}, {"a": 2}]'
ANSWERS: dict[str, tuple[bytes, bytes, list[Any], str | None]] = {
    "predictions": (TWO, b'{"predictions": [0.1, 0.2]}', [0.1, 0.2], None),
    "a prediction": (ONE, b'{"prediction": "fraud"}', ["fraud"], None),
    "a list": (TWO, b"[1, 0]", [1, 0], None),
    "a bare number": (ONE, b"0.93", [0.93], None),
    "a bare text": (ONE, b'"yes"', ["yes"], None),
    "a boolean": (ONE, b"true", [True], None),
    "probabilities": (ONE, b'{"predictions": [[0.1, 0.9]]}', [[0.1, 0.9]], None),
    "a score in a list": (TWO, b'{"predictions": [[0.1], [0.2]]}', [0.1, 0.2], None),
    "objects": (TWO, b'[{"prediction": 1}, {"prediction": 2}]', [1, 2], None),
    "too few": (TWO, b'{"predictions": [1]}', [None, None], "prediction_count"),
    "too many": (ONE, b"[1, 2]", [None], "prediction_count"),
    "NaN": (TWO, b'{"predictions": [NaN, 1]}', [None, 1], "no_prediction"),
    "null": (ONE, b'{"prediction": null}', [None], "no_prediction"),
    "probabilities with NaN": (ONE, b'{"predictions": [[NaN, 0.5]]}', [None], "no_prediction"),
    "booleans as probabilities": (ONE, b'{"predictions": [[true, false]]}', [None], "no_prediction"),
    "nothing known": (ONE, b'{"outputs": 1}', [None], "shape"),
    "not JSON": (ONE, b"<html>", [None], "not_json"),
    "empty": (ONE, b"", [None], "not_json"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_read_by_its_shape(case: str) -> None:
    """One prediction for each instance, or none for any and a reason."""
    request, answer, expected, reason = ANSWERS[case]
    rows, missing = plain(captured(request, answer))
    assert ([prediction for _, prediction, _ in rows], missing) == (expected, reason)


UNREAD = {
    "a cut request": ({"request_truncated": True}, 0, "truncated"),
    "a cut answer": ({"answer_truncated": True}, 1, "truncated"),
    "a content coding": ({"encoded": True}, 0, "encoded"),
    "an error's answer": ({"outcome": "error", "status": 500}, 1, None),
    "log_only": ({"outcome": "log_only", "answer": None}, 1, None),
}


@pytest.mark.parametrize("case", UNREAD)
def test_what_cannot_be_read_is_not_guessed(case: str) -> None:
    """The instances of a request are there without their predictions; of half a request nothing is."""
    changes, count, reason = UNREAD[case]
    rows, missing = plain(captured(ONE, **changes))
    assert ([prediction for _, prediction, _ in rows], missing) == ([None] * count, reason)


# Pseudonyms.


def event(one: Captured) -> InferenceEvent:
    """The event of an exchange, pseudonymised without a reference."""
    made = InferenceEvent(
        id=one.id, request_id=one.request_id, role=one.role, model=one.model, version=one.version, time=one.time,
        outcome=one.outcome, instances=extract(one, NAMES).instances,
    )  # fmt: skip
    Pseudonymiser(Keys("k1", "5e" * 32)).apply(made)
    return made


SECRETS = st.sampled_from(["Jane Doe", "DE89370400440532013000", "jane@example.com", "ä\u2028💥", 'O\'Hara \\ "x"'])
VALUES = st.recursive(
    SECRETS | st.integers(-5, 5) | st.none(), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from("xyz"), inner)
)  # fmt: skip
ROWS = st.dictionaries(
    st.sampled_from(
        ["country", "name", "prediction", "text", "jane@example.com", "Jane Doe\u2028", "5500005555555559"]
    ),
    VALUES,
    max_size=4,
)


@settings(deadline=None, derandomize=True)
@given(ROWS | st.lists(ROWS, max_size=3) | st.fixed_dictionaries({"instances": st.lists(ROWS)}), VALUES, SECRETS)
def test_no_secret_stands_anywhere_in_an_event(request: Any, answer: Any, request_id: str) -> None:
    """Not in a feature, a prediction or the request id, however they are nested; and the event decodes."""
    one = captured(msgspec.json.encode(request), msgspec.json.encode(answer), request_id=request_id)
    value = encode(event(one))
    decode_inference(value)
    text = value.decode()
    for secret in ("Jane", "DE893", "example", "\u2028", "💥", "Hara", "\\u2028", "55000055"):
        assert secret not in text
