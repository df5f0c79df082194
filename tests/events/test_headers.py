"""CloudEvents headers: what the event is, without reading its value."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings

from events.codec import MAX_TIME, decode_inference, decode_labels
from events.headers import header, inference_headers, labels_headers, rejected_headers
from events.inference import InferenceEvent
from tests.events.making import inference_events
from tests.events.test_codec import inference_bytes, labels_bytes

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def test_an_inference_event_has_the_headers_of_the_contract() -> None:
    """Names and values, as CONTRACTS.md writes them."""
    event = decode_inference(inference_bytes())
    assert dict(inference_headers(event)) == {
        "ce_specversion": b"1.0",
        "ce_id": event.id.encode(),
        "ce_type": b"shadowdrift.inference.v1",
        "ce_source": b"/shadowdrift/fraud/production",
        "ce_time": b"2026-09-21T14:13:20.123456+00:00",
        "content-type": b"application/json",
    }


def test_a_shadows_event_has_the_shadow_as_its_source() -> None:
    """The role stands in the source, not in the type."""
    headers = dict(inference_headers(decode_inference(inference_bytes(role="shadow"))))
    assert headers["ce_source"] == b"/shadowdrift/fraud/shadow"
    assert headers["ce_type"] == b"shadowdrift.inference.v1"


def test_a_label_event_has_the_headers_of_the_contract() -> None:
    """Names and values, as CONTRACTS.md writes them."""
    assert dict(labels_headers(decode_labels(labels_bytes()))) == {
        "ce_specversion": b"1.0",
        "ce_id": b"0190",
        "ce_type": b"shadowdrift.labels.v1",
        "ce_source": b"/shadowdrift/fraud/labels",
        "ce_time": b"2026-09-21T14:13:20.500000+00:00",
        "content-type": b"application/json",
    }


@pytest.mark.parametrize("time", [0, 0.000001, 1790000000, 1790000000.123456, MAX_TIME])
def test_ce_time_is_rfc_3339_and_tells_the_events_time(time: float) -> None:
    """At the ends of what the codec takes too."""
    text = header(inference_headers(decode_inference(inference_bytes(time=time))), "ce_time")
    assert text is not None
    assert RFC_3339.fullmatch(text)
    assert datetime.fromisoformat(text) == datetime.fromtimestamp(time, UTC)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(inference_events)
def test_every_event_that_the_codec_takes_has_headers(event: InferenceEvent) -> None:
    """Whatever its names are; each header stands once."""
    headers = inference_headers(event)
    assert len(dict(headers)) == len(headers) == 6
    assert header(headers, "ce_id") == event.id


def test_a_rejected_message_says_why_and_where_it_was() -> None:
    """The detail is cut; nothing in it can raise."""
    headers = rejected_headers("json", "half a character \ud800" + "x" * 1000, "inference.shadow", 3, 42)
    assert header(headers, "shadowdrift_reason") == "json"
    assert header(headers, "shadowdrift_source") == "inference.shadow/3/42"
    assert len(dict(headers)["shadowdrift_detail"]) == 500


def test_a_header_is_the_first_of_its_name() -> None:
    """Missing is None, and bytes that are not UTF-8 raise nothing."""
    headers = (("a", b"1"), ("a", b"2"), ("b", b"\xff"))
    assert header(headers, "a") == "1"
    assert header(headers, "b") == "\ufffd"
    assert header(headers, "c") is None
