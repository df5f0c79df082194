"""Requests that do not fit their schema: counted by the emitter, or answered before the model is asked."""

# ruff: noqa: E501 - one answer a line

import asyncio
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration import FieldSchema, Schema
from configuration.reading import convert
from privacy.keys import Keys
from proxy.checked import FeatureSchema
from proxy.counters import Counters, shared_file
from proxy.emitter.intake import Intake
from proxy.emitter.queue import Budget, EventQueue, Queues
from proxy.layout import Layout
from tests.events.making import json_values
from tests.proxy.conftest import Serve
from tests.proxy.planes import document
from tests.proxy.test_extract import captured
from tests.support.backend import Backend, echo
from tests.support.raw_client import Answer, connected, request

FIELDS: dict[str, Any] = {
    "amount": {"type": "number", "required": True, "minimum": 0, "maximum": 100.5},
    "count": {"type": "integer"},
    "country": {"type": "string", "required": True, "categories": ["DE", "FR"]},
    "note": {"type": "string", "min_length": 2, "max_length": 5},
    "vip": {"type": "boolean"},
    "grade": {"type": "integer", "categories": [1, 2]},
}
GOOD = {"amount": 1, "country": "DE"}

BROKEN: dict[str, tuple[dict[str, Any], tuple[str, str] | None]] = {
    "the least": (GOOD, None),
    "everything": ({**GOOD, "count": 3, "note": "abc", "vip": True, "grade": 2}, None),
    "null where nothing has to be": ({**GOOD, "count": None, "note": "", "vip": None}, None),
    "a whole number as a float": ({**GOOD, "count": 3.0, "grade": 1.0}, None),
    "what the schema does not have": ({**GOOD, "x": [1]}, None),
    "a missing feature": ({"amount": 1}, ("country", "required")),
    "null": ({"amount": None, "country": "DE"}, ("amount", "required")),
    "an empty text": ({"amount": 1, "country": ""}, ("country", "required")),
    "a text where a number should be": ({**GOOD, "amount": "1"}, ("amount", "type")),
    "a boolean where a number should be": ({**GOOD, "amount": True}, ("amount", "type")),
    "a list": ({**GOOD, "amount": [1]}, ("amount", "type")),
    "an object": ({**GOOD, "country": {"a": 1}}, ("country", "type")),
    "an endless number": ({**GOOD, "amount": float("inf")}, ("amount", "type")),
    "a number beyond all": ({**GOOD, "count": 10**30}, ("count", "type")),
    "a fraction": ({**GOOD, "count": 1.5}, ("count", "type")),
    "a number where a boolean should be": ({**GOOD, "vip": 1}, ("vip", "type")),
    "a boolean that equals a category": ({**GOOD, "grade": True}, ("grade", "type")),
    "too small": ({**GOOD, "amount": -0.1}, ("amount", "minimum")),
    "too large": ({**GOOD, "amount": 101}, ("amount", "maximum")),
    "no category": ({**GOOD, "country": "de"}, ("country", "category")),
    "no category of numbers": ({**GOOD, "grade": 3}, ("grade", "category")),
    "too short": ({**GOOD, "note": "a"}, ("note", "min_length")),
    "too long": ({**GOOD, "note": "äbcdef"}, ("note", "max_length")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_field_breaks_one_rule_at_most(case: str) -> None:
    """The first in this order: it is there, it has its type, its range or its categories, its length."""
    row, expected = BROKEN[case]
    schema = Schema(fields={name: FieldSchema(**field) for name, field in FIELDS.items()})
    assert list(FeatureSchema(schema).broken(row)) == ([] if expected is None else [expected])


def test_a_closed_schema_refuses_what_it_does_not_have() -> None:
    """Without its name, which is the client's."""
    schema = Schema(fields={"a": FieldSchema(type="number")}, unknown="refuse")
    assert list(FeatureSchema(schema).broken({"a": 1, "b": 2, "c": 3})) == [("_other", "unknown")]
    assert list(FeatureSchema(schema).broken({})) == []


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(st.sampled_from([*FIELDS, "other"]), json_values))
def test_any_row_can_be_checked(row: dict[str, Any]) -> None:
    """And breaks only what the schema says can be broken."""
    schema = Schema(fields={name: FieldSchema(**field) for name, field in FIELDS.items()}, unknown="refuse")
    assert set(FeatureSchema(schema).broken(row)) <= set(schema.breakable)


# The worker's room.

REJECT = {"mode": "reject", "fields": FIELDS, "unknown": "refuse"}
REFUSED = ("schema",)


def body(**changes: Any) -> bytes:
    """A good request, changed."""
    return json.dumps({**GOOD, **changes}).encode()


ANSWERS: dict[str, tuple[bytes, dict[str, str]]] = {
    "too small": (body(amount=-3), {"error": "amount must be at least 0", "field": "amount", "rule": "minimum"}),
    "too large": (body(amount=1e9), {"error": "amount must be at most 100.5", "field": "amount", "rule": "maximum"}),
    "missing": (b'{"amount": 1}', {"error": "country is required", "field": "country", "rule": "required"}),
    "of another type": (body(count="SECRET"), {"error": "count must be of type integer", "field": "count", "rule": "type"}),
    "no category": (body(country="SECRET"), {"error": "country must be one of the schema's categories", "field": "country", "rule": "category"}),
    "too short": (body(note="S"), {"error": "note must have at least 2 characters", "field": "note", "rule": "min_length"}),
    "too long": (body(note="SECRET"), {"error": "note must have at most 5 characters", "field": "note", "rule": "max_length"}),
    "not in the schema": (body(SECRET=1), {"error": "a feature is not in the schema", "rule": "unknown"}),
    "in the second instance": (b'{"instances": [%s, {"amount": "SECRET"}]}' % body(), {"error": "amount must be of type number", "field": "amount", "rule": "type"}),
    "not JSON": (b'{"SECRET', {"error": "the body is not JSON", "rule": "body"}),
    "not UTF-8": (b'{"SECRET": "\xff"}', {"error": "the body is not JSON", "rule": "body"}),
    "too deep": (b"[" * 100_000, {"error": "the body is not JSON", "rule": "body"}),
    "empty": (b"", {"error": "the body is not JSON", "rule": "body"}),
    "of no known format": (b'["SECRET"]', {"error": "the body has no instances in a known format", "rule": "body"}),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
async def test_what_does_not_fit_is_answered_in_the_schemas_words(serve: Serve, production: Backend, case: str) -> None:
    """The model is not asked, no clone leaves, the connection stays, and nothing of the client's is in the answer."""
    sent, expected = ANSWERS[case]
    for after in ("success", "request"):
        plane = await serve(schema=REJECT, mirror={"fraction": 1, "after": after})
        async with connected(plane.port) as client:
            answer = await client.ask(request(body=sent))
            assert (answer.status, json.loads(answer.body)) == (400, expected)
            assert b"SECRET" not in answer.body
            assert answer.header("content-type") == "application/json"
            assert answer.header("connection") is None
            again = await client.ask(request(body=body()))
            assert again.status == 200
        [refused, _] = await plane.emitter.of_role("production", 2)
        assert (refused.status, refused.outcome, refused.request) == (400, "error", sent[:65536])
        assert refused.id == answer.header("x-shadowdrift-id")
        assert not refused.sampled
        assert plane.number("proxy_refused_total", *REFUSED) == 1
        assert plane.numbers("mirror_dropped_total") == {("fraud", "not_success"): 1}
        await plane.stop()
    assert len(production.calls) == 2


async def ask(port: int, raw: bytes) -> Answer:
    """One request on a connection of its own."""
    async with connected(port) as client:
        return await client.ask(raw)


async def test_what_fits_reaches_the_model_as_it_came(serve: Serve, production: Backend) -> None:
    """In one piece, in many, with 64 KiB and more of it, and behind another on the same connection."""
    production.script = echo
    plane = await serve(schema=REJECT)
    large = b'{"instances": [%s]}' % b",".join([body()] * 9000)
    assert 2**16 < len(large) < 2**20
    for sent, chunks in ((body(), 0), (body(), 3), (large, 0), (large, 50)):
        answer = await ask(plane.port, request(body=sent, chunks=chunks))
        assert (answer.status, answer.body) == (200, sent)
    async with connected(plane.port) as client:
        await client.send(
            request(body=body(amount=2)) + request(body=large) + request(body=b"x") + request(body=body(amount=3))
        )
        answers = [await client.answer() for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 400, 200]
    assert answers[1].body == large
    assert plane.numbers("proxy_schema_unchecked_total") == {}


async def test_a_body_that_cannot_be_checked_goes_to_the_model(serve: Serve, production: Backend) -> None:
    """One above the bound, told beforehand or not, and one with a content coding; it is counted."""
    production.script = echo
    plane = await serve(schema=REJECT, proxy={"parse": {"max_bytes": 1000}})
    long = b"x" * 100_000
    for raw, sent in (
        (request(body=long), long),
        (request(body=long, chunks=90), long),
        (request(body=gzip.compress(b"x"), headers=("Content-Encoding: gzip",)), gzip.compress(b"x")),
    ):
        answer = await ask(plane.port, raw)
        assert (answer.status, answer.body) == (200, sent)
    assert plane.numbers("proxy_schema_unchecked_total") == {("fraud", "too_large"): 2, ("fraud", "encoded"): 1}
    assert plane.numbers("proxy_refused_total") == {}


async def test_who_waits_to_be_told_is_told_to_go_on(serve: Serve, production: Backend) -> None:
    """Once, by the proxy: the model hears of the request when it is whole."""
    plane = await serve(schema=REJECT)
    raw = request(body=body(), headers=("Expect: 100-continue",))
    head, sent = raw[: -len(body())], raw[-len(body()) :]
    async with connected(plane.port) as client:
        await client.send(head)
        assert (await client.head()).status == 100
        await client.send(sent)
        answer = await client.answer()
    assert answer.status == 200
    assert production.calls[0].header(b"expect") is None


async def test_a_client_that_goes_before_its_body_is_whole_leaves_nothing(serve: Serve, production: Backend) -> None:
    """The model has not heard of it."""
    plane = await serve(schema=REJECT)
    async with connected(plane.port) as client:
        await client.send(request(body=body())[:-3])
        await plane.reaches(1, "inference_in_flight", "fraud", "v2", "production")
    [gone] = await plane.emitter.of_role("production")
    assert gone.outcome == "client_closed"
    assert production.calls == []


async def test_what_is_no_inference_is_not_checked(serve: Serve, production: Backend) -> None:
    """Nor read."""
    plane = await serve(schema=REJECT, inference={"paths": ["/predict"]})
    assert (await ask(plane.port, request(path="/health", body=b"x"))).status == 200
    assert (await ask(plane.port, request(method="GET", body=None))).status == 200


async def test_with_observe_everything_reaches_the_model(serve: Serve, production: Backend) -> None:
    """A broken body as it came; no worker looks into it."""
    production.script = echo
    plane = await serve(schema={"fields": FIELDS})
    for sent in (b'{"broken', body(amount="x")):
        answer = await ask(plane.port, request(body=sent))
        assert (answer.status, answer.body) == (200, sent)
    assert plane.plane.plans.all[0].gate is None
    assert not plane.plane.plans.all[0].guarded


# The emitter's count.


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[tuple[Intake, Counters]]:
    """An emitter's intake of a model with a schema."""
    made = document("http://127.0.0.1:1", "http://127.0.0.1:2", schema={"fields": FIELDS, "unknown": "refuse"})
    configuration = convert(made, tmp_path, "test")
    loop = asyncio.new_event_loop()
    layout = Layout(configuration)
    descriptor = shared_file(1, layout)
    counters = Counters(descriptor, 0, layout, loop)
    os.close(descriptor)
    queues: Queues = {
        ("fraud", role): EventQueue("fraud", role, counters, Budget()) for role in ("production", "shadow")
    }
    yield Intake(configuration, {}, Keys("k1", "5e" * 32), counters, queues, lambda: "queue_full"), counters
    loop.close()


def test_the_emitter_counts_what_is_broken(intake: tuple[Intake, Counters]) -> None:
    """By field and rule, each instance, of production's events alone: a clone is the same request once more."""
    taken, counters = intake
    rows = [{**GOOD, "amount": 1e9}, {"amount": "x", "country": "DE", "new": 1}, GOOD, {**GOOD, "amount": float("nan")}]
    many = json.dumps({"instances": rows}).encode()
    for role in ("production", "shadow"):
        for sent in (many, b'{"SECRET', b'"SECRET"', body(country={"SECRET": 1})):
            taken.take([captured(sent, role=role)])
        taken.take([captured(b"{}", role=role, encoded=True), captured(b"{}", role=role, request_truncated=True)])
    cells, layout = counters.cells, counters.layout
    counted = {labels[1:]: cells[at] for labels, at in layout.series("proxy_schema_violations_total") if cells[at]}
    assert counted == {
        ("amount", "maximum"): 1,
        ("amount", "type"): 2,
        ("_other", "unknown"): 1,
        ("_other", "body"): 2,
        ("country", "type"): 1,
    }
