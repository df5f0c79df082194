"""Which columns look as if they told who somebody is: by their name, or by a value of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from privacy.patterns import Patterns, luhn

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NAMES: Final = """
account address birth birthdate birthday card cookie customer dob email firstname fullname guid iban id imei
ip lastname login mail mobile msisdn nhs owner pan passport password patient phone plate secret session ssn
street surname taxid tel telephone token url user userid username uuid vin
"""
_IDENTIFYING: Final = frozenset(_NAMES.split())
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_IP: Final = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}")
_PATTERNS: Final = Patterns()
_WORDS_FOR: Final = {
    "email": "an e-mail address", "iban": "an account number", "card": "a card number", "phone": "a telephone number",
}  # fmt: skip


def suspicion(name: str, values: Iterable[Any]) -> str | None:
    """Why a column looks like an identifier: the first reason, as words behind its name; None where nothing does."""
    for value in values:
        if (kind := _looks_like(value)) is not None:
            return f"holds what looks like {kind}"
    words = {word.lower() for word in _WORDS.findall(name)}
    found = words & _IDENTIFYING
    return f"has a name that says so ({min(found)})" if found else None


def _looks_like(value: Any) -> str | None:
    if type(value) is float and value.is_integer() and abs(value) < 2**63:
        value = int(value)
    if type(value) is int:
        digits = [int(digit) for digit in str(abs(value))]
        if 13 <= len(digits) <= 19 and luhn(digits):
            return "a card number"
        return None
    if type(value) is not str:
        return None
    if _UUID.fullmatch(value):
        return "a UUID"
    if _IP.fullmatch(value):
        return "an IP address"
    found = _PATTERNS.finds(value)
    return None if found is None else _WORDS_FOR[found]
