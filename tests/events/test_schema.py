"""The published JSON Schemas say what the code does: neither takes what the other refuses."""

import json
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jsonschema
import msgspec
import msgspec.inspect as inspect
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import EventError, decode_inference, decode_labels, encode
from events.inference import InferenceEvent, Instance
from events.labels import LabelsEvent
from tests.events.making import inference_events, json_values, labels_events
from tests.events.test_codec import INFERENCE, LABELS

ROOT = Path(__file__).parents[2]
Name: TypeAlias = Literal["inference", "labels"]
DECODE: dict[Name, Callable[[bytes], InferenceEvent | LabelsEvent]] = {
    "inference": decode_inference,
    "labels": decode_labels,
}
BASE: dict[Name, dict[str, Any]] = {"inference": INFERENCE, "labels": LABELS}
STRUCT: dict[Name, type[msgspec.Struct]] = {"inference": InferenceEvent, "labels": LabelsEvent}


def schema(name: Name) -> dict[str, Any]:
    """The schema as it is shipped."""
    loaded: dict[str, Any] = json.loads(files("events").joinpath(f"{name}-event.schema.json").read_text("utf-8"))
    return loaded


VALIDATOR = {name: jsonschema.Draft202012Validator(schema(name)) for name in DECODE}


def takes(name: Name, document: Any) -> bool:
    """Whether schema and codec take it, on which they must agree."""
    try:
        DECODE[name](json.dumps(document).encode())
        codec = True
    except EventError:
        codec = False
    by_schema = VALIDATOR[name].is_valid(document)
    assert by_schema == codec, f"the schema {'takes' if by_schema else 'refuses'} it, the codec does not agree"
    return codec


@pytest.mark.parametrize("name", DECODE)
def test_the_schema_is_a_schema(name: Name) -> None:
    """Of the draft that it names."""
    jsonschema.Draft202012Validator.check_schema(schema(name))


@settings(max_examples=100, derandomize=True, deadline=None)
@given(inference_events, labels_events)
def test_what_the_codec_encodes_the_schema_takes(event: InferenceEvent, labels: LabelsEvent) -> None:
    """Every event that can be written is valid by the published schema."""
    VALIDATOR["inference"].validate(json.loads(encode(event)))
    VALIDATOR["labels"].validate(json.loads(encode(labels)))


def fields(struct: type[msgspec.Struct]) -> dict[str, inspect.Field]:
    """A struct's fields by their names in JSON."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: field for field in info.fields}


def words(kind: inspect.Type) -> tuple[set[str], set[str]]:
    """JSON Schema's words for a type, and those for the items of its list."""
    simple: dict[type, set[str]] = {
        inspect.StrType: {"string"},
        inspect.IntType: {"integer"},
        inspect.FloatType: {"number"},
        inspect.BoolType: {"boolean"},
        inspect.NoneType: {"null"},
        inspect.DictType: {"object"},
        inspect.StructType: {"object"},
    }
    if isinstance(kind, inspect.UnionType):
        parts = [words(part) for part in kind.types]
        return set().union(*(plain for plain, _ in parts)), set().union(*(items for _, items in parts))
    if isinstance(kind, inspect.ListType):
        return {"array"}, words(kind.item_type)[0]
    return simple[type(kind)], set()


def schema_words(part: dict[str, Any], root: dict[str, Any]) -> tuple[set[str], set[str]]:
    """The same of a part of a schema."""
    if "$ref" in part:
        return schema_words(root["$defs"][part["$ref"].removeprefix("#/$defs/")], root)
    if "anyOf" in part:
        parts = [schema_words(option, root) for option in part["anyOf"]]
        return set().union(*(plain for plain, _ in parts)), set().union(*(items for _, items in parts))
    plain = {part["type"]} if isinstance(part["type"], str) else set(part["type"])
    return plain, schema_words(part["items"], root)[0] if "items" in part else set()


def without_integers(found: tuple[set[str], set[str]]) -> tuple[set[str], set[str]]:
    """An integer beside a number says nothing more in JSON Schema."""
    plain, items = (kinds - ({"integer"} if "number" in kinds else set()) for kinds in found)
    return plain, items


PARTS: dict[str, tuple[type[msgspec.Struct], dict[str, Any], dict[str, Any]]] = {
    "inference": (InferenceEvent, schema("inference"), schema("inference")),
    "instance": (Instance, schema("inference")["$defs"]["instance"], schema("inference")),
    "labels": (LabelsEvent, schema("labels"), schema("labels")),
}


@pytest.mark.parametrize("part", PARTS)
def test_the_schema_has_the_structs_fields_and_no_others(part: str) -> None:
    """Names, and which of them are required."""
    struct, of_schema, _ = PARTS[part]
    assert set(of_schema["properties"]) == set(fields(struct))
    assert set(of_schema["required"]) == {name for name, field in fields(struct).items() if field.required}


@pytest.mark.parametrize("part", PARTS)
def test_every_field_has_the_structs_type(part: str) -> None:
    """Null, enumerations and the items of lists included."""
    struct, of_schema, root = PARTS[part]
    for name, field in fields(struct).items():
        found = of_schema["properties"][name]
        if isinstance(field.type, inspect.LiteralType):
            assert set(found["enum"]) == set(field.type.values), name
        else:
            assert without_integers(words(field.type)) == schema_words(found, root), name


MUTATIONS: dict[str, tuple[Name, dict[str, Any]]] = {
    "as it is": ("inference", {}),
    "an unknown field": ("inference", {"unknown": [1]}),
    "another role": ("inference", {"role": "canary"}),
    "another outcome": ("inference", {"outcome": ""}),
    "no id": ("inference", {"id": ""}),
    "an id of 256": ("inference", {"id": "i" * 256}),
    "an id of 257": ("inference", {"id": "i" * 257}),
    "a model of 256 characters of four bytes": ("inference", {"model": "🙂" * 256}),
    "a version of 257": ("inference", {"version": "v" * 257}),
    "a long tenant": ("inference", {"tenant": "t" * 1000}),
    "a whole time": ("inference", {"time": 1790000000}),
    "time 0": ("inference", {"time": 0}),
    "a time below 0": ("inference", {"time": -0.001}),
    "the last time": ("inference", {"time": 253402300799}),
    "a time after that": ("inference", {"time": 253402300799.5}),
    "a true time": ("inference", {"time": True}),
    "a null time": ("inference", {"time": None}),
    "a null latency": ("inference", {"latency_seconds": None}),
    "a status with a fraction": ("inference", {"status": 200.5}),
    "a true status": ("inference", {"status": True}),
    "a null sampled": ("inference", {"sampled": None}),
    "sampled as a number": ("inference", {"sampled": 0}),
    "no instances": ("inference", {"instances": []}),
    "null instances": ("inference", {"instances": None}),
    "an instance without features": ("inference", {"instances": [{"prediction": 1}]}),
    "nested features": ("inference", {"instances": [{"features": {"a": {"b": [1]}}}]}),
    "a null prediction": ("inference", {"instances": [{"features": {}, "prediction": None}]}),
    "probabilities": ("inference", {"instances": [{"features": {}, "prediction": [0, 0.5]}]}),
    "a true probability": ("inference", {"instances": [{"features": {}, "prediction": [True]}]}),
    "a null probability": ("inference", {"instances": [{"features": {}, "prediction": [None]}]}),
    "an object as prediction": ("inference", {"instances": [{"features": {}, "prediction": {}}]}),
    "a null invalid": ("inference", {"instances": [{"features": {}, "invalid": None}]}),
    "labels as they are": ("labels", {}),
    "no labels": ("labels", {"labels": []}),
    "null labels": ("labels", {"labels": None}),
    "a list as label": ("labels", {"labels": [[1]]}),
    "an object as label": ("labels", {"labels": [{}]}),
    "labels of no model": ("labels", {"model": ""}),
    "labels of a number": ("labels", {"id": 1}),
    "labels with an unknown field": ("labels", {"unknown": {}}),
}
TAKEN = {
    "as it is", "an unknown field", "an id of 256", "a model of 256 characters of four bytes", "a long tenant",
    "a whole time", "time 0", "the last time", "a null latency", "no instances", "nested features",
    "a null prediction", "probabilities", "labels as they are", "no labels", "labels with an unknown field",
}  # fmt: skip


@pytest.mark.parametrize("case", MUTATIONS)
def test_schema_and_codec_agree_on_a_mutation(case: str) -> None:
    """Both take it or both refuse it, as the table says."""
    name, changes = MUTATIONS[case]
    assert takes(name, BASE[name] | changes) == (case in TAKEN)


@pytest.mark.parametrize("document", [[], None, 1, "event", {}], ids=str)
@pytest.mark.parametrize("name", DECODE)
def test_schema_and_codec_agree_on_what_is_no_event_at_all(name: Name, document: Any) -> None:
    """Both refuse it."""
    assert not takes(name, document)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.sampled_from(sorted(INFERENCE)), json_values.filter(lambda value: not isinstance(value, float)))
def test_schema_and_codec_agree_on_any_value_of_any_field(field: str, value: Any) -> None:
    """Floats left out: JSON Schema takes 200.0 for an integer, and so need not the codec."""
    takes("inference", INFERENCE | {field: value})


def test_both_schemas_are_shipped_with_the_package() -> None:
    """An installed shadowdrift has them beside its code: pyproject.toml's pattern finds both."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["events"]
    found = {path.name for pattern in patterns for path in (ROOT / "events").glob(pattern)}
    assert found == {"inference-event.schema.json", "labels-event.schema.json"}
