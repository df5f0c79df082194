"""Labels through Kafka and over HTTP: what becomes of each message, and what of each request."""

import io

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.server import AdminServer
from events.brokers import Brokers
from events.codec import encode
from events.headers import header, labels_headers
from events.labels import LabelsEvent
from events.partitions import partition_of
from events.topics import LABELS, PRODUCTION
from exporter.reading.posted import LabelsEndpoint, LabelsError, posted_labels
from tests.exporter.making import PARTITIONS, Desk, Record, event, model, record
from tests.exporter.test_consume import GOOD, NOBODY, exporter, rejected, send, topics  # noqa: F401 - fixtures
from tests.support.development import development_broker

FRAUD = partition_of("fraud", PARTITIONS)


def label(key="a", *values, name="fraud"):
    """The truth about a request."""
    return LabelsEvent(id=key, model=name, time=1_790_000_000.0, labels=list(values or (1,)))


def message(made, **fields):
    """A label event's message, on its own partition unless told otherwise."""
    place = {"topic": LABELS, "partition": FRAUD, "headers": tuple(labels_headers(made))}
    return Record(encode(made), **{**place, **fields})


def pair(key, ours=1, theirs=1):
    """The messages of both answers to one request."""
    fields = {"id": key, "sampled": True}
    return record(event(GOOD, prediction=ours, **fields)), record(
        event(GOOD, role="shadow", prediction=theirs, **fields)
    )


def labels_of(desk):
    """What became of labels, having checked that every message is accounted for."""
    counters = desk.intake.counters
    assert counters.conserved()
    return {result: count for (_, result), count in counters.labels.items() if count}


def test_a_label_event_is_accepted_and_joins():
    """It counts as an event of the role `labels`."""
    desk = Desk()
    desk.take(*pair("a"), message(label("a")))
    assert labels_of(desk) == {"joined": 1}
    assert desk.intake.counters.events["fraud", "labels"] == 1
    assert desk.intake.owned["fraud"].labels.measures(None).labelled == 1


def test_labels_of_every_fate_are_conserved():
    """Consumed = events + rejected + duplicate + foreign."""
    desk = Desk(model(labels=msgspec.convert({"keep": 2}, type(model().labels))))
    desk.take(message(label("z")), message(label("z")), *pair("z"))
    for key in "abc":
        desk.take(*pair(key))
    desk.take(message(label("a")), message(label("b")), message(label("c", 1, 0)), message(label("b", 0)))
    assert labels_of(desk) == {"waiting": 1, "joined": 2, "late": 1, "ambiguous": 2}
    assert desk.intake.counters.duplicate["fraud", "labels"] == 1
    assert desk.intake.counters.consumed[LABELS] == 6


def test_labels_have_no_say_in_when_the_last_event_came():
    """They are late by nature."""
    desk = Desk()
    desk.take(message(label("a")))
    assert desk.intake.counters.last_event == {}


POISON = {
    "nothing": (None, "json"),
    "no labels": (b'{"id": "a", "model": "fraud", "time": 1}', "missing_field"),
    "labels that are lists": (b'{"id": "a", "model": "fraud", "time": 1, "labels": [[1]]}', "wrong_type"),
    "not a number": (b'{"id": "a", "model": "fraud", "time": 1, "labels": [NaN]}', "json"),
    "a number beyond all floats": (b'{"id": "a", "model": "fraud", "time": 1, "labels": [1e999]}', "wrong_value"),
    "an integer of 5,000 digits": (
        b'{"id": "a", "model": "fraud", "time": 1, "labels": [' + b"1" * 5_000 + b"]}",
        "wrong_value",
    ),
    "an unknown model": (encode(label(name="nobody")), "unknown_model"),
    "no id": (encode(label("")), "wrong_value"),
    "an inference event": (encode(event(GOOD)), "missing_field"),
}


@pytest.mark.parametrize(("value", "reason"), POISON.values(), ids=POISON)
def test_poison_among_labels_is_kept_aside_and_stops_nothing(value, reason):
    """As among events."""
    desk = Desk()
    desk.take(*pair("a"), Record(value, topic=LABELS, partition=FRAUD), message(label("a")))
    assert desk.intake.counters.rejected[reason] == 1
    assert labels_of(desk) == {"joined": 1}
    assert header(desk.sent[0].headers, "shadowdrift_reason") == reason


def test_an_event_of_another_type_is_no_label_and_a_label_no_event():
    """The header tells before anything is read."""
    desk = Desk()
    desk.take(
        message(label(), topic=PRODUCTION), record(event(GOOD), topic=LABELS), message(label(), headers=())
    )  # fmt: skip
    assert desk.intake.counters.rejected["event_type"] == 2
    assert labels_of(desk) == {"waiting": 1}


def test_a_label_on_a_foreign_partition_is_sent_on_once():
    """Another client's partitioner put it there."""
    desk = Desk()
    wrong = (FRAUD + 1) % PARTITIONS
    desk.take(message(label(), partition=wrong))
    (sent,) = desk.sent
    assert (sent.topic, sent.key, sent.partition) == (LABELS, b"fraud", FRAUD)
    assert desk.intake.counters.foreign[LABELS] == 1
    desk.take(Record(sent.value, topic=LABELS, partition=wrong, headers=sent.headers))
    assert desk.intake.counters.rejected["foreign_twice"] == 1
    assert labels_of(desk) == {}


def body(**changes):
    """One label event as JSON, with some fields replaced, or left out where they are None."""
    made = msgspec.to_builtins(label("a")) | changes
    return msgspec.json.encode({name: value for name, value in made.items() if value is not None})


def in_list(*parts):
    """A list of label events."""
    return b" [" + b",".join(parts) + b"]"


WRONG = {
    "nothing": (b"", "the body is not a label event, nor a list of them: "),
    "no JSON": (b"{", "the body is not a label event, nor a list of them: "),
    "not UTF-8": (b'"\xff"', ""),
    "a number": (b"5", "Expected `object`, got `int`"),
    "an empty list": (b"[]", "the list holds no label event"),
    "a field too many": (body(lables=[1]), "Object contains unknown field `lables`"),
    "no time": (body(time=None), "Object missing required field `time`"),
    "a time in milliseconds": (body(time=1.79e15), "time must be in seconds since 1970"),
    "an empty id": (body(id=""), "id, model and version need 1 to 256 characters"),
    "an unknown model": (body(model="nobody"), "no model 'nobody'; the configuration names fraud, churn"),
    "no labels": (body(labels=[]), "labels must hold one for each instance of the request, got none"),
    "a label that is a list": (body(labels=[1, []]), "labels[1]: Expected `"),
    "the second of a list": (in_list(body(), body(time="x")), "labels[1].time: Expected `float`, got `str`"),
    "an unknown model in a list": (in_list(body(), body(), body(model="x")), "labels[2]: no model 'x'"),
    "too much of it": (body(labels=["x" * 1000] * 530), "more than 512 KiB for one event"),
    "100,000 levels": (b"[" * 100_000, "labels[0]: Expected `object`, got `array`"),
}


@pytest.mark.parametrize(("sent", "line"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_posted_labels_is_told_in_one_line(sent, line):
    """Where, and what."""
    with pytest.raises(LabelsError) as raised:
        posted_labels(sent, dict.fromkeys(("fraud", "churn")))
    assert str(raised.value).startswith(line)


def test_posted_labels_are_the_events_that_were_sent():
    """One, or a list."""
    assert [each.labels for each in posted_labels(body(), {"fraud": 1})] == [[1]]
    found = posted_labels(in_list(body(id="x"), body(labels=["a", None, True, 0.5])), {"fraud": 1})
    assert [(each.id, each.labels) for each in found] == [("x", [1]), ("a", ["a", None, True, 0.5])]


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_body_raises_anything_but_one_error(sent):
    """However it was made."""
    with pytest.raises(LabelsError):
        posted_labels(sent, {"fraud": 1})


async def post(running, sent, **headers):
    """Status and answer of `POST /labels`."""
    url = running._tether.what["exporter"] + "/labels"
    async with running._http.post(url, data=sent, headers=headers) as response:
        return response.status, await response.json()


async def test_labels_over_http_and_through_kafka_become_accuracy(topics, exporter):  # noqa: F811 - a fixture
    """Both models answer, the truth is posted, or written to its topic; the gauges tell who is right."""
    running = await exporter(topics)
    await running.ready()
    answers = [
        event(GOOD, id=f"r{number}", role=role, sampled=True, prediction=float(number % 2 if role == "shadow" else 1))
        for role in ("production", "shadow")
        for number in range(20)
    ]
    await send(topics, *answers)
    await running.sees("drift_pairs", 20.0, model="fraud")
    await running.sees("drift_disagreement_ratio", 0.5, model="fraud", tenant="_all")
    truth = [label(f"r{number}", number % 2) for number in range(20)]
    assert await post(running, msgspec.json.encode(truth[:10])) == (202, {"accepted": 10})
    assert await post(running, msgspec.json.encode(truth[10])) == (202, {"accepted": 1})
    wrong = (FRAUD + 1) % PARTITIONS
    values = [(LABELS, FRAUD, encode(each), labels_headers(each)) for each in truth[10:15]]
    values += [(LABELS, wrong, encode(each), labels_headers(each)) for each in truth[15:]]
    await send(topics, values=[*values, (LABELS, FRAUD, b"{", [])])
    await running.sees("drift_labels_total", 20.0, model="fraud", result="joined")
    await running.sees("drift_accuracy_ratio", 0.5, model="fraud", role="production")
    await running.sees("drift_accuracy_ratio", 1.0, model="fraud", role="shadow")
    (pvalue,) = await running.values("drift_accuracy_pvalue", model="fraud")
    assert pvalue == pytest.approx(2 / 2**10)
    await running.sees("drift_events_total", 20.0, role="labels")
    await running.sees("drift_events_duplicate_total", 1.0, role="labels")
    await running.sees("drift_events_foreign_total", 5.0, topic=LABELS)
    (kept,) = await rejected(topics, 1)
    assert header(kept.headers, "shadowdrift_source") == f"{LABELS}/{FRAUD}/16"


async def test_what_is_posted_wrongly_is_refused(exporter):  # noqa: F811 - a fixture
    """400 with a line of JSON, 413 for too much, 403 for a browser's page; and nothing reaches Kafka."""
    async with development_broker() as servers:
        running = await exporter(servers)
        await running.ready()
        status, answer = await post(running, body(time=None))
        assert (status, answer) == (400, {"error": "Object missing required field `time`"})
        assert (await post(running, io.BytesIO(b" " * 1_100_000)))[0] == 413
        assert (await post(running, body(), Origin="http://evil.example"))[0] == 403
        assert (await post(running, body()))[0] == 202
        await running.sees("drift_events_consumed_total", 1.0, topic=LABELS)


async def test_labels_that_kafka_does_not_take_are_refused_with_503(exporter):  # noqa: F811 - a fixture
    """And can be sent again."""
    running = await exporter(NOBODY)
    status, answer = await post(running, body())
    assert (status, answer) == (503, {"error": "Kafka does not take the labels; send them again later"})


async def test_labels_need_the_token(tmp_path):
    """Wherever there is one, whatever is open without it."""
    (tmp_path / "token").write_text("secret")
    endpoint = LabelsEndpoint(Brokers(NOBODY), {"fraud": 1}, lambda _: None)
    server = AdminServer(
        bytes, lambda: None, token_file=str(tmp_path / "token"), routes=endpoint.routes,
        open_without_token=("metrics", "health", "evidence"),
    )  # fmt: skip
    address = await server.start("exporter.listen", "127.0.0.1:0")
    try:
        async with aiohttp.ClientSession() as http:
            async with http.post(f"http://{address}/labels", data=body()) as response:
                assert response.status == 401
            bearer = {"Authorization": "Bearer secret"}
            async with http.post(f"http://{address}/labels", data=body(), headers=bearer) as response:
                assert response.status == 503
    finally:
        await server.stop()
        await endpoint.stop()
