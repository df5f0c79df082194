"""CloudEvents 1.0 headers in Kafka's binary mode: what the event is, without reading its value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, TypeAlias

from events.inference import InferenceEvent
from events.labels import LabelsEvent

Headers: TypeAlias = list[tuple[str, bytes]]

INFERENCE_TYPE: Final = "shadowdrift.inference.v1"
LABELS_TYPE: Final = "shadowdrift.labels.v1"

_CONTENT_TYPE: Final = ("content-type", b"application/json")
_SPECVERSION: Final = ("ce_specversion", b"1.0")
FORWARDED: Final = "shadowdrift_forwarded"
"""Marks a message that was moved once to its model's own partition, so that none travels in a circle."""


def inference_headers(event: InferenceEvent) -> Headers:
    """The headers of one inference event."""
    return _headers(event.id, INFERENCE_TYPE, f"/shadowdrift/{event.model}/{event.role}", event.time)


def labels_headers(event: LabelsEvent) -> Headers:
    """The headers of one label event."""
    return _headers(event.id, LABELS_TYPE, f"/shadowdrift/{event.model}/labels", event.time)


def rejected_headers(reason: str, text: str, topic: str, partition: int, offset: int) -> Headers:
    """Headers beside a message in `inference.rejected`: why it is there, and where it came from."""
    return [
        ("shadowdrift_reason", reason.encode()),
        ("shadowdrift_detail", text.encode("utf-8", "replace")[:500]),
        ("shadowdrift_source", f"{topic}/{partition}/{offset}".encode()),
    ]


def header(headers: tuple[tuple[str, bytes], ...] | Headers, name: str) -> str | None:
    """The first header of that name, or None."""
    for key, value in headers:
        if key == name:
            return (value or b"").decode("utf-8", "replace")
    return None


def _headers(event_id: str, event_type: str, source: str, time: float) -> Headers:
    return [
        _SPECVERSION,
        ("ce_id", event_id.encode()),
        ("ce_type", event_type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds").encode()),
        _CONTENT_TYPE,
    ]
