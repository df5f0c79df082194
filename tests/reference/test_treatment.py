"""Training data hidden by the rules that live values are hidden by: what the profile lists is what stands in events."""

# ruff: noqa: E501 - rows and lines as they are

import json
from pathlib import Path
from typing import Any

import pytest

from configuration import Bucket, Privacy, Schema, Target, Texts
from configuration.model import Model
from configuration.schemas import load_schema
from events.inference import InferenceEvent, Instance
from lifecycle.refusal import Refusal
from privacy.keyed import PURPOSE, KeyedHash
from privacy.keys import Keys
from privacy.text import word_hash
from proxy.checked import FeatureSchema
from proxy.emitter.pseudonym import Pseudonymiser
from reference.command import main
from reference.draft import Draft
from reference.feature_schema import schema_of
from reference.profile import Binning, Categorical, Numeric, Profile, load, save
from reference.treatment import Treatment

KEYS = Keys("k1", "5e" * 32)
HASH = KeyedHash(KEYS.derived(PURPOSE))
NOTES = ["the printer is late again", "wifi is late", "the wifi of room 17 is slow", "printer and wifi"]
ROWS: list[dict[str, Any]] = [
    {
        "country": ["DE", "FR", "IT"][row % 3],
        "plan": ["a", "b"][row % 2],
        "age": 20.5 + row % 50,
        "card": 9007199254740993 + 2 * row,
        "vip": row % 5 == 0,
        "email": f"u{row}@example.org",
        "note": NOTES[row % 4] + " " + "abcdefghij"[row % 10] + "klmnopqrst"[row // 10],
        "remark": f"ask u{row}@example.org",
        "prediction": "yes" if row % 2 else "no",
    }
    for row in range(100)
]
PRIVACY = Privacy(
    fields={"country": "hash", "age": Bucket(10), "card": "hash", "vip": "hash", "email": "drop", "remark": "keep"}
)


def model(**sections: Any) -> Model:
    """A model with these rules."""
    sections = {"privacy": PRIVACY, **sections}
    return Model(name="m", targets={"v1": Target("http://m:1")}, production="v1", **sections)


def profile(rows: list[dict[str, Any]] = ROWS, treated: Model | None = None, **kinds: Any) -> Profile:
    """The profile of the rows."""
    draft = Draft("rows", kinds, None if treated is None else Treatment(treated, KEYS))
    draft.add_rows(rows)
    return draft.finished(Binning()).profile


def test_what_the_profile_lists_is_what_stands_in_events() -> None:
    """Hidden row by row by the emitter, the training data itself has no value that the profile does not list."""
    made = profile(treated=model())
    assert made.key_id == "k1"
    assert set(made.hashed) == {"country", "card", "vip"}
    assert "email" not in made.features
    pseudonymiser = Pseudonymiser(KEYS, made, PRIVACY)
    for row in ROWS:
        features = {name: value for name, value in row.items() if name != "prediction"}
        event = InferenceEvent(
            id="i", role="production", model="m", version="v", time=1.0, outcome="ok",
            instances=[Instance(features, row["prediction"])],
        )  # fmt: skip
        pseudonymiser.apply(event)
        hidden = event.instances[0].features
        assert hidden["country"] == HASH(row["country"])
        assert hidden["card"] == HASH(str(row["card"]))
        for name in ("country", "card", "vip", "plan"):
            column = made.features[name]
            assert isinstance(column, Categorical)
            assert hidden[name] in column.categories
        age = made.features["age"]
        assert isinstance(age, Categorical)  # six buckets are few
        assert str(int(hidden["age"])) in age.categories
        remark = made.features["remark"]
        assert isinstance(remark, Categorical)
        assert hidden["remark"] == "ask [email]"
        assert remark.categories == {"ask [email]": 100}
        assert event.instances[0].prediction == row["prediction"]


def test_no_hidden_value_stands_in_the_profile(tmp_path: Path) -> None:
    """Nor a word that only one row has."""
    rows = [{**row, "note": f"{row['note']} Secretson{number}x"} for number, row in enumerate(ROWS)]
    rows[0]["note"] = "the wifi of Jane Doering is late"
    made = profile(rows, model())
    save(made, tmp_path / "p.json")
    text = (tmp_path / "p.json").read_text()
    for secret in ("example.org", "90071992547", '"DE"', "Doering", "Secretson", "printer", "wifi"):
        assert secret not in text
    assert load(tmp_path / "p.json") == made
    assert word_hash("doering", "note", KEYS.derived("vocabulary")) not in made.texts["note"].split()
    assert word_hash("wifi", "note", KEYS.derived("vocabulary")) in made.texts["note"].split()


def test_a_text_is_recognised_and_stands_in_numbers() -> None:
    """In its place among the features; phrases, names and codes are categories as before."""
    made = profile()
    assert list(made.texts) == ["note"]
    names = list(made.features)
    at = names.index("note.length")
    assert names[at : at + 3] == ["note.length", "note.words", "note.unseen_ratio"]
    assert made.inputs == tuple(name for name in ROWS[0] if name != "prediction")
    assert not made.texts["note"].keyed
    assert made.key_id is None


TEXTS: dict[str, tuple[list[str], bool]] = {
    "sentences": ([f"this is sentence number {n}" for n in range(30)], True),
    "a few phrases that come again": (["not at all satisfied", "very much so indeed"] * 40, False),
    "names": ([f"Jane Doe{n}" for n in range(100)], False),
    "codes": ([f"A-{n}" for n in range(100)], False),
    "many phrases": ([f"number {n} of the series" for n in range(60)] * 20, True),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts_are_told_from_categories(case: str) -> None:
    """By how many words they have, and how often they come again; what is told by hand wins."""
    values, text = TEXTS[case]
    rows = [{"x": value, "y": 0.5} for value in values]
    assert ("x" in profile(rows).texts) == text
    assert "x" in profile(rows, x="text").texts
    assert "x" in profile(rows, x="categorical").features
    assert "x" in profile(rows, model(privacy=Privacy(), text=Texts(fields=("x",)))).texts


def test_the_unseen_ratio_of_training_data_is_that_of_new_texts_like_it() -> None:
    """What a row alone has brought counts as unseen in it: so the same source of texts shows no drift by itself."""
    import random

    source = random.Random(3)

    def texts(count: int) -> list[dict[str, Any]]:
        words = [f"w{'abcdefghijklmnopqrstuvwxyz'[n % 26]}{'x' * (n // 26)}" for n in range(2000)]
        weights = [1 / (n + 1) for n in range(2000)]
        return [{"t": " ".join(source.choices(words, weights, k=12))} for _ in range(count)]

    made = profile(texts(3000), t="text")
    ratio = made.features["t.unseen_ratio"]
    assert isinstance(ratio, Numeric)
    live = []
    pseudonymiser = Pseudonymiser(KEYS, made)
    for row in texts(3000):
        event = InferenceEvent(
            id="i", role="production", model="m", version="v", time=1.0, outcome="ok", instances=[Instance(dict(row))]
        )
        pseudonymiser.apply(event)
        live.append(event.instances[0].features["t.unseen_ratio"])
    # Neither all seen nor many new ones: within a fifth of what training data says.
    share_live = sum(value > 0 for value in live) / len(live)
    assert share_live > 0.05
    assert ratio.counts[-1] / ratio.valid == pytest.approx(
        sum(value > ratio.edges[-1] for value in live) / len(live), abs=0.02
    )


def test_values_of_other_types_in_a_text_are_invalid() -> None:
    """As in an event."""
    rows = [{"t": "a b c d"}] * 50 + [{"t": 5}] * 3 + [{"t": None}] * 2 + [{"t": "?"}]
    made = profile(rows, t="text")
    length, ratio = made.features["t.length"], made.features["t.unseen_ratio"]
    assert (length.valid, length.invalid, length.missing) == (51, 3, 2)
    assert (ratio.valid, ratio.invalid, ratio.missing) == (50, 3, 3)


def test_a_schema_is_made_of_a_profile_and_its_own_data_fits() -> None:
    """Required, types, ranges, categories, lengths; of a hashed column no category is known."""
    made = profile(treated=model())
    schema = schema_of(made)
    assert list(schema.fields) == list(made.inputs)
    plain = schema_of(profile())
    assert plain.fields["country"].categories == ("DE", "FR", "IT")
    assert (plain.fields["age"].minimum, plain.fields["age"].maximum) == (20.5, 69.5)
    assert plain.fields["note"].max_length == max(len(row["note"]) for row in ROWS)
    assert plain.fields["vip"].type == "boolean"
    assert all(field.required for field in plain.fields.values())
    assert schema.fields["country"].categories is None
    checked = FeatureSchema(Schema(fields=plain.fields))
    for row in ROWS:
        assert list(checked.broken(row)) == []
    assert list(checked.broken({**ROWS[0], "country": "de", "age": "x"})) == [("country", "category"), ("age", "type")]


def test_a_schema_of_hidden_data_fits_requests_as_they_come() -> None:
    """They are checked before anything is hidden: numbers that are hashed are numbers, buckets have an upper end."""
    draft = Draft("rows", {}, Treatment(model(), KEYS))
    draft.add_rows(ROWS)
    result = draft.finished(Binning())
    schema = schema_of(result.profile, PRIVACY.fields, result.types)
    assert (schema.fields["card"].type, schema.fields["vip"].type) == ("number", "boolean")
    assert (schema.fields["age"].minimum, schema.fields["age"].maximum) == (20, 70)
    assert schema.fields["remark"].categories is None
    assert schema.fields["plan"].categories == ("a", "b")
    checked = FeatureSchema(Schema(fields=schema.fields))
    for row in ROWS:
        assert list(checked.broken(row)) == []
    assert list(checked.broken({**ROWS[0], "age": 71, "card": "x"})) == [("age", "maximum"), ("card", "type")]
    assert "card" not in schema_of(result.profile, PRIVACY.fields).fields


def test_whole_numbers_in_a_few_buckets_have_a_range() -> None:
    """Not the buckets' lower ends as the only values."""
    rows = [{"age": 18 + row % 60, "amount": 1.5 * row} for row in range(200)]
    treated = model(privacy=Privacy(fields={"age": Bucket(10)}))
    field = schema_of(profile(rows, treated), treated.privacy.fields).fields["age"]
    assert (field.type, field.minimum, field.maximum, field.categories) == ("number", 10, 80, None)


CONFIG = """\
kafka: embedded
models:
  - {name: fraud, targets: {v1: {url: "http://127.0.0.1:1"}}, production: v1, privacy: {fields: {email: drop, country: hash}}}
"""


def test_the_command_takes_the_rules_and_the_key_of_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says what it has hashed, what it takes for texts, and writes the schema beside it."""
    (tmp_path / "shadowdrift.yaml").write_text(CONFIG)
    data, output, schema = tmp_path / "train.jsonl", tmp_path / "p.json", tmp_path / "schemas" / "s.json"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    arguments = [
        str(data),
        "--output",
        str(output),
        "--privacy",
        str(tmp_path / "shadowdrift.yaml"),
        "--schema",
        str(schema),
    ]
    with pytest.raises(Refusal) as raised:
        main(arguments)
    key = tmp_path / "state" / "key.json"
    assert (
        str(raised.value)
        == f"profile: --privacy: the key of the proxy: {key} cannot be read: no such file or directory; "
        "start the proxy once, which makes it, or write one (docs/privacy.md, The key)"
    )
    assert not output.exists()
    key.parent.mkdir()
    key.write_text('{"key_id": "k9", "secret": "' + "5e" * 32 + '"}')
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "told of by note.length" in out
    assert "hashed under the key k9: country" in out
    assert "column remark holds what looks like an e-mail address; give it a rule" in err
    assert "column email" not in err
    assert "example.org" not in out + err
    made = load(output)
    assert (made.key_id, made.hashed) == ("k9", ("country",))
    assert load_schema(schema, "x").fields["plan"].categories == ("a", "b")


def test_a_profile_without_texts_and_hashes_is_written_as_it_ever_was(tmp_path: Path) -> None:
    """So its hash, and with it the windows that are measured by it, stays."""
    made = profile([{"a": number + 0.5} for number in range(50)])
    save(made, tmp_path / "p.json")
    assert set(json.loads((tmp_path / "p.json").read_text())) == {
        "format", "rows", "binning", "features", "prediction", "description",
    }  # fmt: skip
