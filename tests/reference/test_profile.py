"""The profile as a file, and the lines that a user reads when it does not fit."""

import msgspec
import pytest

from configuration.model import Drift, Model, Target
from lifecycle.refusal import Refusal
from reference.columns import column_of
from reference.profile import Binning, Profile, load, load_for


@pytest.fixture
def profile():
    """Two features and a prediction of classes."""
    features = {
        "amount": column_of([0.5 * each for each in range(200)], Binning()),
        "country": column_of(["DE", "FR"] * 100, Binning()),
        "count": column_of([3, 4] * 100, Binning()),
    }
    return Profile(1, 200, Binning(), features, column_of(["late", "in time"] * 100, Binning()), "made for a test")


def model(path, **drift):
    """A model with a reference."""
    return Model(
        name="fraud",
        targets={"v1": Target(url="http://a:1")},
        production="v1",
        reference=str(path),
        drift=Drift(**drift),
    )


def test_a_profile_comes_back_from_its_file_as_it_was(profile, tmp_path):
    """Written and read by the same structs."""
    path = tmp_path / "fraud.json"
    path.write_bytes(msgspec.json.encode(profile))
    assert load(path) == profile
    assert load_for(model(path), 0) == profile


def test_the_hash_is_of_everything_but_the_description_and_the_order(profile):
    """A changed hash voids windows, so it changes for a reason."""
    replace = msgspec.structs.replace
    assert replace(profile, description="another").hash == profile.hash
    assert replace(profile, features=dict(reversed(profile.features.items()))).hash == profile.hash
    assert replace(profile, rows=201).hash != profile.hash
    assert replace(profile, prediction=None).hash != profile.hash


def test_only_listed_texts_are_listed(profile):
    """What the emitter may leave in clear: strings, of columns of strings."""
    assert profile.lists("country", "DE")
    assert profile.lists("prediction", "late")
    assert not profile.lists("country", "XX")
    assert not profile.lists("count", "3")
    assert not profile.lists("amount", "0.5")
    assert not profile.lists("name", "DE")


def test_a_rare_category_is_listed_too():
    """Monitored or not."""
    column = column_of(["DE"] * 100 + ["LI"], Binning())
    assert Profile(1, 101, Binning(), {"country": column}).lists("country", "LI")


def test_a_missing_profile_is_refused_with_the_command_that_makes_one(tmp_path):
    """One line: the setting, the file, the reason, the remedy."""
    path = tmp_path / "references" / "fraud.json"
    with pytest.raises(Refusal) as refusal:
        load_for(model(path), 3)
    assert str(refusal.value) == (
        f"models[3].reference: {path} cannot be read: no such file or directory; "
        f"make it with `shadowdrift profile train.csv --output {path}`"
    )


def test_a_model_without_a_reference_has_no_profile():
    """Which is no fault."""
    assert load_for(Model(name="m", targets={"v1": Target(url="http://a:1")}, production="v1"), 0) is None


@pytest.mark.parametrize(
    ("drift", "options"),
    [
        ({"bins": 20}, "--bins 20 --binning equal_width --range 0.05 0.95"),
        ({"binning": "quantile"}, "--bins 10 --binning quantile --range 0.05 0.95"),
        ({"range": (0.0, 1.0)}, "--bins 10 --binning equal_width --range 0 1"),
    ],
)
def test_bins_other_than_the_settings_are_refused_with_the_command(profile, tmp_path, drift, options):
    """The edges come from the training data, so they cannot be made here."""
    path = tmp_path / "fraud.json"
    path.write_bytes(msgspec.json.encode(profile))
    with pytest.raises(Refusal, match=r"models\[0\].drift: asks for") as refusal:
        load_for(model(path, **drift), 0)
    assert f"shadowdrift profile train.csv --output {path} {options}" in str(refusal.value)


def test_the_range_is_no_matter_under_quantile_bins(profile, tmp_path):
    """It has no part in their edges."""
    path = tmp_path / "fraud.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(profile, binning=Binning(binning="quantile"))))
    assert load_for(model(path, binning="quantile", range=(0.0, 1.0)), 0) is not None


BROKEN = {
    "no JSON": lambda text: b"{",
    "no UTF-8": lambda text: b'{"format": "\xff"}',
    "nested too deeply": lambda text: b'{"format": 1, "x": ' + b"[" * 100_000,
    "another format": lambda text: text.replace(b'"format":1', b'"format":2'),
    "an unknown field": lambda text: text.replace(b'"rows"', b'"more":1,"rows"'),
    "a missing field": lambda text: text.replace(b'"rows":200,', b""),
    "an unknown kind": lambda text: text.replace(b'"kind":"numeric"', b'"kind":"text"'),
    "counts that do not add up": lambda text: text.replace(b'"valid":200', b'"valid":201'),
    "edges that fall": lambda text: text.replace(b'"edges":[4.975', b'"edges":[99.5'),
    "a feature named prediction": lambda text: text.replace(b'"amount"', b'"prediction"', 1),
    "a number that is none": lambda text: text.replace(b'"3":100', b'"x":100').replace(b'["3"', b'["x"'),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_profile_is_refused_in_one_line(profile, tmp_path, damage):
    """Whatever is wrong with it."""
    path = tmp_path / "fraud.json"
    whole = msgspec.json.encode(profile)
    assert damage(whole) != whole
    path.write_bytes(damage(whole))
    with pytest.raises(Refusal, match="is not a reference profile of format 1") as refusal:
        load(path, "models[0].reference")
    assert "\n" not in str(refusal.value)
