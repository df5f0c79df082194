"""A profile's file that changes while a part runs."""

import os

import msgspec
import pytest

from configuration.model import Model, Target
from lifecycle.refusal import Refusal
from reference.profile import save
from reference.watch import Watched
from tests.exporter.making import profile

REPLACE = msgspec.structs.replace


@pytest.fixture
def path(tmp_path):
    """A profile's file."""
    save(profile(), tmp_path / "fraud.json")
    return tmp_path / "fraud.json"


@pytest.fixture
def watched(path):
    """The file, loaded."""
    model = Model(name="fraud", targets={"v1": Target(url="http://a:1")}, production="v1", reference=str(path))
    return Watched(model, 0)


def test_an_unchanged_file_is_no_change(watched, path):
    """Touched, or written anew with the same content."""
    assert watched.look() is None
    os.utime(path)
    assert watched.look() is None
    save(profile(), path)
    assert watched.look() is None


def test_a_changed_file_is_taken_once(watched, path):
    """The profile, and nothing at the next look."""
    changed = profile(seed=2)
    save(changed, path)
    assert watched.look() == (changed, None)
    assert watched.profile == changed
    assert watched.look() is None


def test_another_description_is_a_change_with_the_same_hash(watched, path):
    """It is shown, and voids nothing."""
    save(REPLACE(profile(), description="spring"), path)
    found = watched.look()
    assert found.profile.description == "spring"
    assert found.profile.hash == profile().hash


def test_another_order_is_a_change_with_the_same_hash(watched, path):
    """By it the emitter names the values of instances that are lists."""
    save(REPLACE(profile(), features=dict(reversed(profile().features.items()))), path)
    found = watched.look()
    assert found.profile.inputs == ("country", "amount")
    assert found.profile.hash == profile().hash


BROKEN = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "of other bins": lambda path: save(REPLACE(profile(), binning=REPLACE(profile().binning, bins=4)), path),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_leaves_the_last_good_one_in_force_and_is_told_once(watched, path, damage):
    """Until it is mended; the same profile as before ends the refusal, too."""
    good = watched.profile
    damage(path)
    found = watched.look()
    assert found.profile is None
    assert found.refused.startswith("models[0].")
    assert "\n" not in found.refused
    assert watched.look() is None
    assert watched.profile is good
    save(profile(), path)
    assert watched.look() == (profile(), None)
    assert watched.refused is None


def test_a_file_that_changes_within_a_tick_of_its_clock_is_noticed(watched, path):
    """Same size, same time, same place: only its content tells."""
    text = path.read_bytes()
    changed = text.replace(b'"rows": 1000', b'"rows": 1001')
    assert changed != text
    was = path.stat()
    path.write_bytes(changed)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert watched.look().profile.rows == 1001


def test_a_broken_file_refuses_the_start(tmp_path, path, watched):
    """There is no last good one."""
    path.write_text("{")
    with pytest.raises(Refusal, match=r"models\[0\].reference"):
        Watched(watched._model, 0)
