"""Events to bytes and back. What cannot be taken is an `EventError` with a reason that a counter can carry."""

from __future__ import annotations

from typing import Final, Literal, TypeVar

import msgspec

from events.inference import InferenceEvent
from events.labels import LabelsEvent

RejectReason = Literal["too_large", "encoding", "json", "depth", "missing_field", "wrong_type", "wrong_value"]

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""An event above this is refused unread; the proxy's own stay far below it (two bodies of 64 KiB)."""

MAX_NAME_CHARACTERS: Final = 256
"""The longest id, model or version; a longer one is nobody's name."""

MAX_TIME: Final = 253_402_300_799.0
"""The last second of the year 9999; a greater time is milliseconds, or nonsense."""

_encoder = msgspec.json.Encoder()
_inference_decoder = msgspec.json.Decoder(InferenceEvent)
_labels_decoder = msgspec.json.Decoder(LabelsEvent)

Event = TypeVar("Event", InferenceEvent, LabelsEvent)


class EventError(ValueError):
    """A message that is not an event. `reason` is one of a few words, the text says what is wrong with it."""

    def __init__(self, reason: RejectReason, text: str) -> None:
        super().__init__(text)
        self.reason: RejectReason = reason


def encode(event: InferenceEvent | LabelsEvent) -> bytes:
    """The event as UTF-8 JSON. Numbers must be finite: the emitter has put null for those that are not."""
    return _encoder.encode(event)


def decode_inference(value: bytes | None) -> InferenceEvent:
    """Read an inference event; unknown fields are ignored.

    Raises `EventError` for anything else, however made: no input raises another exception.
    """
    try:
        if not value or len(value) > MAX_EVENT_BYTES:
            raise ValueError
        event = _inference_decoder.decode(value)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        event = _decode(_inference_decoder, value)  # raises what is wrong; kept from the way of those that are right
    if not (0 < len(event.id) <= MAX_NAME_CHARACTERS and 0 < len(event.model) <= MAX_NAME_CHARACTERS):
        raise _bad_name()
    if not 0 < len(event.version) <= MAX_NAME_CHARACTERS:
        raise _bad_name()
    _check_time(event.time)
    return event


def decode_labels(value: bytes | None) -> LabelsEvent:
    """Read a label event; unknown fields are ignored. Raises `EventError` for anything else."""
    event = _decode(_labels_decoder, value)
    check_labels(event)
    return event


def check_labels(event: LabelsEvent) -> None:
    """What the types of a label event's fields do not say. Raises `EventError`."""
    if not (0 < len(event.id) <= MAX_NAME_CHARACTERS and 0 < len(event.model) <= MAX_NAME_CHARACTERS):
        raise _bad_name()
    _check_time(event.time)


def _decode(decoder: msgspec.json.Decoder[Event], value: bytes | None) -> Event:
    if not value:
        raise EventError("json", "the message is empty")
    if len(value) > MAX_EVENT_BYTES:
        raise EventError("too_large", f"{len(value)} bytes, at most {MAX_EVENT_BYTES} are read")
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        text = str(error)
        raise EventError("missing_field" if "missing required field" in text else _kind(text), text) from None
    except UnicodeDecodeError as error:
        raise EventError("encoding", f"not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise EventError("depth", "nested too deeply") from None
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        # ValueError: an integer beyond Python's limit of digits.
        raise EventError("json", str(error)) from None


def _kind(text: str) -> RejectReason:
    """Of the right type and yet none of the values it may have, or of another type altogether."""
    return "wrong_value" if text.startswith("Invalid enum value") or "out of range" in text else "wrong_type"


def _bad_name() -> EventError:
    return EventError("wrong_value", f"id, model and version need 1 to {MAX_NAME_CHARACTERS} characters")


def _check_time(time: float) -> None:
    if not 0 <= time <= MAX_TIME:
        raise EventError("wrong_value", "time must be in seconds since 1970")
