"""The tickets' scenario: its grammar, its models, what slang must do, and that the profile takes notes for texts."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from cli.main import main
from demo.classifier import Classifier
from demo.desk import application, prepared
from demo.grammar import CLASSES, SLANG_PATTERN, accuracy, tickets
from demo.observed import Observed
from demo.readings import Reading
from demo.slang import RATIO, expect_of, phases_of
from privacy.patterns import Patterns
from proxy.emitter.pseudonym import Pseudonymiser
from reference.files import profile_of
from reference.profile import Binning
from tests.proxy.test_pseudonym import KEYS, hidden


def test_a_seed_gives_the_same_tickets_again() -> None:
    """Another one gives others; every class is written about."""
    first, again, other = tickets(500, 7), tickets(500, 7), tickets(500, 8)
    assert first == again
    assert first != other
    assert set(first.truths) == set(CLASSES)
    assert not any("{" in note for note in first.notes)


def test_slang_is_a_share_of_the_tickets_and_is_found_by_its_pattern() -> None:
    """Never in those that are written as before."""
    patterns = Patterns({}, {"slang": SLANG_PATTERN})
    plain, slang = tickets(1000, 1), tickets(1000, 1, slang=0.6)
    assert not any("slang" in patterns.count(note) for note in plain.notes)
    found = sum("slang" in patterns.count(note) for note in slang.notes)
    assert 500 < found < 700


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_model_knows_what_tickets_are_about_until_they_are_slang(version: str) -> None:
    """It has never seen those words."""
    model, told = prepared(version, 3, None)
    assert told["accuracy"] > 0.95
    slang = tickets(1000, 99, slang=0.6)
    assert accuracy([model.predict(note) for note in slang.notes], slang.truths) < 0.85


async def test_the_model_answers_over_http() -> None:
    """A class; a body that is no ticket is 400."""
    known = tickets(500, 1)
    model = Classifier("v2", known.notes, known.truths)
    async with TestServer(application(model)) as server, aiohttp.ClientSession() as session:
        url = server.make_url("/predict")
        async with session.post(url, json={"note": "the printer is damaged"}) as response:
            assert await response.json() == {"prediction": "hardware"}
        for body in (b"{", b"[]", b'{"note": 1}', b"{}"):
            async with session.post(url, data=body) as response:
                assert response.status == 400


def test_the_profile_takes_notes_for_texts_and_the_expectation_agrees_with_it(tmp_path: Path) -> None:
    """What was worked out apart from profile and emitter is what they say of the same tickets."""
    training = tmp_path / "train.jsonl"
    prepared("v2", 1, training)
    made = profile_of(training, Binning(), {}).profile
    assert list(made.texts) == ["note"]
    _, after = phases_of("slang", 1)
    expectation = expect_of(tickets(12_000, 2), after)
    assert expectation.drifted[-1] == RATIO
    assert expectation.left_alone == ["waited_minutes"]
    assert expect_of(tickets(12_000, 2), phases_of("none", 1)[1]).drifted == []
    pseudonymiser = Pseudonymiser(KEYS, made)
    assert pseudonymiser.texts.keys() == {"note"}
    features = hidden({"note": "wifi kaput"}, reference=made).instances[0].features
    assert features[RATIO] == 0.5
    assert features["note"].startswith("#")


def reading(**values: float) -> Reading:
    """Gauges of a moment."""
    accuracy = [("drift_accuracy_ratio", {"role": role}, values["right"]) for role in ("production", "shadow")]
    psi = [
        ("drift_psi", {"feature": name, "tenant": "_all", "against": "reference"}, values[name.replace(".", "_")])
        for name in ("note.length", RATIO)
    ]
    window = ("drift_window_instances", {"tenant": "_all", "role": "production"}, 1000.0)
    return Reading([*accuracy, *psi, window, ("drift_text_pattern_total", {"pattern": "slang"}, values["slang"])])


GOOD = {"note_length": 1.0, "note_unseen_ratio": 3.0, "slang": 50, "right": 0.7}
ODD = {
    "as expected": ({}, None),
    "another column": (
        {"note_length": 9.0},
        "the column that moved most was note.length, not the share of unseen words",
    ),
    "no slang": ({"slang": 0}, "slang was found 0 times before and 0 after"),
    "as right as before": ({"right": 1.0}, "the accuracy of a model did not fall"),
}


@pytest.mark.parametrize("case", ODD)
def test_a_run_says_what_was_not_as_expected(case: str) -> None:
    """Of what slang alone does."""
    changes, surprise = ODD[case]
    _, after = phases_of("slang", 1)
    observed = Observed("slang", expect_of(tickets(2_000, 2), after), 1000)
    observed.steady(reading(note_length=0.01, note_unseen_ratio=0.01, slang=0, right=1.0))
    last = reading(**{**GOOD, **changes})
    observed.drifting(last, 1.0)
    observed.at_rest(Reading(), last)
    found = [line for line in observed.surprises() if "captured" not in line]
    assert found == ([] if surprise is None else [surprise])


@pytest.mark.parametrize("arguments", [["--drift", "season"], ["--feature", "note"], ["--size", "1"]])
async def test_what_is_for_flights_is_refused_for_tickets(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line."""
    assert await asyncio.to_thread(main, ["demo", "--scenario", "tickets", *arguments]) == 2
    err = capsys.readouterr().err
    assert err == "shadowdrift: --scenario tickets takes --drift slang or none, and neither --feature nor --size\n"


def test_slang_is_for_tickets_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Flights have no words."""
    assert main(["demo", "--drift", "slang"]) == 2
    assert json.dumps("slang")[1:-1] in capsys.readouterr().err
