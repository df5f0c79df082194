"""The key file: made once, for this user alone, and the same for everybody who starts at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle.refusal import Refusal
from privacy.keys import FILE_NAME, Former, Keys, load, load_or_make

CHECKOUT = Path(__file__).parents[2]


def test_the_key_is_made_once(tmp_path: Path) -> None:
    """A restart finds the same; the directory is made too, and no draft is left in it."""
    directory = tmp_path / "new" / "state"
    first = load_or_make(directory)
    assert load_or_make(directory) == first
    assert [path.name for path in directory.iterdir()] == [FILE_NAME]
    assert len(bytes.fromhex(first.secret)) == 32
    assert first.key_id.startswith("k")


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    """Whatever the umask is."""
    program = "import os, sys; os.umask(0); from pathlib import Path; from privacy.keys import load_or_make; load_or_make(Path(sys.argv[1]))"  # noqa: E501
    subprocess.run([sys.executable, "-c", program, tmp_path], cwd=CHECKOUT, check=True)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_each_directory_has_a_key_of_its_own(tmp_path: Path) -> None:
    """Two installations choose different requests, and hash differently."""
    first, second = load_or_make(tmp_path / "a"), load_or_make(tmp_path / "b")
    assert first.secret != second.secret
    assert first.key_id != second.key_id


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    """Each waits for the others at the gate, then all make a key; one of them counts for all."""
    program = """
import sys
from pathlib import Path
from privacy.keys import load_or_make
print("ready", flush=True)
sys.stdin.readline()
print(load_or_make(Path(sys.argv[1])).secret)
"""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / "state"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    secrets = {racer.communicate("go\n", timeout=20)[0].strip() for racer in racers}
    assert secrets == {load_or_make(tmp_path / "state").secret}
    assert [path.name for path in (tmp_path / "state").iterdir()] == [FILE_NAME]


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "half": b'{"key_id": "k1", "sec',
    "not UTF-8": b"\xff\xfe",
    "a list": b"[]",
    "without the secret": b'{"key_id": "k1"}',
    "without a name": json.dumps({"key_id": "", "secret": "ab" * 32}).encode(),
    "a secret that is no hexadecimal": json.dumps({"key_id": "k1", "secret": "secret" * 10}).encode(),
    "a short secret": json.dumps({"key_id": "k1", "secret": "ab" * 15}).encode(),
    "a secret that is a number": json.dumps({"key_id": "k1", "secret": 7}).encode(),
    "a long secret": json.dumps({"key_id": "k1", "secret": "ab" * 65}).encode(),
    "too deep": b'{"unknown":' + b"[" * 100_000,
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_line_and_stays_as_it_is(case: str, tmp_path: Path) -> None:
    """A new key in its place would silently choose other requests; the secret is not in the line."""
    path = tmp_path / FILE_NAME
    path.write_bytes(BROKEN[case])
    with pytest.raises(Refusal) as raised:
        load_or_make(tmp_path)
    assert str(raised.value) == f"state_dir: {path} is not a key file; restore it, or remove it for a new key"
    assert path.read_bytes() == BROKEN[case]


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """Such as below a file."""
    (tmp_path / "file").touch()
    with pytest.raises(Refusal) as raised:
        load_or_make(tmp_path / "file" / "state")
    assert str(raised.value) == f"state_dir: {tmp_path}/file/state/{FILE_NAME} cannot be made or read: not a directory"


def test_each_purpose_has_a_key_of_its_own() -> None:
    """The same on every replica; 32 bytes; and the secret itself is none of them."""
    keys = Keys("k1", "ab" * 32)
    purposes = ["sampling", "routing", "strings", "", "sampling "]
    derived = [keys.derived(purpose) for purpose in purposes]
    assert len({*derived, bytes.fromhex(keys.secret)}) == len(purposes) + 1
    assert {len(key) for key in derived} == {32}
    assert derived == [Keys("k2", "ab" * 32).derived(purpose) for purpose in purposes]
    assert keys.derived("sampling") != Keys("k1", "cd" * 32).derived("sampling")


def test_two_keys_are_accepted_while_a_rotation_lasts(tmp_path: Path) -> None:
    """The present one and the former; whatever is asked for by another name is hashed under the present one."""
    path = tmp_path / FILE_NAME
    former = {"key_id": "k1", "secret": "ab" * 32}
    path.write_text(json.dumps({"key_id": "k2", "secret": "cd" * 32, "former": former}))
    keys = load_or_make(tmp_path)
    assert keys.named("k1") == keys.for_profile("k1") == Former("k1", "ab" * 32)
    assert keys.named("k0") is None
    assert keys.for_profile("k0") == keys.for_profile(None) == Former("k2", "cd" * 32)
    assert keys.for_profile("k2").derived("x") == keys.derived("x")


@pytest.mark.parametrize("former", [{"key_id": "k2", "secret": "ab" * 32}, {"key_id": "k1", "secret": "ab"}])
def test_a_former_key_must_be_one(former: dict[str, str], tmp_path: Path) -> None:
    """With a name of its own, and as long as any other."""
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps({"key_id": "k2", "secret": "cd" * 32, "former": former}))
    with pytest.raises(Refusal, match="is not a key file"):
        load_or_make(tmp_path)


def test_a_key_file_of_ones_own_must_be_there(tmp_path: Path) -> None:
    """Nothing is made in its place, and the line tells the setting; a broken one is told without its secret."""
    path = tmp_path / "secret.json"
    with pytest.raises(Refusal) as raised:
        load(path, "proxy.key_file")
    assert str(raised.value) == f"proxy.key_file: {path} cannot be read: no such file or directory"
    assert not path.exists()
    path.write_text('{"key_id": "k1", "secret": "hush"}')
    with pytest.raises(Refusal) as raised:
        load(path, "proxy.key_file")
    assert str(raised.value).startswith(f"proxy.key_file: {path} is not a key file")
    assert "hush" not in str(raised.value)


def test_a_secret_does_not_show_in_a_format() -> None:
    """Nor does a former one."""
    keys = Keys("k2", "cd" * 32, Former("k1", "ab" * 32))
    assert "cdcd" not in repr(keys) + repr(keys.former)
    assert "abab" not in repr(keys) + repr(keys.former)
