"""The shadow's credentials come from their file, and from nowhere into anything that a person reads."""

from pathlib import Path

import pytest

from configuration import Configuration
from configuration.credentials import credentials_of
from configuration.reading import convert, convert_resolved, resolved_document
from lifecycle.refusal import Refusal

SECRET = "Bearer s3cret-of-the-shadow"


def configured(folder: Path, **credentials: str) -> Configuration:
    """One model whose shadow has credentials, and one whose shadow has none."""
    targets = {"v2": {"url": "http://p:1"}, "v1": {"url": "http://s:1"}}
    model = {"targets": targets, "production": "v2", "shadow": "v1"}
    with_them = {"name": "fraud", "path_prefix": "/fraud", "mirror": {"credentials": credentials}}
    with_them["inference"] = {"paths": ["/fraud/**"]}
    models = [{"name": "churn", **model}, {**with_them, **model}]
    return convert({"kafka": "embedded", "models": models}, folder, "test")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", " \n\n"])
def test_the_value_is_what_the_file_holds(tmp_path: Path, ending: str) -> None:
    """Relative to the configuration's directory, and without the line's end that an editor adds."""
    (tmp_path / "shadow.token").write_bytes((SECRET + ending).encode())
    found = credentials_of(configured(tmp_path, value_file="shadow.token"))
    assert found == {"fraud": (b"Authorization", SECRET.encode())}


def test_any_header_may_carry_it(tmp_path: Path) -> None:
    """Such as an API key's."""
    (tmp_path / "key").write_text("k")
    assert credentials_of(configured(tmp_path, value_file="key", header="X-Api-Key")) == {"fraud": (b"X-Api-Key", b"k")}


REFUSED = {
    "nothing": (b"", "is empty; write the header's value into it, such as Bearer and a token"),
    "blanks": (b" \n\t\n", "is empty; write the header's value into it, such as Bearer and a token"),
    "two lines": (b"Bearer a\nX-Other: b", "must hold one line of at most 16384 bytes of printable ASCII"),
    "a NUL": (b"Bearer a\0b", "must hold one line of at most 16384 bytes of printable ASCII"),
    "no ASCII": ("Bearer é".encode(), "must hold one line of at most 16384 bytes of printable ASCII"),
    "too much": (b"a" * 16385, "must hold one line of at most 16384 bytes of printable ASCII"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_holds_no_value_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    """And the line does not show what it holds."""
    content, rule = REFUSED[case]
    path = tmp_path / "value"
    path.write_bytes(content)
    with pytest.raises(Refusal) as raised:
        credentials_of(configured(tmp_path, value_file="value"))
    assert str(raised.value) == f"models[1].mirror.credentials.value_file: {path} {rule}"


def test_a_missing_file_is_refused_in_one_line(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(Refusal) as raised:
        credentials_of(configured(tmp_path, value_file="value"))
    path = tmp_path / "value"
    assert str(raised.value) == (
        f"models[1].mirror.credentials.value_file: {path} cannot be read: no such file or directory"
    )


def test_the_configuration_that_processes_hand_on_names_the_file_alone(tmp_path: Path) -> None:
    """So the value is in no process list and no message between processes."""
    (tmp_path / "value").write_text(SECRET)
    text = resolved_document(configured(tmp_path, value_file="value"))
    assert "s3cret" not in text
    assert credentials_of(convert_resolved(text))["fraud"] == (b"Authorization", SECRET.encode())
