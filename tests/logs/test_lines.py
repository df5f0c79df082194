"""Log lines: one JSON object each, whatever is in them."""

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from logs.lines import JsonLines

CHECKOUT = Path(__file__).parents[2]


def line(message: str = "serves", *arguments: object, **changes: Any) -> dict[str, Any]:
    """What a record becomes: parsed, after it was seen to be one line."""
    record = logging.LogRecord("shadowdrift.proxy", logging.INFO, "file.py", 1, message, arguments, None)
    record.__dict__.update(changes)
    text = JsonLines("proxy").format(record)
    assert len(text.encode().split(b"\n")) == 1
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_tells_time_level_part_and_message() -> None:
    """In this order, the time in UTC with milliseconds."""
    found = line("serves %s at %d", "fraud", 8080, created=1790000000.1239)
    assert list(found.items()) == [
        ("time", "2026-09-21T14:13:20.123+00:00"),
        ("level", "info"),
        ("part", "proxy"),
        ("message", "serves fraud at 8080"),
    ]
    assert datetime.fromisoformat(found["time"]) == datetime.fromtimestamp(1790000000.123, UTC)


HOSTILE = ["a\nb", "a\r\nb", 'a"} {"level": "error', "\x1b[31mred", "\x00", "🙂", "\\n", "\x85"]


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_a_message_stays_on_its_line_and_comes_back_as_it_was(text: str) -> None:
    """Nobody forges a second line with a request."""
    assert line(text)["message"] == text
    assert line("%s", text)["message"] == text
    assert line(fields={"id": text})["id"] == text


def test_fields_stand_beside_the_message() -> None:
    """Numbers stay numbers, and what JSON does not know is written as text."""
    found = line(fields={"count": 3, "ratio": 0.5, "none": None, "path": Path("/x"), "error": ValueError("bad")})
    assert found["count"] == 3
    assert found["ratio"] == 0.5
    assert found["none"] is None
    assert found["path"] == "/x"
    assert found["error"] == "bad"


def test_an_exception_is_told_on_the_same_line() -> None:
    """With its traceback."""
    try:
        raise RuntimeError("a\nfault")
    except RuntimeError:
        found = line("failed", exc_info=sys.exc_info())
    assert found["message"] == "failed"
    assert found["error"].startswith("Traceback (most recent call last):\n")
    assert found["error"].endswith("RuntimeError: a\nfault")


AWKWARD: dict[str, Any] = {
    "half a character": "\ud800",
    "a path that is not UTF-8": "a\udcffb",
    "an integer beyond 64 bits": 10**30,
    "a mapping with such a key": {"\ud800": 1},
    "not a number": float("nan"),
    "bytes": b"\xff",
    "a type": int,
}


@pytest.mark.parametrize("case", AWKWARD)
def test_nothing_that_is_logged_stops_its_line(case: str) -> None:
    """It is told all the same, in whatever form."""
    assert line("%s", AWKWARD[case])["part"] == "proxy"
    assert "thing" in line(fields={"thing": AWKWARD[case]})
    assert line(fields={AWKWARD[case] if isinstance(AWKWARD[case], str) else 7: 1})["message"] == "serves"


def test_a_process_writes_to_standard_output_and_keeps_libraries_quiet() -> None:
    """Our own lines from info on, libraries' from warnings on; aiokafka's attempts not at all."""
    program = """
import logging
from logs.lines import log_to_stdout
log_to_stdout("exporter")
logging.getLogger("shadowdrift.exporter").debug("no")
logging.getLogger("shadowdrift.exporter").info("one", extra={"fields": {"n": 1}})
logging.getLogger("aiohttp").info("no")
logging.getLogger("aiohttp").warning("two")
logging.getLogger("aiokafka.conn").error("no")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("shadowdrift.exporter").exception("three")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    found = [json.loads(text) for text in done.stdout.splitlines()]
    assert done.stderr == ""
    assert [(entry["part"], entry["level"], entry["message"]) for entry in found] == [
        ("exporter", "info", "one"),
        ("exporter", "warning", "two"),
        ("exporter", "error", "three"),
    ]
    assert found[0]["n"] == 1
    assert "ZeroDivisionError" in found[2]["error"]
