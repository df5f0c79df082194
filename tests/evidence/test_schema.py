"""The published JSON Schema of the evidence says what the code does."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from evidence.document import Evidence, Freshness, Reference, decode, encode
from evidence.schema import FILE, text

ROOT = Path(__file__).parents[2]
BASE = json.loads(
    encode(
        Evidence(
            model="fraud",
            generated_at=1_790_000_000.5,
            production="v2",
            reference=Reference(source="profile", state="ready", hash="0123456789abcdef", rows=10_000),
            freshness=Freshness(),
        )
    )
)
VALIDATOR = jsonschema.Draft202012Validator(json.loads(FILE.read_text()))


def taken(document: object) -> bool:
    """Whether the codec takes it, having checked that the schema says the same."""
    try:
        decode(json.dumps(document).encode())
    except ValueError:
        codec = False
    else:
        codec = True
    assert VALIDATOR.is_valid(document) == codec
    return codec


def test_the_file_is_what_the_code_gives() -> None:
    """`python -m evidence.schema` writes it anew."""
    assert FILE.read_text() == text()


def test_it_is_a_schema_of_its_draft() -> None:
    """A validator need not guess."""
    jsonschema.Draft202012Validator.check_schema(json.loads(FILE.read_text()))


@pytest.mark.parametrize("field", ["model", "generated_at", "production", "reference", "freshness"])
def test_a_document_without_one_of_these_is_none(field: str) -> None:
    """All else has a default that says that it is not known."""
    assert taken(BASE)
    assert not taken({name: value for name, value in BASE.items() if name != field})


CHANGES = {
    "an unknown field": ({"more": [1]}, True),
    "another format": ({"format": 2}, False),
    "a null shadow": ({"shadow": None}, True),
    "a model that is a number": ({"model": 1}, False),
    "a window of no role": ({"windows": [{"tenant": "_all", "instances": 1, "size": 1, "warming": True}]}, False),
    "a window of another role": (
        {"windows": [{"tenant": "_all", "role": "canary", "instances": 1, "size": 1, "warming": True}]},
        False,
    ),
    "a null ratio": ({"early_warning": [{"feature": "a", "ratio": None}]}, False),
    "null pairs": ({"pairs": None}, True),
}


@pytest.mark.parametrize("case", CHANGES)
def test_schema_and_codec_agree(case: str) -> None:
    """Both take it or both refuse it."""
    changes, expected = CHANGES[case]
    assert taken(BASE | changes) == expected


def test_the_schema_is_shipped_with_the_package() -> None:
    """An installed shadowdrift has it beside its code."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["evidence"]
    assert FILE in {path for pattern in patterns for path in (ROOT / "evidence").glob(pattern)}
