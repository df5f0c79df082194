"""`POST /labels`: label events over HTTP into `inference.labels`, from where this exporter or another one reads them.

The answer is 202 only when Kafka has all of them. Whatever else it is, sending them again is safe: labels that come
twice count once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from events.brokers import Brokers
from events.codec import EventError, check_labels, encode
from events.headers import labels_headers
from events.labels import LabelsEvent
from events.topics import LABELS

_log = logging.getLogger("shadowdrift.exporter")

MAX_BODY_BYTES: Final = 1024 * 1024
_MAX_EVENT_BYTES: Final = 512 * 1024
"""Brokers take a megabyte unless told otherwise."""
_MAX_UNDER_WAY: Final = 64
"""Requests that wait for Kafka."""
_SECONDS: Final = 10.0


class PostedLabels(LabelsEvent, kw_only=True, forbid_unknown_fields=True):
    """A label event as people send it: a field that it does not have is a slip of theirs, not of the future's."""


_decoder: Final = msgspec.json.Decoder(list[PostedLabels])
_decoder_of_one: Final = msgspec.json.Decoder(PostedLabels)


class LabelsError(ValueError):
    """What is wrong with what was sent, in one line."""


def posted_labels(body: bytes, known: Mapping[str, Any]) -> list[PostedLabels]:
    """The label events of a body: one, or a list. Raises `LabelsError` for anything else; `known` are the models."""
    many = body.lstrip()[:1] == b"["
    try:
        found = _decoder.decode(body) if many else [_decoder_of_one.decode(body)]
    except msgspec.ValidationError as error:
        raise LabelsError(_placed(str(error), many)) from None
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        raise LabelsError(f"the body is not a label event, nor a list of them: {error}") from None
    if not found:
        raise LabelsError("the list holds no label event")
    for index, event in enumerate(found):
        where = f"labels[{index}]: " if many else ""
        try:
            check_labels(event)
        except EventError as error:
            raise LabelsError(f"{where}{error}") from None
        if event.model not in known:
            raise LabelsError(f"{where}no model {event.model!r}; the configuration names {', '.join(known)}")
        if not event.labels:
            raise LabelsError(f"{where}labels must hold one for each instance of the request, got none")
        if len(encode(event)) > _MAX_EVENT_BYTES:
            raise LabelsError(f"{where}more than {_MAX_EVENT_BYTES // 1024} KiB for one event")
    return found


def _placed(text: str, many: bool) -> str:
    """msgspec's line with the place before it: `$[3].time` is `labels[3].time`."""
    what, _, where = text.partition(" - at `$")
    path = where.removesuffix("`")
    if many:
        path = f"labels{path}"
    return f"{path.lstrip('.')}: {what}" if path else what


class LabelsEndpoint:
    """Takes labels over HTTP and writes them to Kafka. `partition` tells where a model's belong, None if not known."""

    def __init__(
        self,
        brokers: Brokers,
        models: Mapping[str, Any],
        partition: Callable[[str], int | None],
        seconds: float = _SECONDS,
    ) -> None:
        self._brokers = brokers
        self._models = models
        self._partition = partition
        self._seconds = seconds
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._under_way = 0

    @property
    def routes(self) -> list[web.RouteDef]:
        """What the server is to serve."""
        return [web.post("/labels", self._post)]

    async def stop(self) -> None:
        """Let the producer go."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(producer.stop(), 2)

    async def _post(self, request: web.Request) -> web.Response:
        if "Origin" in request.headers:
            return _error(403, "labels are not taken from a browser's page")
        try:
            events = posted_labels(await request.read(), self._models)
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"the body has more than {MAX_BODY_BYTES // 1024} KiB; send it in parts")
        except LabelsError as error:
            return _error(400, str(error))
        if self._under_way >= _MAX_UNDER_WAY:
            return _error(503, "too many labels wait for Kafka; send them again later")
        self._under_way += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(events)
        except (KafkaError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            _log.warning("labels could not be written to Kafka", extra={"fields": {"reason": reason}})
            return _error(503, "Kafka does not take the labels; send them again later")
        finally:
            self._under_way -= 1
        return web.json_response({"accepted": len(events)}, status=202)

    async def _send(self, events: list[PostedLabels]) -> None:
        """Write them and wait until all are acknowledged. Raises what a producer raises."""
        places = [self._partition(event.model) for event in events]
        if None in places:
            raise TimeoutError("where labels belong is not known before Kafka has been reached")
        producer = await self._started()
        sent = [
            await producer.send(LABELS, encode(event), event.model.encode(), place, headers=labels_headers(event))
            for event, place in zip(events, places, strict=True)
        ]
        await asyncio.gather(*sent)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._brokers.arguments(),
                    acks="all",
                    request_timeout_ms=int(self._seconds * 1000),
                    retry_backoff_ms=500,
                )
                try:
                    await producer.start()
                except BaseException:
                    with contextlib.suppress(Exception):
                        await asyncio.wait_for(producer.stop(), 2)
                    raise
                self._producer = producer
            return self._producer


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": " ".join(text.split())[:1000]}, status=status)
