"""What is kept of a model brings it back as an uninterrupted process has it, wherever the former one was killed."""

import asyncio
import random
from dataclasses import replace
from unittest.mock import patch

import pytest
from aiokafka import TopicPartition

from configuration.model import Drift
from events.brokers import Brokers
from events.codec import encode
from events.headers import labels_headers
from events.labels import LabelsEvent
from events.partitions import partition_of
from events.topics import LABELS, PRODUCTION, SHADOW, TOPIC_OF_ROLE
from exporter.reading import state as writing
from exporter.reading.intake import Intake
from exporter.reading.placing import Placing
from exporter.reading.state import StateStore, Stored
from exporter.reading.stored import MAX_BYTES, Snapshot, StoredError, decoded, encoded, kept_of
from exporter.windows.measured import measured_models
from exporter.windows.models import ModelState
from exporter.windows.sections import HEADS, PAIRS, sections
from tests.exporter.making import PARTITIONS, Record, event, model, profile, record

PARTITION = partition_of("fraud", PARTITIONS)
NAMES = ("fraud", "gamma")
"""Both on one partition."""
EVERY = (PRODUCTION, SHADOW, LABELS)
TENANTS = ("acme", "initech", "umbrella")
SIZE = 10


class Log:
    """All topics of one partition, and what stands in `drift.state`."""

    def __init__(self, seed, count=600):
        chance = random.Random(seed)
        self.records = {topic: [] for topic in EVERY}
        self.state = []
        """(epoch, key, value), in the order of the log."""
        sent = []
        for _ in range(count):
            made = chance.choice(sent) if sent and chance.random() < 0.1 else self._event(chance)
            sent = [*sent[-30:], made]
            topic = TOPIC_OF_ROLE[made.role]
            self.records[topic].append(record(made, offset=len(self.records[topic])))
            if chance.random() < 0.4:
                self._label(chance.choice(sent), chance)

    def _label(self, made, chance):
        truth = LabelsEvent(
            id=made.id, model=made.model, time=made.time + 9, labels=[chance.random() for _ in made.instances]
        )
        records = self.records[LABELS]
        headers = tuple(labels_headers(truth))
        records.append(Record(encode(truth), LABELS, PARTITION, len(records), made.model.encode(), headers))

    def _event(self, chance):
        rows = [{"amount": chance.gauss(0, 1), "country": chance.choice(["DE", "FR", "XX"])}] * chance.choice([1, 1, 3])
        return event(
            *rows,
            model=chance.choice(["fraud"] * 9 + [NAMES[1]]),
            role=chance.choice(["production", "production", "shadow"]),
            tenant=chance.choice([None, "acme", "acme", "initech", "stranger"]),
            version=chance.choice(["v2"] * 9 + ["v3"]),
            id=f"{chance.randrange(40):02}-{len(self.records[PRODUCTION]) // 9}",
            sampled=True,
            outcome=chance.choice(["ok"] * 9 + ["error"]),
            prediction=chance.random(),
        )

    def ends(self):
        """By partition, where the log ends."""
        return {TopicPartition(topic, PARTITION): len(records) for topic, records in self.records.items()}

    def stored(self):
        """What an exporter reads of the state."""
        stored = Stored()
        for epoch, key, value in self.state:
            stored.take(key.encode(), value, epoch, set(NAMES))
        return stored


class Life:
    """One process from its start to its end."""

    def __init__(self, log, wall=lambda: 1_790_000_000.0, *, warm_up=False, **settings):
        self.log = log
        models = [model(name, size=SIZE, tenants=TENANTS, path_prefix=f"/{name}", **settings) for name in NAMES]
        measured = measured_models(models, [None if warm_up else profile()] * 2)
        self.intake = Intake(measured, lambda message: True)
        self.store = StateStore(Brokers("nowhere:9092"), self.intake.counters, wall)
        self.placing = Placing(self.intake, self.store)
        self.placing.move(PARTITIONS)
        ends = log.ends()
        fresh = self.placing.begin(PARTITION, [*ends], log.stored(), dict.fromkeys(ends, 0), ends)
        for standing in fresh:
            self.write(standing, first=True)

    def read(self, topic, count):
        """Read on by so many messages."""
        partition = TopicPartition(topic, PARTITION)
        position = self.placing.positions[partition]
        records = self.log.records[topic][position : position + count]
        if records:
            assert self.intake.take(records, 0, 0, 3600.0) == len(records)
            self.placing.positions[partition] = position + len(records)
            self.intake.reached(topic, PARTITION, position + len(records))

    def read_all(self):
        """Read to the ends."""
        for topic in EVERY:
            self.read(topic, len(self.log.records[topic]))

    def write_all(self):
        """Write a round of both models."""
        written = [self.write(self.placing.standing(name)) for name in NAMES]
        return all(written)

    def write(self, standing, stop_after=10**9, *, first=False):
        """Write a round of one model, or what a kill leaves of it; whether it was written whole."""
        if not first and self.intake.replaying(standing.state.measured.name):
            return True
        made = self.store.ledger.due(standing.state, standing.offsets)
        if made is None:
            return True
        texts = {each.key: encoded(each) for each in (*made.bodies, *made.heads)}
        messages = [piece for each in texts.values() for piece in each.pieces.items()]
        messages += [(key, each.text) for key, each in texts.items()]
        self.log.state += [(standing.epoch, key, value) for key, value in messages[:stop_after]]
        if stop_after < len(messages):
            return False
        self.log.state += [(standing.epoch, key, None) for key in self.store.ledger.acknowledged(made, texts)]
        return True

    def shown(self):
        """All that it keeps; of pairs and labels what they say, for which partner has gone is none of it."""
        kept = {name: kept for name, kept in self.kept().items() if not name.endswith(f"|{PAIRS}")}
        for name, state in self.intake.owned.items():
            held = [each.tolist() if hasattr(each, "tolist") else each for each in flat(state.pairs.held())]
            kept[name] = (held, state.labels.measures(None), state.shadowed.version("shadow"))
            if state.warm_up is None:  # what is remembered until the reference is written
                kept[f"{name}|{HEADS['shadow']}"].pop("recent", None)
        return kept

    def kept(self):
        """All that it keeps."""
        states = self.intake.owned.items()
        return {f"{model}|{name}": each.kept() for model, state in states for name, each in sections(state).items()}


def flat(nested):
    """The leaves of tuples in tuples."""
    for each in nested:
        if isinstance(each, tuple):
            yield from flat(each)
        else:
            yield each


def steady(log, **settings):
    """A process that reads from the beginning and is never interrupted; it leaves nothing in the topic."""
    life = Life(log, **settings)
    for topic in EVERY:
        life.placing.positions[TopicPartition(topic, PARTITION)] = 0
    for measured in life.intake.models.values():
        life.intake.own(ModelState(measured))
    log.state.clear()
    return life


@pytest.mark.parametrize("warm_up", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_process_killed_at_any_point_goes_on_as_if_nothing_had_been(seed, warm_up):
    """Between any two messages of a round, while reading, while reading again what it knew, while it warms up."""
    log, chance, compared = Log(seed), random.Random(seed), 0
    whole, log.records = log.records, {topic: [] for topic in log.records}
    other = steady(log, warm_up=warm_up)
    life = Life(log, warm_up=warm_up)
    for _ in range(80):
        for topic in log.records:
            grown = len(log.records[topic]) + chance.randrange(9)
            log.records[topic] = whole[topic][:grown]
        for _ in range(chance.randrange(4)):
            life.read(chance.choice(EVERY), chance.randrange(20))
        if chance.random() < 0.3:
            life.read_all()
        for partition, position in life.placing.positions.items():
            other.read(partition.topic, max(0, position - other.placing.positions[partition]))
        if other.placing.positions == life.placing.positions and not any(map(life.intake.replaying, NAMES)):
            compared += 1
            assert life.shown() == other.shown()
        if chance.random() < 0.5:
            standing = life.placing.standing(chance.choice(NAMES))
            if not life.write(standing, stop_after=chance.choice([0, 1, 2, 4, 6, 8, 10**9])):
                life = Life(log, warm_up=warm_up)
        elif chance.random() < 0.2:
            life = Life(log, warm_up=warm_up)
    log.records = whole
    life.read_all()
    other.read_all()
    assert not any(map(life.intake.replaying, NAMES))
    assert life.shown() == other.shown()
    assert compared > 10


@pytest.mark.parametrize("unwritten", [1, 2, 3, 6])
def test_a_kill_while_the_first_reference_of_a_warm_up_is_written_costs_nothing(unwritten):
    """Production's head is before it and other sections behind it: the same reference is made once more."""
    log = Log(11, count=400)
    other = steady(log, warm_up=True)
    other.read_all()
    whole, log.records = log.records, {topic: [] for topic in log.records}
    life = Life(log, warm_up=True)
    log.records = whole
    life.read(PRODUCTION, 30)
    life.read(SHADOW, 40)
    assert life.write_all()
    life.read(PRODUCTION, 120)
    life.read(SHADOW, 30)
    state = life.intake.owned["fraud"]
    assert state.warm_up is None
    standing = life.placing.standing("fraud")
    made = life.store.ledger.due(standing.state, standing.offsets)
    snapshots = [*made.bodies, *made.heads]
    count = sum(1 + len(encoded(each).pieces) for each in snapshots)
    assert not life.write(standing, stop_after=count - unwritten)
    again = Life(log, warm_up=True)
    assert again.intake.counters.state_dropped.total() == 0
    again.read_all()
    assert again.intake.owned["fraud"].measured.reference_hash == state.measured.reference_hash
    assert again.shown() == other.shown()
    assert again.write_all()
    assert again.intake.owned["fraud"].recent is None
    third = Life(log, warm_up=True)
    assert third.intake.counters.state_dropped.total() == 0
    assert third.shown() == other.shown()


def test_a_reference_made_of_the_traffic_is_made_anew_where_other_bins_are_asked_for(caplog):
    """What it was made of is gone, so the model warms up anew, and says why; the bins of a profile are its own."""
    log = Log(12, count=400)
    life = Life(log, warm_up=True)
    life.read_all()
    assert life.write_all()
    same = Life(log, warm_up=True, drift=Drift(alpha=0.01))
    assert same.intake.counters.state_dropped.total() == 0
    again = Life(log, warm_up=True, drift=Drift(bins=5))
    assert again.intake.counters.state_dropped["bins"] > 2
    assert again.intake.counters.state_dropped.total() == again.intake.counters.state_dropped["bins"]
    assert "other bins than drift: asks for" in caplog.text
    again.read_all()
    assert again.intake.owned["fraud"].measured.profile.binning.bins == 5
    assert again.write_all()
    third = Life(log, warm_up=True, drift=Drift(bins=5))
    assert third.intake.counters.state_dropped.total() == 0
    assert third.kept() == again.kept()


def test_what_was_not_written_is_read_again_and_what_was_is_not():
    """By the section that changed last, not by the tenant that has been silent for long."""
    log = Log(1)
    life = Life(log)
    life.read_all()
    assert life.write_all()
    again = Life(log)
    assert again.placing.positions == log.ends()
    assert again.kept() == life.kept()


def test_a_head_that_is_written_tells_that_silent_tenants_are_complete():
    """Or one tenant that never comes again would make every start read days."""
    log = Log(2)
    every = log.records[PRODUCTION]
    log.records[PRODUCTION] = every[:100]
    life = Life(log)
    life.read_all()
    assert life.write_all()
    others = [each for each in every[100:] if b'"acme"' not in each.value]
    log.records[PRODUCTION] += [replace(each, offset=number) for number, each in enumerate(others, 100)]
    before = len(log.state)
    life.read_all()
    assert life.write_all()
    assert "fraud|acme|production" not in [key for _, key, _ in log.state[before:]]
    assert Life(log).placing.positions[TopicPartition(PRODUCTION, PARTITION)] == len(log.records[PRODUCTION])


def test_what_one_model_knows_is_passed_over_when_another_is_read_from_further_back():
    """It is no event, and no duplicate either."""
    log = Log(3, count=120)
    life = Life(log)
    assert life.write_all()
    life.read_all()
    assert life.write(life.placing.standing("fraud"))
    expected = life.kept()
    again = Life(log)
    assert max(again.placing.positions.values()) == 0
    again.read_all()
    counters = again.intake.counters
    assert again.kept() == expected
    assert {model for (model, _), count in (counters.events + counters.duplicate).items() if count} == {NAMES[1]}
    assert counters.conserved()


def test_pieces_that_a_cut_round_has_left_stay_where_the_next_round_writes_the_same():
    """And go where it does not."""
    log = Log(10, count=100)
    life = Life(log)
    life.read_all()
    assert not life.write(life.placing.standing("fraud"), stop_after=3)
    cut = [key for _, key, _ in log.state if "pairs|" in key]
    assert cut
    again = Life(log)
    again.read_all()
    assert again.write_all()
    assert again.write_all()
    assert set(cut) <= log.stored().values.keys()
    log.state.append((2, "fraud|pairs|open.00", b"nobody's"))
    third = Life(log)
    assert third.kept() == again.kept()
    assert third.write_all()
    assert "fraud|pairs|open.00" not in log.stored().values


def test_series_are_shown_once_every_section_stands_at_one_instant():
    """Not while a tenant whose round was written before the kill is ahead, and not behind what was shown already."""
    log = Log(3, count=120)
    log.records, every = {topic: [] for topic in EVERY}, log.records[PRODUCTION]
    life = Life(log)
    log.records[PRODUCTION] = every[:50]
    life.read_all()
    assert life.write_all()
    log.records[PRODUCTION] = every[:60]
    life.read_all()
    assert not life.write(life.placing.standing("fraud"), stop_after=1)
    log.records[PRODUCTION] = every[:70]
    again = Life(log)
    for position in range(50, 70):
        assert again.placing.positions[TopicPartition(PRODUCTION, PARTITION)] == position
        assert again.intake.shown() == {}
        again.read(PRODUCTION, 1)
    assert again.intake.shown().keys() == set(NAMES)
    life.read_all()
    assert again.kept() == life.kept()


@pytest.mark.parametrize(
    ("settings", "reason"), [({"tenants": ("acme",)}, None), ({"window": 30}, "window"), ({"profile": 2}, "profile")]
)
def test_another_window_or_profile_begins_anew_and_says_so(settings, reason):
    """A tenant less is no reason: the others' windows are what they were."""
    log = Log(4)
    life = Life(log)
    life.read_all()
    assert life.write_all()
    measured = measured_models(
        [model(size=settings.get("window", SIZE), tenants=settings.get("tenants", TENANTS))],
        [profile(seed=settings.get("profile", 1))],
    )
    again = Intake(measured, lambda message: True)
    placing = Placing(again, StateStore(Brokers("nowhere:9092"), again.counters))
    placing.move(PARTITIONS)
    ends = log.ends()
    fresh = placing.begin(PARTITION, [*ends], log.stored(), dict.fromkeys(ends, 0), ends)
    if reason is None:
        assert (placing.positions, fresh, again.counters.state_dropped.total()) == (ends, [], 0)
    else:
        back = 10 * again.models["fraud"].size
        assert placing.positions == {each: max(0, end - back) for each, end in ends.items()}
        assert again.counters.state_dropped[reason] > 2
        assert len(fresh) == 1


@pytest.mark.parametrize(
    "damage", [b"", b"\x00", b"\x02abc", b"\x01\xc1", b"\x01" + b"\x81\xa6format\x63", b"\x05" * 99]
)
def test_damage_to_a_head_drops_the_model_and_damage_to_a_tenant_that_tenant(damage):
    """Nothing in the topic can stop the start."""
    log = Log(5)
    life = Life(log)
    life.read_all()
    assert life.write_all()
    log.state.append((1, "fraud|acme|shadow", damage))
    again = Life(log)
    assert again.intake.counters.state_dropped.total() == 1
    assert again.kept()["fraud|initech|production"] == life.kept()["fraud|initech|production"]
    assert again.intake.owned["fraud"].roles["shadow"].windows["acme"].filled == 0
    log.state.append((again.placing.epoch("fraud"), f"fraud|{HEADS['production']}", damage))
    anew = Life(log)
    assert anew.intake.counters.state_dropped["incomplete"] > 0
    assert anew.intake.owned["fraud"].roles["production"].windows["acme"].filled == 0


def test_what_a_former_owner_writes_late_is_not_believed():
    """A process that slept while its partitions went to another."""
    log = Log(6, count=120)
    sleeper = Life(log)
    sleeper.read(PRODUCTION, 100)
    assert sleeper.write_all()
    sleeper.read(PRODUCTION, 20)
    owner = Life(log)
    owner.read_all()
    assert owner.write_all()
    assert sleeper.write_all()
    again = Life(log)
    assert again.placing.positions == log.ends()
    assert again.kept() == owner.kept()


def test_a_log_that_has_lost_what_was_to_be_read_is_read_from_its_beginning():
    """And counted."""
    log = Log(7, count=120)
    life = Life(log)
    life.read(PRODUCTION, 30)
    assert life.write_all()
    intake = Intake(life.intake.models.values(), lambda message: True)
    placing = Placing(intake, StateStore(Brokers("nowhere:9092"), intake.counters))
    placing.move(PARTITIONS)
    ends = log.ends()
    placing.begin(PARTITION, [*ends], log.stored(), dict.fromkeys(ends, 35), ends)
    assert placing.positions == dict.fromkeys(ends, 35)
    assert intake.counters.offsets_gone == {PRODUCTION: 1, SHADOW: 1, LABELS: 1}


def test_topics_made_anew_since_are_read_from_ten_windows_before_their_end():
    """An offset beyond the end is of another log."""
    log = Log(8)
    life = Life(log)
    life.read_all()
    assert life.write_all()
    for records in log.records.values():
        del records[10:]
    again = Life(log)
    assert again.intake.counters.state_dropped["beyond_end"] > 0
    assert max(again.placing.positions.values()) == 0


def test_a_model_that_is_silent_for_seven_days_is_forgotten():
    """Its keys get tombstones; that it is far behind a busy neighbour's messages is written, and is no sign of life."""
    now = [1_790_000_000.0]
    log = Log(9, count=100)
    life = Life(log, wall=lambda: now[0])
    life.read_all()
    assert life.write_all()
    ledger = life.store.ledger
    now[0] += 6 * 24 * 3600
    state = life.intake.owned["fraud"]
    far = dict.fromkeys(EVERY, 30_000)
    due = ledger.due(state, far)
    assert due is not None
    assert [each.key for each in due.heads] == [f"fraud|{HEADS['shadow']}", f"fraud|{HEADS['production']}"]
    assert due.bodies == []
    ledger.acknowledged(due, {each.key: encoded(each) for each in due.heads})
    assert not ledger.silent(state)
    now[0] += 1.1 * 24 * 3600
    assert ledger.silent(state)
    assert set(ledger.keys("fraud")) == {key for _, key, _ in log.state if key.startswith("fraud|")}


def test_a_value_too_large_for_a_message_lies_in_pieces_that_are_written_once():
    """Named parts that do not change keep their pieces; what nothing names any more is told."""
    noise = random.Random(1).randbytes(2 * MAX_BYTES + 1)

    def snapshot(**parts):
        return Snapshot("m|pairs", "h", {"size": 1}, {}, 0.0, {"noise": noise, "parts": parts})

    old, new = {"a": b"1"}, {"b": b"2"}
    first = encoded(snapshot(old=old, new=new))
    assert len(first.pieces) == 5
    assert max(map(len, first.pieces.values())) <= MAX_BYTES
    value = decoded(first.text)
    assert kept_of("m|pairs", value, first.pieces) == {"noise": noise, "parts": {"old": old, "new": new}}
    later = encoded(replace(snapshot(old=dict(old), new={"b": b"3"}), written=first.parts))
    (changed,) = later.pieces
    assert changed.startswith("m|pairs|new.")
    whole = first.pieces | later.pieces
    assert kept_of("m|pairs", decoded(later.text), whole)["parts"] == {"old": old, "new": {"b": b"3"}}
    for lost in first.pieces:
        with pytest.raises(StoredError, match=r"m\|pairs"):
            kept_of("m|pairs", value, {key: piece for key, piece in first.pieces.items() if key != lost})


async def test_what_is_never_sent_on_puts_off_the_writing_of_every_model_for_a_while_and_of_none_for_ever(caplog):
    """All of them change all the time, and what waits may be of all of them."""
    life = steady(log := Log(3))
    written = set()

    class Owner:
        """Of both models, of which something waits that nobody takes."""

        models = staticmethod(lambda: list(NAMES))
        standing = staticmethod(life.placing.standing)

        async def sent_on(self, _):
            """Never."""
            await asyncio.Event().wait()

    async def send(_, standing, messages):
        written.update([standing.state.measured.name] if messages else [])

    life.placing._epochs[PARTITION] = 1
    with patch.object(writing, "_SENT_ON_SECONDS", 0.01), patch.object(life.store, "_send", send):
        for number in range(writing._PATIENCE + 1):
            assert not written, number
            life.read(PRODUCTION, len(log.records[PRODUCTION]) // 10)
            await life.store.write(Owner())
    assert written == set(NAMES)
    assert caplog.text.count("not acknowledged yet") == len(NAMES)
