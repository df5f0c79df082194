"""Durations, sizes and addresses as people write them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration.shown import shown
from configuration.units import Address, parse_address, parse_duration, parse_size

DURATIONS: dict[Any, float] = {
    0: 0,
    2: 2,
    0.25: 0.25,
    "250ms": 0.25,
    "10s": 10,
    "1.5s": 1.5,
    "5m": 300,
    "1h": 3600,
    "30d": 2_592_000,
    "10 s": 10,
    " 10s ": 10,
}
SIZES: dict[Any, int] = {
    0: 0,
    65536: 65536,
    1024.0: 1024,
    "1B": 1,
    "64KiB": 65536,
    "1MiB": 2**20,
    "1.5MiB": 3 * 2**19,
    "4GiB": 2**32,
    "2TiB": 2**41,
    "64 KiB": 65536,
}
NO_QUANTITIES: tuple[Any, ...] = (
    None, True, False, -1, -0.5, float("nan"), float("inf"), -float("inf"), 10**18, "", "s", "10", "-10s", "+10s",
    "1e3s", "10 parsecs", "10S", "1kb", "10s 5m", "10s\n5", "٣s", "9" * 400 + "d", "1" * 30 + "TiB", [10], {"s": 10},
    b"10s",
)  # fmt: skip
ADDRESSES: dict[str, Address] = {
    "127.0.0.1:8080": Address("127.0.0.1", 8080),
    "0.0.0.0:0": Address("0.0.0.0", 0),
    "localhost:65535": Address("localhost", 65535),
    "[::1]:9101": Address("::1", 9101),
    "[::]:80": Address("::", 80),
    "kafka-1.internal:9092": Address("kafka-1.internal", 9092),
}
NO_ADDRESSES = (
    "", ":", "8080", ":8080", "host", "host:", "host:65536", "host:-1", "host:http", "host:²", "a b:1", "a\nb:1",
    "host:1 ", "host:000000001", "http://host:1",
)  # fmt: skip


@pytest.mark.parametrize("written", DURATIONS)
def test_a_duration_is_read(written: Any) -> None:
    """In seconds."""
    assert parse_duration(written) == pytest.approx(DURATIONS[written])


@pytest.mark.parametrize("written", SIZES)
def test_a_size_is_read(written: Any) -> None:
    """In bytes."""
    assert parse_size(written) == SIZES[written]


@pytest.mark.parametrize("written", NO_QUANTITIES, ids=shown)
def test_what_is_no_quantity_is_refused(written: Any) -> None:
    """With the rule and the value, on one line."""
    for parse, rule in ((parse_duration, "must be a duration such as"), (parse_size, "must be a ")):
        with pytest.raises(ValueError, match=rf"^{rule}.*, got [^\n]*$"):
            parse(written)


def test_half_a_byte_is_none() -> None:
    """A number of bytes is whole; one with a unit is rounded down."""
    with pytest.raises(ValueError, match=r"must be a whole number of bytes, got 1\.5"):
        parse_size(1.5)
    assert parse_size("1.1KiB") == 1126


@pytest.mark.parametrize("written", ADDRESSES)
def test_an_address_is_read_and_written_the_same(written: str) -> None:
    """An IPv6 host in brackets."""
    found = parse_address(written)
    assert found == ADDRESSES[written]
    assert str(found) == written


@pytest.mark.parametrize("written", NO_ADDRESSES, ids=shown)
def test_what_is_no_address_is_refused(written: str) -> None:
    """With an example and the value, on one line."""
    with pytest.raises(ValueError, match=r"^must be an address such as 127\.0\.0\.1:8080, got [^\n]*$"):
        parse_address(written)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("127.evil.example", False), ("127.0.0.1.evil.example", False), ("1127.0.0.1", False)],
)  # fmt: skip
def test_loopback_is_what_no_other_machine_reaches(host: str, loopback: bool) -> None:
    """A name that merely begins like it is none."""
    assert Address(host, 1).loopback is loopback


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_no_value_raises_anything_but_a_value_error(value: Any) -> None:
    """Of one line."""
    for parse in (parse_duration, parse_size, lambda value: parse_address(str(value))):
        line = ""
        try:
            parse(value)
        except ValueError as error:
            line = str(error)
        assert len(line.splitlines()) <= 1


SHOWN: dict[str, tuple[Any, str]] = {
    "null": (None, "null"),
    "true": (True, "true"),
    "a text": ("half", "'half'"),
    "a whole number": (1000001, "1000001"),
    "a number": (0.1, "0.1"),
    "a list": ([1, None, "a"], '[1, null, "a"]'),
    "a mapping": ({"a": False}, '{"a": false}'),
    "a line break": ("a\nb", r"'a\nb'"),
    "a line separator": ("a\u2028b", r"'a\u2028b'"),
    "a terminal's escape": ("\x1b[31m", r"'\x1b[31m'"),
    "a line break in a list": (["\u2028"], r'["\u2028"]'),
    "something long": ("x" * 100, "'" + "x" * 56 + "..."),
}


@pytest.mark.parametrize("case", SHOWN)
def test_a_value_is_shown_as_the_file_has_it(case: str) -> None:
    """On one line of at most 60 characters, with nothing in it that a terminal would obey."""
    value, text = SHOWN[case]
    assert shown(value) == text
