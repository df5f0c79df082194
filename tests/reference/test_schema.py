"""The published schema of a profile says what the code writes and reads."""

import json

import jsonschema
import msgspec
import pytest

from lifecycle.refusal import Refusal
from reference.columns import column_of
from reference.profile import Binning, Profile, load
from reference.schema import FILE, text

SCHEMA = json.loads(FILE.read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture
def document():
    """A profile with every sort of column, as JSON."""
    features = {
        "amount": column_of([0.5 * each for each in range(200)], Binning()),
        "country": column_of(["DE", "FR"] * 100, Binning()),
        "vip": column_of([True, False] * 100, Binning()),
    }
    prediction, confidence = column_of([0, 1] * 100, Binning()), column_of([0.5, 0.75] * 100, Binning())
    return json.loads(msgspec.json.encode(Profile(1, 200, Binning(), features, prediction, "", confidence)))


def test_the_file_is_what_the_code_makes():
    """`python -m reference.schema` makes it anew."""
    assert FILE.read_text("utf-8") == text()
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_what_is_written_is_valid(document):
    """Every kind of column."""
    VALIDATOR.validate(document)


DAMAGED = {
    "another format": lambda document: document.update(format=2),
    "a field of its own": lambda document: document.update(more=1),
    "no rows": lambda document: document.pop("rows"),
    "a kind that is none": lambda document: document["features"]["amount"].update(kind="text"),
    "a column without counts": lambda document: document["features"]["country"].pop("counts"),
    "a type of category that is none": lambda document: document["features"]["vip"].update(type="date"),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_what_the_schema_refuses_the_code_refuses(document, tmp_path, damage):
    """And the other way round."""
    damage(document)
    path = tmp_path / "fraud.json"
    path.write_text(json.dumps(document))
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(Refusal):
        load(path)
