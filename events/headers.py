"""CloudEvents 1.0 headers in Kafka's binary mode: what the event is, without reading its value."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TypeAlias

from events.inference import InferenceEvent, Role
from events.labels import LabelsEvent

Headers: TypeAlias = list[tuple[str, bytes]]

INFERENCE_TYPE: Final = "shadowdrift.inference.v1"
LABELS_TYPE: Final = "shadowdrift.labels.v1"

_CONTENT_TYPE: Final = ("content-type", b"application/json")
_INFERENCE: Final = ("ce_type", INFERENCE_TYPE.encode())
_LABELS: Final = ("ce_type", LABELS_TYPE.encode())
_SPECVERSION: Final = ("ce_specversion", b"1.0")
CUT: Final = "shadowdrift_cut"
"""On a message in `inference.rejected` that is only the beginning of what came: how many bytes that had."""
FORWARDED: Final = "shadowdrift_forwarded"
"""Marks a message that was moved once to its model's own partition, so that none travels in a circle."""


class InferenceHeaders:
    """The headers of one model's events in one role, of which only id and time differ."""

    def __init__(self, model: str, role: Role) -> None:
        self._source = ("ce_source", f"/shadowdrift/{model}/{role}".encode())

    def __call__(self, event_id: str, time: float) -> Headers:
        """The headers of one inference event."""
        return _headers(event_id, _INFERENCE, self._source, time)


def inference_headers(event: InferenceEvent) -> Headers:
    """The headers of one inference event."""
    return InferenceHeaders(event.model, event.role)(event.id, event.time)


def labels_headers(event: LabelsEvent) -> Headers:
    """The headers of one label event."""
    return _headers(event.id, _LABELS, ("ce_source", f"/shadowdrift/{event.model}/labels".encode()), event.time)


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


def _headers(event_id: str, event_type: tuple[str, bytes], source: tuple[str, bytes], time: float) -> Headers:
    return [
        _SPECVERSION,
        ("ce_id", event_id.encode()),
        event_type,
        source,
        ("ce_time", _time(time)),
        _CONTENT_TYPE,
    ]


def _time(time: float) -> bytes:
    """Seconds since 1970 as RFC 3339 has them, to the microsecond."""
    micros = round(time * 1_000_000)
    return b"%b.%06d+00:00" % (_second(micros // 1_000_000), micros % 1_000_000)


@lru_cache(maxsize=64)
def _second(second: int) -> bytes:
    """A whole second's text: many events have the same one."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
