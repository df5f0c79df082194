"""`shadowdrift explain`: the same as would happen, told beforehand, and nothing in it that an event would not tell."""

# ruff: noqa: E501 - one case a line

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from configuration import Privacy, Schema, Target, Texts
from configuration.model import Model, Tenant
from configuration.privacy import Bucket, FieldSchema
from events.inference import InferenceEvent
from privacy.keys import Keys
from proxy.emitter.explain import Explanation, explained, table
from proxy.emitter.extract import extract
from proxy.emitter.pseudonym import Pseudonymiser
from tests.proxy.test_extract import captured
from tests.proxy.test_pseudonym import profile

KEYS = Keys("k1", "5e" * 32)
RULES = Privacy(fields={"email": "drop", "age": Bucket(10), "card": "hash", "note": "keep"})
ROW: dict[str, Any] = {
    "country": "DE", "email": "jo@x.org", "age": 37, "card": 4111111111111111, "note": "kaput, says jo@x.org",
    "name": "Jane", "jane@x.org": 1, "l": [1], "none": None,
}  # fmt: skip


def model(**sections: Any) -> Model:
    """The shortest one with these sections."""
    return Model(name="fraud", targets={"v1": Target("http://m:1")}, production="v1", **sections)


def of(request: object, response: object = None, **sections: Any) -> Explanation:
    """The explanation of an exchange, with the reference of two countries."""
    answer = None if response is None else json.dumps(response).encode()
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return explained(model(**sections), profile(), KEYS, body, answer)


REQUESTS: dict[str, Any] = {
    "an object": ROW,
    "a list": [ROW, {"country": "XX"}],
    "instances": {"instances": [ROW, ROW]},
    "lists of values": {"instances": [["DE", 37], ["FR", "x"]]},
    "without a value": {},
}


@pytest.mark.parametrize("case", REQUESTS)
def test_what_is_explained_is_what_happens(case: str) -> None:
    """Value for value, for each format: the emitter's own event beside it."""
    sections: dict[str, Any] = {"privacy": RULES, "text": Texts(fields=("note",), patterns={"slang": "kaput"})}
    body = json.dumps(REQUESTS[case]).encode()
    instances = extract(captured(body), profile().inputs).instances
    event = InferenceEvent(
        id="i", role="production", model="fraud", version="v1", time=1.0, outcome="ok", instances=instances
    )
    Pseudonymiser(KEYS, profile(), RULES, sections["text"]).apply(event)
    explanation = of(REQUESTS[case], **sections)
    shown = [{each.feature: each.value for each in values if each.in_event} for values in explanation.instances]
    assert shown == [instance.features for instance in event.instances]
    assert explanation.patterns == [instance.patterns for instance in event.instances]


def test_each_value_has_its_place_and_its_reason() -> None:
    """By the request's format, and by the rule that holds."""
    explanation = of({"instances": [ROW]}, {"predictions": [0.5]}, privacy=RULES)
    found = {each.feature: (each.path, each.why) for each in explanation.instances[0]}
    assert explanation.format == "instances that are objects"
    assert found["country"] == ("$.instances[0].country", "in clear: listed in the reference")
    assert found["email"] == ("$.instances[0].email", "dropped: privacy.fields")
    assert found["age"][1] == "bucketed: privacy.fields"
    assert found["card"][1] == "hashed: privacy.fields"
    assert found["note"][1] == "kept, without personal data: privacy.fields"
    assert found["name"][1] == "hashed: not listed in the reference"
    assert found["l"][1] == "null: no number that is finite, no text, no boolean"
    assert found["none"][1] == "missing"
    assert found["prediction"] == ("the response", "in clear: no text")


def test_columns_that_look_like_identifiers_are_warned_of() -> None:
    """By a value or by their name, unless a rule says what to do with them."""
    row = {
        "x1": "jo@x.org", "x2": 4111111111111111, "x3": "+49 171 2345678", "x4": "DE89370400440532013000",
        "x5": "6fa459ea-ee8a-3ca4-894e-db77e160355e", "x6": "10.0.0.1", "userId": 7, "customer_name": "J", "amount": 5.5,
        "country": "DE", "width": 3, "email": "jo@x.org",
    }  # fmt: skip
    explanation = of(row, privacy=RULES)
    assert [warning.split(" ")[0] for warning in explanation.warnings] == [
        "x1", "x2", "x3", "x4", "x5", "x6", "userId", "customer_name",
    ]  # fmt: skip
    assert "holds what looks like a card number; it leaves in clear" in explanation.warnings[1]
    assert "it leaves hashed, and so still tells the same person" in explanation.warnings[0]


PROBLEMS: dict[str, tuple[bytes, object, str]] = {
    "no JSON": (b"{", None, "the request is no JSON"),
    "no format": (b"[1]", None, "the request has none of the known formats, which docs/events.md lists"),
    "too long": (b"[" * 70_000, None, "the request is longer than capture.max_bytes and is not read"),
    "another answer": (b"{}", {"outputs": 1}, "the response has none of the known formats, which docs/events.md lists"),
    "too few predictions": (b"[{}, {}]", [1], "the response has another number of predictions than the request has instances"),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_cannot_be_extracted_is_told(case: str) -> None:
    """With the reason that the emitter counts."""
    request, response, expected = PROBLEMS[case]
    assert of(request, response).problems == [expected]


def test_tenant_and_schema_are_explained() -> None:
    """Whose it would be, and which rules it breaks."""
    schema = Schema(fields={"age": FieldSchema(type="number", maximum=30)})
    tenant = Tenant(allow=("acme",), body="customer.tenant")
    explanation = of({"age": 37, "customer": {"tenant": "acme"}}, schema=schema, tenant=tenant)
    assert explanation.tenant == "acme"
    assert explanation.violations == ["instance 0: the schema's rule maximum of age is broken"]
    assert of(b"x", schema=schema).violations == ["the schema's rule body is broken"]


def test_no_explanation_tells_more_than_the_event() -> None:
    """The table can be shown to anybody: warnings name columns, not what stands in them."""
    explanation = of([ROW, {"Jane Doe <jane@x.org>": "Jane"}], ["Jane"], privacy=RULES)
    text = table(explanation) + json.dumps(explanation.warnings)
    for secret in ("Jane", "jo@x.org", "jane@", "411111", "37 "):
        assert secret not in text


def test_the_command_prints_a_table_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a configuration or without one; no key is made for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.json").write_text('{"amount": 1.5, "name": "Jane"}')
    (tmp_path / "answer.json").write_text('{"prediction": 1}')
    arguments = ["explain", "--request", "request.json", "--response", "answer.json"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "the request is an object: 1 instance" in out
    assert "there is no shadowdrift.yaml here" in out
    (tmp_path / "shadowdrift.yaml").write_text(
        "kafka: embedded\nmodels: [{name: fraud, targets: {v1: {url: 'http://127.0.0.1:1'}}, production: v1,"
        " privacy: {fields: {name: drop}}}]\n"
    )
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["feature"] for each in told["instances"][0]] == ["amount", "name", "prediction"]
    assert told["instances"][0][1] == {
        "feature": "name", "path": "$.name", "value": None, "why": "dropped: privacy.fields", "in_event": False,
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.json", "request.json", "shadowdrift.yaml"]
    assert main([*arguments, "--model", "other"]) == 2
    assert capsys.readouterr().err == "shadowdrift: explain: --model must be one of fraud, got 'other'\n"
    assert main(["explain", "--request", "nowhere.json"]) == 2
    assert capsys.readouterr().err.startswith("shadowdrift: explain: nowhere.json cannot be read: no such file")
