"""`shadowdrift exchanges`: what the models saw and answered, production beside shadow, as it stands in Kafka."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from cli.recorded import Found, Recorded, Wanted, read
from configuration.brokers import brokers_of
from configuration.option import load_for_part, parser
from configuration.shown import cut, one_line
from configuration.units import parse_duration
from events.inference import ROLES, InferenceEvent, Instance
from lifecycle.refusal import Refusal

_ONE_EXCHANGE_SECONDS: Final = 86_400.0
"""How long after its beginning the events of one exchange are looked for, beside what late events are given anyway."""

_NOTHING: Final = object()
_MOST_INSTANCES: Final = 20


def main(arguments: list[str]) -> int:
    """Print the exchanges; exit code 1 where there is none. Raises `Refusal`."""
    made = parser("exchanges", "Print recorded exchanges from Kafka, production's answer beside the shadow's.")
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("--id", help="one exchange, by the X-Shadowdrift-Id of its answer")
    which.add_argument("--since", metavar="TIME", help="2026-11-25T18:00:00Z, or how long ago: 10m")
    made.add_argument("--until", metavar="TIME", help="likewise; now, where it is left out")
    made.add_argument("--model", help="whose; any model's, where it is left out with --id")
    made.add_argument("--limit", type=int, default=100, help="exchanges at most (%(default)s)")
    made.add_argument("--json", action="store_true", help="a line of JSON for each exchange")
    options = made.parse_args(arguments)
    if options.limit < 1:
        raise Refusal(f"exchanges: --limit must be at least 1, got {options.limit}")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it meets is told in our own words
    configuration = load_for_part("exchanges", options.config)
    names = [model.name for model in configuration.models]
    if options.model is not None and options.model not in names:
        raise Refusal(f"exchanges: --model must be one of {', '.join(names)}, got {options.model!r}")
    if options.model is None and options.id is None and len(names) > 1:
        raise Refusal(f"exchanges: --since needs --model: one of {', '.join(names)}")
    model = options.model or (names[0] if len(names) == 1 else None)
    wanted = _by_id(options.id, model) if options.id is not None else _span(options.since, options.until, model)
    found = asyncio.run(read(brokers_of(configuration), wanted, options.limit))
    sys.stdout.write("".join(_json(each) if options.json else _text(each) for each in found.in_order()))
    sys.stderr.write(_notes(found, options.limit))
    return 0 if found.exchanges else 1


def _by_id(text: str, model: str | None) -> Wanted:
    """An id tells when it was made: UUIDv7 begins with the milliseconds since 1970."""
    try:
        identity = UUID(text)
    except ValueError:
        identity = None
    if identity is None or identity.version != 7:
        raise Refusal(f"exchanges: --id must be an X-Shadowdrift-Id, a UUID of version 7, got {cut(text)!r}")
    began = (identity.int >> 80) / 1000
    return Wanted(model, began, began + _ONE_EXCHANGE_SECONDS, str(identity))


def _span(since: str, until: str | None, model: str | None) -> Wanted:
    now = time.time()
    begin, end = _time("--since", since, now), now if until is None else _time("--until", until, now)
    if not begin < end:
        raise Refusal(f"exchanges: --since must lie before --until, got {_written(begin)} and {_written(end)}")
    return Wanted(model, begin, end)


def _time(option: str, text: str, now: float) -> float:
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refusal(f"exchanges: {option} must be like 2026-11-25T18:00:00Z or 10m, got {cut(text)!r}")
    return moment.timestamp()


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _notes(found: Found, limit: int) -> str:
    if not found.exchanges:
        return "shadowdrift: no such exchange is recorded\n"
    if found.beyond:
        return f"shadowdrift: note: there are more than {limit} exchanges; --limit shows more\n"
    return ""


def _json(recorded: Recorded) -> str:
    sides = {role: recorded.events.get(role) for role in ROLES}
    return msgspec.json.encode({"id": recorded.id, **sides}).decode() + "\n"


def _text(recorded: Recorded) -> str:
    events = [recorded.events.get(role) for role in ROLES]
    first = next(event for event in events if event is not None)
    tenant = "" if first.tenant is None else f"  tenant {one_line(first.tenant)}"
    lines = [f"{recorded.id}  {_written(recorded.time)}  {first.model}{tenant}  key {first.key_id}"]
    for role, event in zip(ROLES, events, strict=True):
        lines.append(f"  {role:<10}  {_answered(event, events[0])}")
    count = max(len(event.instances) for event in events if event is not None)
    for number in range(min(count, _MOST_INSTANCES)):
        lines += _instance(number, [_at(event, number) for event in events], several=count > 1)
    if count > _MOST_INSTANCES:
        lines.append(f"  … and {count - _MOST_INSTANCES} instances more; --json shows all")
    return "\n".join([*lines, "", ""])


def _answered(event: InferenceEvent | None, production: InferenceEvent | None) -> str:
    if event is None:
        cloned = production is not None and not production.sampled
        return "not asked" if cloned else "no event found"
    latency = "-" if event.latency_seconds is None else f"{event.latency_seconds * 1000:.1f} ms"
    cut_short = "  a body was cut" if event.truncated else ""
    return f"{event.version}  {event.status or '-'} {event.outcome}  {latency}{cut_short}"


def _at(event: InferenceEvent | None, number: int) -> Instance | None:
    return event.instances[number] if event is not None and number < len(event.instances) else None


def _instance(number: int, sides: list[Instance | None], *, several: bool) -> Iterator[str]:
    if several:
        yield f"  instance {number}"
    names = dict.fromkeys(name for side in sides if side is not None for name in side.features)
    rows = [("prediction", [_prediction(side) for side in sides])]
    rows += [
        (name, [_NOTHING if side is None else side.features.get(name, _NOTHING) for side in sides]) for name in names
    ]
    width = min(40, max(len(name) for name, _ in rows))
    for name, values in rows:
        shown = [_value(value) for value in values]
        there = [text for value, text in zip(values, shown, strict=True) if value is not _NOTHING]
        if name != "prediction" and len(set(there)) == 1:
            text = there[0]  # both were asked the same
        else:
            text = "  ".join(f"{one:<20}" for one in shown).rstrip()
        yield f"    {cut(name):<{width}}  {text}".rstrip()


def _prediction(side: Instance | None) -> Any:
    return _NOTHING if side is None or side.prediction is msgspec.UNSET else side.prediction


def _feature(side: Instance | None, name: str) -> Any:
    return _NOTHING if side is None else side.features.get(name, _NOTHING)


def _value(value: Any) -> str:
    return "-" if value is _NOTHING else cut(msgspec.json.encode(value).decode())
