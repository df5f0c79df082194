"""A profile out of the events in a real Kafka."""

import asyncio
import json

import pytest
from aiokafka import AIOKafkaProducer

from events.codec import encode
from events.headers import inference_headers
from events.inference import InferenceEvent, Instance
from events.partitions import partition_of
from lifecycle.refusal import Refusal
from reference.command import main
from reference.files import profile_of
from reference.profile import Binning, load
from reference.topic_rows import TopicRange, parse_time
from tests.exporter.test_consume import PARTITIONS, topics_of

NOON = parse_time("--from", "2026-11-01T12:00:00Z")


def event(number, **fields):
    """Production's answer to one request of `fraud`, a second after the one before."""
    instance = Instance({"amount": number / 7, "country": "DE" if number % 3 else "#0123456789abcdef"}, 0.25)
    fields = {"id": f"id-{number}", "model": "fraud", "outcome": "ok", "time": NOON + number} | fields
    return InferenceEvent(**{"role": "production", "version": "v2", "instances": [instance]} | fields)


async def sent(servers, events):
    """The events in their topics, on their model's partitions, as an emitter sends them."""
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        for each in events:
            value = each if isinstance(each, bytes) else encode(each)
            made = event(0) if isinstance(each, bytes) else each
            await producer.send(
                f"inference.{made.role}",
                value,
                key=made.model.encode(),
                partition=partition_of(made.model, PARTITIONS),
                headers=inference_headers(made),
                timestamp_ms=int(made.time * 1000),
            )


CONFIGURATION = """
kafka: {{bootstrap_servers: "{servers}"}}
models: [{{name: fraud, targets: {{v2: {{url: "http://a:1"}}}}, production: v2}}]
"""
RANGE = ["--from", "2026-11-01T12:00:00Z", "--to", "2026-11-01T12:05:00Z"]


@pytest.fixture
async def profile_from(kafka, tmp_path):
    """Send events, then profile a topic with options; the profile."""
    configuration, output = tmp_path / "shadowdrift.yaml", tmp_path / "fraud.json"
    configuration.write_text(CONFIGURATION.format(servers=kafka.bootstrap_servers))
    async with topics_of(kafka.bootstrap_servers):

        async def profiled(events, *options, topic="inference.production", model="fraud"):
            await sent(kafka.bootstrap_servers, events)
            arguments = ["--topic", topic, "--model", model, "--config", str(configuration), "--output", str(output)]
            assert await asyncio.to_thread(main, [*arguments, *(options or RANGE)]) == 0
            return load(output)

        yield profiled


async def test_a_range_of_events_gives_the_profile_of_its_rows(profile_from, tmp_path):
    """The model's, answered, once each, within the range; late ones behind younger ones too. Hashes are categories."""
    inside = [event(number) for number in range(300)]
    others = [
        event(-1),
        event(300),
        event(301, model="churn"),
        event(302, outcome="error", time=NOON + 2),
        event(303, outcome="fallback", time=NOON + 3),
        inside[0],
        b"{",
        event(304, role="shadow", time=NOON + 4),
    ]
    late = event(305, time=NOON + 299.5)
    profile = await profile_from([others[0], *inside[:200], *others[1:], *inside[200:], event(400), late])
    rows = [each.instances[0] for each in [*inside, late]]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**row.features, "prediction": row.prediction}) + "\n" for row in rows))
    assert profile.hash == profile_of(path, Binning(), {}).profile.hash
    assert set(profile.features["country"].categories) == {"DE", "#0123456789abcdef"}


async def test_what_json_cannot_carry_is_invalid_and_lists_are_two_columns(profile_from):
    """As in the windows; an event of many instances is many rows, one without a prediction misses it."""
    instances = [
        Instance({"amount": None, "country": None}, [0.25, 0.75], ["amount", "vector"]),
        Instance({"amount": 1.5, "country": "DE"}, [0.5, 0.25]),
        Instance({"amount": 2.5, "country": "DE"}),
    ]
    profile = await profile_from([event(number, instances=instances) for number in range(10)])
    amount, country = profile.features["amount"], profile.features["country"]
    assert (profile.rows, amount.valid, amount.invalid, amount.missing) == (30, 20, 10, 0)
    assert (country.valid, country.missing) == (20, 10)
    assert profile.prediction.categories == {"0": 10, "1": 10}
    assert (profile.prediction.missing, profile.confidence.valid) == (10, 20)


async def test_the_shadows_answers_can_be_asked_for(profile_from):
    """Before it is made production. Without --to everything until now counts."""
    events = [event(number, role="shadow", time=NOON - 30 * 86_400) for number in range(5)]
    profile = await profile_from(events, "--from", "2026-09-01T00:00:00+02:00", topic="inference.shadow")
    assert profile.rows == 5


async def test_no_event_is_told_in_one_line_and_leaves_no_file(profile_from, tmp_path):
    """With the range as it was understood."""
    line = r"inference\.production, model fraud, from 2026-11-01T12:00:00Z to 2026-11-01T12:05:00Z: no event"
    with pytest.raises(Refusal, match=line):
        await profile_from([event(400)])
    assert not (tmp_path / "fraud.json").exists()


async def test_a_model_that_is_none_is_told_in_one_line(profile_from):
    """With those that there are."""
    with pytest.raises(Refusal, match=r"--model churn: .* has no such model; it has fraud"):
        await profile_from([], model="churn")


def test_a_kafka_that_is_away_is_told_in_one_line(tmp_path):
    """As by the other commands."""
    path = tmp_path / "shadowdrift.yaml"
    path.write_text(CONFIGURATION.format(servers="127.0.0.1:1"))
    with pytest.raises(Refusal, match=r"no broker answers at 127\.0\.0\.1:1"):
        main(["--topic", "inference.production", "--model", "fraud", "--config", str(path), "--output", "x", *RANGE])


BAD = {
    "no model": (["--topic", "inference.production", *RANGE], "--topic needs --model"),
    "no beginning": (["--topic", "inference.production", "--model", "fraud"], "--topic needs --from"),
    "another topic": (
        ["--topic", "labels", "--model", "fraud", *RANGE],
        "--topic must be one of inference",
    ),
    "no zone": (["--topic", "inference.production", "--model", "m", "--from", "2026-11-01T00:00:00"], "with its zone"),
    "no time": (["--topic", "inference.production", "--model", "m", "--from", "yesterday"], "with its zone"),
    "backwards": (
        ["--topic", "inference.production", "--model", "m", "--from", "2026-11-01T00:00Z", "--to", "2026-10-01T00:00Z"],
        "--from must lie before --to, got 2026-11-01T00:00:00Z and 2026-10-01T00:00:00Z",
    ),
    "two sources": (["train.csv", "--topic", "inference.production", "--model", "m", *RANGE], "not both"),
    "a range of a file": (["train.csv", *RANGE], "--from belongs to --topic, but train.csv is read"),
    "no source": ([], "name the training data, or a --topic"),
}


@pytest.mark.parametrize(("arguments", "line"), BAD.values(), ids=BAD)
def test_a_mistake_is_told_in_one_line(arguments, line):
    """What is missing, or what the value must be."""
    with pytest.raises(Refusal, match=line) as refusal:
        main([*arguments, "--output", "nowhere.json"])
    assert "\n" not in str(refusal.value)


def test_an_output_has_to_be_named():
    """Or nothing would come of it."""
    with pytest.raises(Refusal, match="--output must name the profile to write"):
        main(["train.csv"])


def test_a_range_is_half_open():
    """So that ranges side by side share no event."""
    wanted = TopicRange("inference.production", "fraud", NOON, NOON + 10)
    assert [wanted.takes(event(number)) for number in (-1, 0, 9, 10)] == [False, True, True, False]
