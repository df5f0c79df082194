"""Durations, sizes and addresses as people write them: `10s`, `64KiB`, `0.0.0.0:8080`."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from typing import Final, NamedTuple

from configuration.shown import shown

_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_NUMBER_AND_UNIT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", re.ASCII)
_HOST: Final = re.compile(r"[0-9A-Za-z._:%-]+")
_TOO_MUCH: Final = 1e18
"""Above it a quantity is a slip: 30 billion years, a million terabytes."""


class Duration(float):
    """Seconds; written as a number of them, or as `250ms`, `10s`, `5m`, `1h`, `30d`."""


class Size(int):
    """Bytes; written as a number of them, or as `64KiB`, `1MiB`, `4GiB`."""


class Address(NamedTuple):
    """A host and a port to listen at; port 0 takes a free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether this machine alone can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name, whatever it begins with
            return False

    @property
    def reachable(self) -> Address:
        """Where this machine finds what listens there: an address that stands for all is none to connect to."""
        return self._replace(host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host))  # noqa: S104

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_duration(value: object) -> Duration:
    """Seconds out of a number or a text with a unit. Raises ValueError."""
    return Duration(_quantity(value, _DURATION_UNITS, "a duration such as 250ms, 10s or 5m"))


def parse_size(value: object) -> Size:
    """Bytes out of a number or a text with a unit. Raises ValueError."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"must be a whole number of bytes, got {shown(value)}")
    return Size(_quantity(value, _SIZE_UNITS, "a size such as 65536, 64KiB or 4GiB"))


def parse_address(text: str) -> Address:
    """Host and port out of `host:port` or `[host]:port`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (
        colon
        and host
        and port.isascii()
        and port.isdigit()
        and len(port) < 6
        and int(port) < 65536
        and _HOST.fullmatch(host)
    ):
        raise ValueError(f"must be an address such as 127.0.0.1:8080, got {shown(text)}")
    return Address(host, int(port))


def _quantity(value: object, units: dict[str, float] | dict[str, int], what: str) -> float:
    quantity: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        quantity = value
    elif isinstance(value, str) and (match := _NUMBER_AND_UNIT.fullmatch(value.strip())) and match[2] in units:
        quantity = float(match[1]) * units[match[2]]
    if quantity is None or not 0 <= quantity < _TOO_MUCH:
        raise ValueError(f"must be {what}, got {shown(value)}")
    return quantity


def cannot_listen(setting: str, listen: str, error: OSError) -> str:
    """The line for an address that cannot be listened at."""
    reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
    return f"{setting}: cannot listen at {listen}: {reason}; choose another address or end what uses it"
