"""The format of a log line, and how a process turns it on."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import msgspec


class JsonLines(logging.Formatter):
    """One record, one JSON object: time, level, part, message, then what `extra={"fields": {...}}` holds."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "part": self._part,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        try:
            return msgspec.json.encode(line, enc_hook=str).decode()
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError):
            # Half a character, as in a path that is not UTF-8; an integer beyond 64 bits; a key that is no text.
            return json.dumps({str(key): value for key, value in line.items()}, default=str)


def told(error: BaseException) -> dict[str, str]:
    """An error for `fields`, by its type and its place: its message may hold what a client has sent."""
    frames = traceback.extract_tb(error.__traceback__)
    return {"error": type(error).__name__, "where": f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""}


def log_to_stdout(part: str) -> None:
    """Send this process's log lines to standard output, those of libraries from warnings on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(part))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("shadowdrift").setLevel(logging.INFO)
    # aiokafka reports every attempt to reach an absent broker as an error; the parts say it once in their own words.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
