"""What stands in an event in place of what a client sent: by the reference, and by the rules of the configuration."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration import Bucket, Privacy, Texts
from events.codec import decode_inference, encode
from events.inference import InferenceEvent, Instance
from privacy.buckets import bucketed
from privacy.keyed import PURPOSE, KeyedHash
from privacy.keys import Former, Keys
from privacy.text import VOCABULARY as WORDS
from privacy.text import word_hash
from proxy.emitter.pseudonym import Pseudonymiser
from reference.columns import column_of
from reference.profile import Binning, Profile, Vocabulary

KEYS = Keys("k1", "5e" * 32)
HASH = KeyedHash(KEYS.derived(PURPOSE))


def profile(texts: dict[str, Vocabulary] | None = None, **others: Any) -> Profile:
    """A reference that lists two countries and two classes, and has ages."""
    columns = {
        "country": column_of(["DE", "FR"] * 30, Binning()),
        "age": column_of([20.5, 30.5, 40.5] * 30, Binning()),
    }
    found = {name: column for name, column in columns.items() if column is not None}
    classes = column_of(["fraud", "good"] * 30, Binning())
    return Profile(1, 90, Binning(), found, classes, texts=texts or {}, **others)


def hidden(
    features: dict[str, Any], prediction: Any = msgspec.UNSET, invalid: list[str] | None = None, **made: Any
) -> InferenceEvent:
    """The event of one row."""
    event = InferenceEvent(
        id="i", request_id="r-1", role="production", model="m", version="v", time=1.0, outcome="ok",
        instances=[Instance(features, prediction, invalid or [])],
    )  # fmt: skip
    made.setdefault("reference", profile())
    made.setdefault("keys", KEYS)
    Pseudonymiser(**made).apply(event)
    decode_inference(encode(event))
    return event


def row(features: dict[str, Any], **made: Any) -> dict[str, Any]:
    """The features of it."""
    return hidden(features, **made).instances[0].features


def test_a_string_leaves_in_clear_only_where_the_reference_lists_it() -> None:
    """In its own column; numbers, booleans and empty strings are no strings to hide."""
    shown = row({"country": "DE", "name": "DE", "age": 31, "vip": True, "e": "", "none": None})
    assert shown == {"country": "DE", "name": HASH("DE"), "age": 31, "vip": True, "e": "", "none": None}
    assert row({"country": "XX"}) == {"country": HASH("XX")}


def test_a_hash_is_the_keyed_one_of_the_contract() -> None:
    """`#` and the first 16 digits of HMAC-SHA-256, which anybody with the key can work out."""
    import hashlib
    import hmac

    digest = hmac.new(KEYS.derived("pseudonym"), b"Jane Doe", hashlib.sha256).hexdigest()
    assert row({"name": "Jane Doe"}) == {"name": "#" + digest[:16]}


def test_the_request_id_is_hidden_unless_configured() -> None:
    """It may hold whatever a client puts there."""
    assert hidden({}).request_id == HASH("r-1")
    assert hidden({}, privacy=Privacy(request_id="keep")).request_id == "r-1"
    assert hidden({}).key_id == "k1"


RULES = Privacy(
    fields={
        "email": "drop", "age": Bucket(10), "card": "hash", "note": "keep", "country": "hash", "header.agent": "keep",
    },
    patterns={"staff": r"E-\d{6}"},
)  # fmt: skip

RULED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dropped": ({"email": "a@b.de", "x": 1}, {"x": 1}),
    "dropped whatever it is": ({"email": 12}, {}),
    "a number in its bucket": ({"age": 37}, {"age": 30}),
    "a fraction": ({"age": 37.9}, {"age": 30.0}),
    "below zero": ({"age": -1}, {"age": -10}),
    "no number, in a bucket's field": ({"age": "37"}, {"age": HASH("37")}),
    "nothing, in a bucket's field": ({"age": None}, {"age": None}),
    "a boolean, in a bucket's field": ({"age": True}, {"age": True}),
    "a number that identifies": ({"card": 4111111111111111}, {"card": HASH("4111111111111111")}),
    "the same number as a float": ({"card": 4111111111111111.0}, {"card": HASH("4111111111111111")}),
    "the same as a string": ({"card": "4111111111111111"}, {"card": HASH("4111111111111111")}),
    "a boolean that identifies": ({"card": True}, {"card": HASH("true")}),
    "a listed string under `hash`": ({"country": "DE"}, {"country": HASH("DE")}),
    "kept": ({"note": "late again"}, {"note": "late again"}),
    "kept, with a number": ({"note": 7}, {"note": 7}),
    "kept without an address": ({"note": "ask jo@x.org now"}, {"note": "ask [email] now"}),
    "kept without a card": ({"note": "4111 1111 1111 1111!"}, {"note": "[card]!"}),
    "kept without a pattern of one's own": ({"note": "by E-123456"}, {"note": "by [staff]"}),
}


@pytest.mark.parametrize("case", RULED)
def test_a_field_is_hidden_by_its_rule(case: str) -> None:
    """Whatever type its value has."""
    features, expected = RULED[case]
    assert row(features, privacy=RULES) == expected


def test_the_prediction_has_rules_too() -> None:
    """As a feature of its name; a list of probabilities is no identity."""
    for rule, prediction, expected in (
        ("hash", 4111, HASH("4111")),
        ("hash", "fraud", HASH("fraud")),
        ("keep", "to jo@x.org", "to [email]"),
        (Bucket(0.1), 0.37, 0.3),
        ("drop", 0.37, msgspec.UNSET),
        ("hash", [0.5, 0.5], [0.5, 0.5]),
    ):
        privacy = Privacy(fields={"prediction": rule})  # type: ignore[dict-item]
        assert hidden({}, prediction, privacy=privacy).instances[0].prediction == expected


def test_a_dropped_field_is_not_named_as_invalid() -> None:
    """Its name says that it was there."""
    instance = hidden({"email": None, "b": None}, invalid=["email", "b"], privacy=RULES).instances[0]
    assert instance.invalid == ["b"]
    assert instance.features == {"b": None}


NAMES = {
    "a name of the reference": ("country", True),
    "one of the configuration": ("email of the user (private)", True),
    "one that looks like a name": ("Total Amount/EUR", True),
    "an address": ("jo@x.org", False),
    "a card": ("c 4111-1111-1111-1111", False),
    "a telephone number": ("tel +49 171 2345678", False),
    "another alphabet": ("имя", False),
    "a digit first": ("0", False),
    "nothing": ("", False),
    "a sentence of 80 characters": ("x" * 80, False),
    "a line break": ("a\nb", False),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_name_leaves_in_clear_if_it_is_known_or_looks_like_one(case: str) -> None:
    """A client can put anything there; what is invalid is named alike."""
    name, clear = NAMES[case]
    privacy = Privacy(fields={"email of the user (private)": "keep"})
    instance = hidden({name: None, "b": 1}, invalid=[name], privacy=privacy).instances[0]
    shown = name if clear else HASH(name)
    assert instance.features == {shown: None, "b": 1}
    assert instance.invalid == [shown]


def test_headers_are_hidden_as_features_are() -> None:
    """Under `header.` and their name."""
    event = hidden({})
    event.headers = {"agent": "curl by jo@x.org", "lang": "de"}
    Pseudonymiser(KEYS, None, RULES).apply(event)
    assert event.headers == {"agent": "curl by [email]", "lang": HASH("de")}


def test_the_same_row_is_hidden_alike_again_and_again() -> None:
    """What is remembered of earlier rows changes nothing, also once it has been forgotten."""
    pseudonymiser = Pseudonymiser(KEYS, profile(), RULES)
    first = pseudonymiser.shown("name", "Jane")
    for number in range(20_000):
        pseudonymiser.shown("name", str(number))
    assert pseudonymiser.shown("name", "Jane") == first == HASH("Jane")


@settings(derandomize=True, deadline=None)
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(1, 1000))
def test_a_bucket_holds_its_number(value: float, width: int) -> None:
    """From its lower end, which is a whole multiple, up to the next."""
    low = bucketed(value, width)
    assert low <= value
    assert value - low < width + 1e-6 * abs(value)
    assert low / width == pytest.approx(round(low / width))


@pytest.mark.parametrize("value", [1e308, -1e308, 1.7976931348623157e308, 2.0**60, 2**62])
@pytest.mark.parametrize("width", [0.1, 0.3, 5e-324])
def test_a_number_that_is_no_finer_than_buckets_is_its_own(value: float, width: float) -> None:
    """However many buckets below it there are, the event is not lost."""
    assert bucketed(value, width) == value


# Keys.


def test_hashes_are_made_under_the_key_of_the_profile_while_both_are_accepted() -> None:
    """So a profile of before a rotation is still compared; once the former key is gone, the present one is used."""
    rotated = Keys("k2", "77" * 32, Former("k1", "5e" * 32))
    old, new = profile(key_id="k1", hashed=("country",)), profile(key_id="k2", hashed=("country",))
    for keys, reference, key_id in (
        (rotated, old, "k1"),
        (rotated, new, "k2"),
        (rotated, profile(), "k2"),
        (Keys("k2", "77" * 32), old, "k2"),
    ):
        event = hidden({"country": "XX"}, keys=keys, reference=reference)
        assert event.key_id == key_id
        secret = keys.named(key_id)
        assert secret is not None
        assert event.instances[0].features["country"] == KeyedHash(secret.derived(PURPOSE))("XX")


def test_a_category_that_the_profile_lists_by_its_hash_is_the_one_that_stands_in_events() -> None:
    """The text itself is listed nowhere."""
    listed = column_of([HASH("DE"), HASH("FR")] * 30, Binning())
    assert listed is not None
    reference = msgspec.structs.replace(profile(key_id="k1", hashed=("country",)), features={"country": listed})
    shown = row({"country": "DE"}, reference=reference, privacy=Privacy(fields={"country": "hash"}))
    assert reference.lists("country", shown["country"])


# Texts.


def vocabulary(words: list[str], key: bytes = b"") -> Vocabulary:
    """Of a text named note."""
    return Vocabulary(b"".join(word_hash(word, "note", key) for word in words), keyed=bool(key))


NOTES: dict[str, tuple[Any, dict[str, Any]]] = {
    "words that are known": ("Is late", {"note.length": 7, "note.words": 2, "note.unseen_ratio": 0.0}),
    "one of four that is not": ("is late is kaput", {"note.length": 16, "note.words": 4, "note.unseen_ratio": 0.25}),
    "numbers are one word": ("late 17", {"note.length": 7, "note.words": 2, "note.unseen_ratio": 0.5}),
    "no word": ("?!", {"note.length": 2, "note.words": 0, "note.unseen_ratio": None}),
    "nothing": ("", {"note.length": None, "note.words": None, "note.unseen_ratio": None}),
    "null": (None, {"note.length": None, "note.words": None, "note.unseen_ratio": None}),
}


@pytest.mark.parametrize("case", NOTES)
def test_a_text_is_told_of_in_numbers(case: str) -> None:
    """And leaves as its hash."""
    text, expected = NOTES[case]
    reference = profile({"note": vocabulary(["is", "late"])})
    instance = hidden({"note": text}, reference=reference).instances[0]
    assert instance.features == {"note": HASH(text) if text else text, **expected}
    assert instance.invalid == []


def test_what_is_no_text_is_invalid_in_all_its_columns() -> None:
    """A number where a text should be, or a list, which extraction has made null."""
    reference = profile({"note": vocabulary(["late"])})
    for value, invalid in ((7, []), (None, ["note"])):
        instance = hidden({"note": value}, invalid=invalid, reference=reference).instances[0]
        assert instance.invalid == [*invalid, "note.length", "note.words", "note.unseen_ratio"]
        assert instance.features["note.length"] is None


def test_a_text_that_the_configuration_names_needs_no_vocabulary() -> None:
    """Its length and its words are told all the same; one that is dropped is told of too."""
    privacy = Privacy(fields={"note": "drop"})
    shown = row({"note": "wifi kaput"}, texts=Texts(fields=("note",)), privacy=privacy)
    assert shown == {"note.length": 10, "note.words": 2, "note.unseen_ratio": None}


def test_patterns_are_counted_in_texts() -> None:
    """The built-in ones, those that are taken out, and those that are only counted; none is shown where none is."""
    texts = Texts(fields=("note", "other"), patterns={"slang": r"(?i)\b(kaput|rip)\b"})
    features = {"note": "Wifi kaput, rip. Mail jo@x.org or jo@y.org, E-123456", "other": "fine", "x": "kaput"}
    instance = hidden(features, texts=texts, privacy=Privacy(patterns={"staff": r"E-\d{6}"})).instances[0]
    assert instance.patterns == {"note": {"slang": 2, "email": 2, "staff": 1}}


def test_a_vocabulary_under_another_key_tells_nothing() -> None:
    """Every word would be new, and be taken for drift."""
    words = vocabulary(["wifi"], KEYS.derived(WORDS))
    reference = profile({"note": words}, key_id="k1")
    assert row({"note": "wifi"}, reference=reference)["note.unseen_ratio"] == 0.0
    assert row({"note": "wifi"}, reference=reference, keys=Keys("k2", "77" * 32))["note.unseen_ratio"] is None
